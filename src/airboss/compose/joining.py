"""A machine that serves calls for an Airboss on another one: gateways, and who brings their journals there.

It works with the ledger and the counters of the one that leads, and decides nothing: plans come from the
ledger, and what its gateways record goes to the one controller, which moves it into the one record store.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import ExitStack, closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from airboss import __version__
from airboss.compose.background import give_way
from airboss.compose.parts import (
    ADMIN_KEY_ENV,
    SystemClock,
    applied_config,
    open_plans,
    own_keys,
    preset_admin_key,
    preset_key,
    redactor,
    role_lock,
    tls_context,
)
from airboss.compose.sealing import BODIES_KEY
from airboss.compose.servers import check_counters
from airboss.compose.stores import ERASE_KEY
from airboss.compose.up import (
    Ready,
    UpOptions,
    end_when_told,
    local_models,
    lock_patiently,
    relearning,
    starting,
    tell_where,
)
from airboss.config import Config
from airboss.domain.errors import SetupError, StoreUnavailable, WrongCall
from airboss.store.daemons import Daemons
from airboss.store.datadir import DataDir, private
from airboss.store.stopping import stop_on_signals
from airboss.supervisor import fleet, runfiles
from airboss.supervisor.lifeline import on_parent_gone, tell_it_serves, terminate_self
from airboss.supervisor.listen import check_exposure, check_host, listen, port_of
from airboss.telemetry import logs

if TYPE_CHECKING:
    from airboss.controller.leader_http import HttpLeader
    from airboss.store.erasure_rows import Erasure
    from airboss.store.plan_source import PlanSource
    from airboss.telemetry.shipping import Shipping

REPORT_S = 1.0
SILENT_S = 5.0
"""So long the ledger is waited for: whoever brings journals is to end when it is told to."""
_threads = Daemons(1, "people")
log = logging.getLogger(__name__)


def run_joined(options: UpOptions, leader_url: str, *, announce: Callable[[Ready], None]) -> None:
    """Serve calls beside the Airboss whose console is at `leader_url`, until SIGTERM or SIGINT. Raises
    AirbossError where that cannot be."""
    from airboss.supervisor.session import Session  # noqa: PLC0415 - only who supervises

    started = time.monotonic()
    check_host(options.host)
    log_format = logs.configure("up", log_format=options.log_format)
    end_when_told()
    if not preset_key(ADMIN_KEY_ENV):
        raise WrongCall(f"--join needs the admin key of that Airboss in {ADMIN_KEY_ENV}")
    data = DataDir(options.data_dir)
    data.create()
    with lock_patiently(data) as lock, private(), starting(data, options.config) as (opened, settle):
        check_reached(data, options.config)
        ledger = opened.enter_context(open_plans(data))
        if ledger.config() is None:
            raise SetupError(f"nobody has led on this ledger yet: start the one at {leader_url} first")
        config = applied_config(ledger, data)
        check_joins(config, data)
        check_exposure(options.host, tls=config.tls is not None, insecure=options.insecure)
        tls_context(config.tls)
        check_counters(config.store)
        listener = listen(options.host, options.port, flag="--port")
        places = fleet.Places(
            data_dir=data.path,
            host=options.host,
            port=port_of(listener),
            console_port=0,
            workers=options.workers,
            tls=config.tls is not None,
            insecure=options.insecure,
            listen_fd=listener.fileno(),
            lock_fd=lock.fd,
            store_socket=data.socket_path,
        )
        again = data.has_joined
        with closing(leader_of(data, leader_url, places.elsewhere, options.workers)) as leader:
            try:
                check_leader(leader, ledger, leader_url, again=again)
            except BaseException:
                if not again:
                    data.lead()  # it has not joined, so the next try is a first one too
                raise
        settle()
        redact = redactor(ledger, own_keys(data)[1])
        logs.configure("up", log_format=log_format, redact=redact)
        tell_where(data, places, leader_url, config)
        ready = Ready(
            base_url=places.base_url, console_url=leader_url, api_key=None, admin_key=None, after_s=0
        )
        session = Session(
            core=fleet.joined(places, leader=leader_url),
            roster=None,
            host=None,
            run_dir=data.run_dir,
            listener=listener,
            on_line=logs.Relay(log_format, sys.stderr, redact=redact),
        )

        def on_ready() -> None:
            runfiles.forget_starting(data.run_dir)
            announce(msgspec.structs.replace(ready, after_s=time.monotonic() - started))

        with relearning(ledger, redact):
            asyncio.run(session.run(on_ready))


def check_reached(data: DataDir, config: Path) -> None:
    """Raise SetupError for a ledger that only one machine has."""
    if not data.ledger_url.startswith("postgres"):
        raise SetupError(
            f"{config} names no ledger that two machines can reach: both need the same"
            ' `[store] ledger = "postgresql://…"`'
        )


def check_joins(config: Config, data: DataDir) -> None:
    """Raise SetupError for a configuration that one machine alone can serve, or that lacks keys."""
    missing = [name for name in (ERASE_KEY, BODIES_KEY) if data.kept_secret(name) is None]
    if config.store.bodies == "sealed" and missing:
        raise SetupError(
            f"bodies are sealed, and responses that clients go on with are opened here too: copy"
            f" {' and '.join(missing)} from `secrets/` of the one that leads into {data.secrets_dir}"
        )
    if config.store.counters == "embedded":
        raise SetupError(
            "limits would be counted on each machine for itself: set `[store] counters` to a Valkey or Redis"
            " that all of them reach, on the Airboss that leads, and start that again"
        )
    local = local_models(config)
    if local and config.replicas.host == "local":
        raise SetupError(
            f"the model {local[0]!r} is local: its engine runs on the machine that leads, and others do not"
            ' reach it. Let engines run on a Ray cluster ([replicas] host = "ray"), or name a server of'
            " models as its provider"
        )


def check_leader(leader: HttpLeader, ledger: PlanSource, url: str, *, again: bool) -> None:
    """Raise SetupError where the Airboss that was named is not the ledger's, or is of another version; where
    nobody answers, unless this machine has joined before."""
    from airboss.console.api_nodes import ledger_mark  # noqa: PLC0415 - only here

    try:
        about = leader.about()
    except StoreUnavailable as error:
        if not again:
            raise
        log.warning("calls are served, and what is recorded waits here: %s", error)
        return
    if about.version != __version__:
        raise SetupError(
            f"the Airboss at {url} is version {about.version}, and this one {__version__}: journals are"
            " brought between the same versions only; start the older one again with the newer"
        )
    if about.ledger != ledger_mark(ledger):
        raise SetupError(f"the Airboss at {url} works with another ledger than `[store] ledger` names here")


def leader_of(data: DataDir, url: str, base_url: str, workers: int) -> HttpLeader:
    """The Airboss that leads, with what this machine says of itself."""
    from airboss.controller.leader_http import HttpLeader  # noqa: PLC0415 - 60 ms that `up` alone need not pay
    from airboss.telemetry.metrics import read_counts  # noqa: PLC0415 - as above

    said: dict[str, Any] = {"version": __version__, "base_url": base_url, "workers": workers}
    counts = partial(read_counts, data.metrics_dir, but="controller")
    return HttpLeader(url, preset_admin_key(data).value, name=data.node_name(), said=said, counts=counts)


def run_joined_controller(data_dir: Path, url: str, *, log_format: str | None) -> None:
    """Bring journals to the Airboss at `url`, until SIGTERM or the supervisor's end."""
    from airboss.store.erasures import SqlErasures  # noqa: PLC0415 - SQLAlchemy, where it is needed
    from airboss.telemetry.shipping import Shipping  # noqa: PLC0415 - this role's own

    logs.configure("controller", log_format=log_format)
    data = DataDir(data_dir)
    ready = fleet.joined_path(data.run_dir)
    ready.unlink(missing_ok=True)
    with role_lock(data), open_plans(data) as ledger, ExitStack() as opened:
        redact = redactor(ledger, own_keys(data)[1])
        logs.configure("controller", log_format=log_format, redact=redact)
        stop = stop_on_signals()
        on_parent_gone(terminate_self)
        up = runfiles.read_up(data.run_dir)
        base_url, workers = (up.elsewhere, up.workers) if up is not None else ("", 0)
        leader = opened.enter_context(closing(leader_of(data, url, base_url, workers)))
        people = opened.enter_context(closing(SqlErasures(data.ledger_url, late=True)))
        shipping = Shipping(data.journal_dir, leader, before=forgetting(data, people.pending))
        give_way()
        ready.write_text(str(os.getpid()))
        tell_it_serves()
        try:
            shipping.run(stop, reporting(data, shipping))
        finally:
            ready.unlink(missing_ok=True)


