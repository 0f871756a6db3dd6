"""`airboss up`: from an empty directory to a system that serves, and back to nothing running."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import urlsplit

import msgspec

from airboss.compose.governing import looking_after, looking_at_audit
from airboss.compose.own_file import differs
from airboss.compose.parts import (
    ADMIN_KEY_ENV,
    API_KEY_ENV,
    LAST_RUN_S,
    internal_key,
    ledger_notes,
    models_of,
    open_ledger,
    own_keys,
    pick_port,
    preset_admin_key,
    preset_key,
    publish,
    redactor,
    tls_context,
)
from airboss.compose.redaction import LogRedactor, Redacting
from airboss.compose.servers import check_servers
from airboss.compose.stores import AUDIT_HEAD, kept_head, open_audit
from airboss.config import Config, ModelConfig, parse_config, warnings_of
from airboss.config.files import STARTER_FILE, missing, read_config, read_text
from airboss.config.found import completed
from airboss.config.locate import line_of
from airboss.domain.errors import ConfigError, DataDirLocked, SetupError
from airboss.store.datadir import DataDir, alive, private
from airboss.store.datadir_lock import DataDirLock
from airboss.store.stopping import asked_to_end
from airboss.store.unwritable import unwritable
from airboss.supervisor import fleet, runfiles
from airboss.supervisor.lifeline import on_parent_gone, terminate_self
from airboss.supervisor.listen import check_apart, check_exposure, check_free, check_host, listen, port_of
from airboss.telemetry import logs

if TYPE_CHECKING:
    from airboss.domain.ports import Ledger
    from airboss.store.plan_source import PlanSource

log = logging.getLogger("airboss.up")

STARTER_KEY = "default"
"""Name of the data-plane key that `airboss up` prints."""
LATE_S: Final = 1.5
"""A start that has waited so long says for what."""


class UpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `airboss up` was told."""

    config: Path
    data_dir: Path
    host: str
    port: int
    console_port: int
    workers: int
    insecure: bool
    log_format: str | None


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Everything serves. Keys preset by the environment are None: whoever set them knows them."""

    base_url: str
    console_url: str
    api_key: str | None
    admin_key: str | None
    after_s: float


Draw = Callable[[str], AbstractContextManager[Callable[[int, int | None], None]]]
"""Shows how far something named is: called with bytes done and in all, as often as they come."""


def run_up(options: UpOptions, *, announce: Callable[[Ready], None], draw: Draw) -> None:
    """Start everything and serve until SIGTERM or SIGINT, or until the demo that started it is gone. Raises
    AirbossError where that cannot be."""
    from airboss.supervisor.local import LocalHost  # noqa: PLC0415 - only `up` supervises
    from airboss.supervisor.roster import Roster  # noqa: PLC0415 - only `up` supervises
    from airboss.supervisor.session import Session  # noqa: PLC0415 - as above

    started = time.monotonic()
    check_host(options.host)
    check_apart(options.port, options.console_port)
    log_format = logs.configure("up", log_format=options.log_format)
    end_when_told()
    data = DataDir(options.data_dir)
    data.create()
    with lock_patiently(data) as lock, starting(data, options.config) as (opened, settle):
        with told_late(data):
            may_lead(data)
            ledger = opened.enter_context(open_ledger(data))
        text, source = choose_config(ledger, data, options.config)
        opened.enter_context(private())  # from here on all that is written is ours
        config = parse_config(text, source=source)
        check_exposure(options.host, tls=config.tls is not None, insecure=options.insecure)
        tls_context(config.tls)
        check_servers(config.store)
        listener = listen(options.host, options.port, flag="--port")
        console_port = check_free(options.host, options.console_port, flag="--console-port")
        places = fleet.Places(
            data_dir=data.path,
            host=options.host,
            port=port_of(listener),
            console_port=console_port,
            workers=options.workers,
            tls=config.tls is not None,
            insecure=options.insecure,
            listen_fd=listener.fileno(),
            lock_fd=lock.fd,
            store_socket=data.socket_path,
            counters_socket=data.counters_socket if counts_apart(options, config) else None,
        )
        fetch_weights(config, data, draw, first=ledger.config() is None)
        settle()
        note_start(ledger, data, options)
        put_into_force(ledger, data, text, source)
        ready = starter_keys(ledger, data, places)
        redact = redactor(ledger, own_keys(data)[1])
        logs.configure("up", log_format=log_format, redact=redact)

        def on_ready() -> None:
            runfiles.forget_starting(data.run_dir)
            announce(msgspec.structs.replace(ready, after_s=time.monotonic() - started))

        tell_where(data, places, places.console_url, config, file=options.config)
        by_ray = config.replicas.host == "ray"
        host = LocalHost(places, fetched=lambda model: weights_at_hand(model, data))
        session = Session(
            core=fleet.core(places, records=config.store.records, ray=by_ray),
            roster=Roster(ledger, host),
            host=None if by_ray else host,
            run_dir=data.run_dir,
            listener=listener,
            on_line=logs.Relay(log_format, sys.stderr, redact=redact),
        )
        with relearning(ledger, redact):
            asyncio.run(session.run(on_ready))


def may_lead(data: DataDir) -> None:
    """Go on as who leads here. Raises SetupError where another Airboss does on this ledger."""
    from airboss.store.ledger_lead import check_leads  # noqa: PLC0415 - SQLAlchemy, where it is needed

    check_leads(data.ledger_url)
    data.lead()


@contextmanager
def told_late(data: DataDir) -> Iterator[None]:
    """Where the block takes longer, say that the ledger is waited for."""
    from airboss.store.ledger_open import named, read_url  # noqa: PLC0415 - SQLAlchemy, where it is needed

    where = named(read_url(data.ledger_url))
    words = "still waiting for the ledger %s after %g s"
    late = threading.Timer(LATE_S, log.warning, (words, where, LATE_S))
    late.daemon = True
    late.start()
    try:
        yield
    finally:
        late.cancel()


def end_when_told() -> None:
    """Until the session is there to stop in order, SIGTERM, the end of our terminal and that of who started
    us end this process as Ctrl-C does, but with exit code 0: what is open is closed, what was begun ended."""

    def end(_number: int, _frame: object) -> NoReturn:
        sys.exit(0)

    for number in asked_to_end():
        signal.signal(number, end)
    on_parent_gone(terminate_self)


@contextmanager
def starting(data: DataDir, config: Path) -> Iterator[tuple[ExitStack, Callable[[], None]]]:
    """A start, of which verbs hear from here to its end: what it opens goes into the stack, and is closed
    before the choice of a ledger is taken back, as `DataDir.choosing_ledger` does. Raises SetupError."""
    runfiles.forget_up(data.run_dir)  # of one that was killed
    tell_starting(data)
    try:
        with data.choosing_ledger(ledger_named_in(config)) as settle, ExitStack() as opened:
            yield opened, settle
    finally:
        runfiles.forget_up(data.run_dir)


def tell_starting(data: DataDir) -> None:
    """Say that one is starting here, in the first file of a start. Raises SetupError on a full disk."""
    try:
        with private():
            runfiles.write_starting(data.run_dir)
    except OSError as error:
        raise unwritable(data.run_dir, error) from error


def check_not_lost(ledger: Ledger, data: DataDir) -> None:
    """Raise SetupError where the ledger is empty and has not always been: a new one would have no keys, no
    history and nothing of who is forgotten, and nobody would see that it had. That of a first start which
    ended before it had a plan is not empty: the audit log tells of that start."""
    from airboss.governance.checkpoint import is_signed, read_kept  # noqa: PLC0415 - as above

    kept = read_kept(kept_head(data))
    if ledger.config() is not None or kept is None or (kept.size == 0 and is_signed(kept)):
        return
    with open_audit(data) as audit:
        if audit.newest(limit=1):
            return
    raise SetupError(
        f"the ledger of {data.path} is empty, and it was not before: put it back from a backup, or begin "
        "anew with another --data-dir. If its URL has changed, let `[store] ledger` name the old one again, "
        "and `airboss ledger move --to` the new one. To go on with an empty one, delete "
        f"{data.secrets_dir / AUDIT_HEAD}"
    )


def tell_where(
    data: DataDir, places: fleet.Places, console_url: str, config: Config, *, file: Path | None = None
) -> None:
    """Say where we listen, and which file was given, for the verbs and processes of this data directory."""
    up = runfiles.UpFile(
        pid=os.getpid(),
        base_url=places.base_url,
        console_url=console_url,
        elsewhere=places.elsewhere,
        started_at=datetime.now(UTC),
        workers=places.workers,
        tls=config.tls,
        config=str(file.absolute()) if file is not None else "",
    )
    runfiles.write_up(data.run_dir, up)


def relearning(ledger: PlanSource, redact: LogRedactor) -> AbstractContextManager[None]:
    """Keeps keys of providers out of logs, those of later plans too."""
    works = {"keys of providers kept out of logs": Redacting(ledger, redact)}
    return looking_after(works, broke=lambda: signal.raise_signal(signal.SIGTERM))


def counts_apart(options: UpOptions, config: Config) -> bool:
    """Whether limits are counted in a process of its own: for several gateways of this machine."""
    return options.workers > 1 and config.store.counters == "embedded"


def note_start(ledger: Ledger, data: DataDir, options: UpOptions) -> None:
    """The audit log's first words of this run: before a plan is published there is a log to tell of it, and
    before the log has a leaf there is a checkpoint of it. It tells of every plan and key from then on."""
    from airboss import __version__  # noqa: PLC0415 - only here

    now, detail = datetime.now(UTC), {"version": __version__, "workers": options.workers}
    with open_audit(data) as audit:
        looking_at_audit(audit, data).look()
        audit.append("airboss.start", actor="airboss up", subject="airboss", detail=detail, at=now)
        ledger_notes(ledger, audit).begin()


def lock_patiently(data: DataDir) -> DataDirLock:
    """The data directory's lock. If the Airboss that has it is gone, its children are ending: wait for them.

    Raises DataDirLocked if it lives, or if its children outlast `LAST_RUN_S`.
    """
    try:
        return data.lock(wait_s=0.5)
    except DataDirLocked:
        holder = data.holder()
        if holder is None or alive(holder):
            raise
        log.warning("waiting for the processes of the last run to end")
        return data.lock(wait_s=LAST_RUN_S)


def ledger_named_in(path: Path) -> str | None:
    """What the file says of the ledger, which has to be known before the configuration in force can be. A
    file that cannot be parsed says nothing here: if it is needed, that is told later."""
    try:
        text = read_text(path)
        said = tomllib.loads(text).get("store", {}).get("ledger")
    except (OSError, ConfigError, tomllib.TOMLDecodeError, AttributeError):
        return None
    if not isinstance(said, str):
        return None
    before = "\n" * ((line_of(text, ("store", "ledger")) or 1) - 1)  # an error names the line in the file
    alone = f"{before}store.ledger = {msgspec.json.encode(said).decode()}\n"
    return parse_config(alone, source=str(path)).store.ledger


def choose_config(ledger: Ledger, data: DataDir, path: Path) -> tuple[str, str]:
    """The configuration to start with, and what to call it.

    The ledger wins over the file; a file that says something else, or is not there, is reported. Without
    either it is the starter, written to `path`, where that is its name: another one was meant to be there.
    """
    check_not_lost(ledger, data)
    applied = ledger.config()
    try:
        text = said_in(path)
    except (ConfigError, SetupError) as error:
        if applied is None:
            raise
        log.warning("the configuration in force is served, whatever is in the file: %s", error)
        return applied, "the configuration in force"
    if text is None and path.name != STARTER_FILE:
        if applied is None:
            raise SetupError(missing(path))
        log.warning("the configuration in force is served: %s", missing(path))
    if applied is not None:
        if text is not None and differs(applied, text, data, str(path)):
            log.warning("%s differs from the configuration in force; run `airboss apply %s`", path, path)
        return applied, "the configuration in force"
    if text is None:
        from airboss.controller.publish import has_openai_key, starter_config  # noqa: PLC0415 - first start only

        text = starter_config(openai_key_present=has_openai_key(os.environ))
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise unwritable(path, error) from error
        log.info("wrote the starter configuration to %s", path)
    text = completed(text, models_of, source=str(path))
    for each in warnings_of(parse_config(text, source=str(path))):  # as `apply` does
        log.warning("%s", each)
    return text, str(path)


def said_in(path: Path) -> str | None:
    """What a file says, with the prompts of files beside it; None if there is none. Raises ConfigError, and
    SetupError where it cannot be read."""
    try:
        return read_config(path) if path.exists() else None
    except OSError as error:
        raise SetupError(
            f"{path} cannot be read: {error.strerror or error}; name another configuration with --config"
        ) from error


def put_into_force(ledger: Ledger, data: DataDir, text: str, source: str) -> None:
    """Publish the configuration. Nothing changes where it is in force already, with two exceptions: an engine
    of another version than last time makes another release, and a replica whose port somebody else has taken
    gets another. What the last run said of its replicas is forgotten: none of them runs.
    """
    from airboss.controller.placement import rehouse  # noqa: PLC0415 - only here

    rehouse(ledger, parse_config(text, source=source), pick_port=pick_port, usable=port_is_free)
    publish(ledger, data, text, source)


def port_is_free(url: str) -> bool:
    """Whether an engine of this machine can be started at its URL."""
    try:
        check_free("127.0.0.1", urlsplit(url).port or 0, flag="--port")
    except SetupError:
        return False
    return True


def fetch_weights(config: Config, data: DataDir, draw: Draw, *, first: bool) -> None:
    """Fetch the weights of local models that are not at hand, and their adapters.

    Raises SetupError at the `first` start. Later others may serve without: the replica tries again then, and
    says why it cannot.
    """
    missing = {
        name: config.models[name]
        for name in local_models(config)
        if not weights_at_hand(config.models[name], data)
    }
    left = next(data.weights_dir.glob("*.pip"), None)  # by one that was killed
    if not missing and left is None:
        return
    from airboss.replicas.weights import fetch, sweep  # noqa: PLC0415 - most starts have the weights

    sweep(data.weights_dir)
    for name, model in missing.items():
        for source, sha256 in model.files():
            log.info("fetching the weights of %s from %s", name, source)
            with draw(f"weights of {name}") as on_bytes:
                try:
                    fetch(source, sha256, data.weights_dir, progress=on_bytes)
                except SetupError as error:
                    if first:
                        raise
                    log.error("the weights of %s cannot be had: %s", name, error)  # noqa: TRY400 - no trace needed


def local_models(config: Config) -> tuple[str, ...]:
    """Local models that some deployment serves."""
    from airboss.releases.build import local_models as named  # noqa: PLC0415 - pure, but pulls in the digest

    return named(config)


def weights_at_hand(model: ModelConfig, data: DataDir) -> bool:
    """Whether weights, and the adapter if any, are on the disk; whether they are right is checked when they
    are used."""
    return all(
        source.startswith("file:")
        or (sha256 is not None and (data.weights_dir / f"{sha256.lower()}.gguf").exists())
        for source, sha256 in model.files()
    )


def starter_keys(ledger: Ledger, data: DataDir, places: fleet.Places) -> Ready:
    """Make or find the keys, and let the ledger know the data plane's."""
    from airboss.domain.ports import ApiKey  # noqa: PLC0415 - small, but only here
    from airboss.governance.keys import (  # noqa: PLC0415 - as above
        Terms,
        bound,
        followed,
        hash_key,
        terms_of,
        with_terms,
    )

    config = parse_config(ledger.config() or "", source="the configuration in force")
    admin = preset_admin_key(data)
    api = data.secret("api_key", preset_key(API_KEY_ENV))
    if api.value == admin.value:
        raise SetupError(f"{ADMIN_KEY_ENV} and {API_KEY_ENV} are the same: who may call may not administer.")
    data.secret("session_key")
    internal_key(ledger, data)

    def starter(before: ApiKey | None) -> ApiKey:
        """The same secret again, revoked or not, is the key that is there already."""
        if before is not None and before.sha256 == hash_key(api.value):
            return before
        made = ApiKey(name=STARTER_KEY, sha256=hash_key(api.value), created_at=datetime.now(UTC))
        terms = Terms() if before is None else terms_of(before)  # another preset secret changes nothing else
        return bound(with_terms(followed(before, made), terms, now=made.created_at), config)

    with open_audit(data) as audit:
        held = ledger_notes(ledger, audit).change_key(STARTER_KEY, starter, action="keys.start")
    if held.revoked_at is not None:
        log.warning("the key %s is revoked; `airboss keys rotate` makes a new one", STARTER_KEY)
    return Ready(
        base_url=places.base_url,
        console_url=places.console_url,
        api_key=None if api.preset or held.revoked_at is not None else api.value,
        admin_key=None if admin.preset else admin.value,
        after_s=0.0,
    )