def forgetting(data: DataDir, pending: Callable[[], Iterable[Erasure]]) -> Callable[[], None]:
    """Takes out of this machine's kept answers whoever is to be forgotten."""
    from airboss.store.answers import SqliteAnswers  # noqa: PLC0415 - this role's own

    known: set[tuple[int, datetime]] = set()
    asking: Future[Iterable[Erasure]] | None = None

    def told() -> Iterable[Erasure]:
        nonlocal asking
        asking = asking or _threads.submit(pending)
        try:
            found = asking.result(SILENT_S)
        except TimeoutError:
            raise StoreUnavailable(f"the ledger has been silent for {SILENT_S:g} s") from None
        finally:
            asking = None if asking.done() else asking
        return found

    def forget() -> None:
        asked = {(each.id, each.at): each.user for each in told() if each.user is not None}
        new = {erasure: user for erasure, user in asked.items() if erasure not in known}
        if not new or not data.cache_path.exists():
            return
        with closing(SqliteAnswers(data.cache_path)) as answers:
            for erasure, user in new.items():
                answers.forget(user, SystemClock().now().timestamp())
                known.add(erasure)

    return forget


def reporting(data: DataDir, shipping: Shipping) -> Callable[[], None]:
    """Tells the gateways, whose `/metrics` shows it, what waits here."""
    from airboss.telemetry.metrics import Counts, write_counts  # noqa: PLC0415 - this role's own

    clock, told_at = SystemClock(), 0.0

    def report() -> None:
        nonlocal told_at
        if (now := clock.monotonic()) - told_at < REPORT_S:
            return
        told_at = now
        gauges = {"journal_unmoved_bytes": float(shipping.unsent_bytes), "store_up": float(shipping.up)}
        write_counts(data.metrics_dir / "controller.json", Counts(written_at=clock.now(), gauges=gauges))

    return report
