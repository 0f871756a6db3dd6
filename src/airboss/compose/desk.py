"""The console's desk, over a running Airboss or the data of a stopped one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING

import msgspec

from airboss.compose import evals, finetuning, playing, probes, scorings, tuning
from airboss.compose.governing import with_governance
from airboss.compose.own_file import own_file
from airboss.compose.parts import (
    API_KEY_ENV,
    SystemClock,
    alone,
    counts_of,
    missing_keys,
    models_of,
    own_keys,
    preset_key,
    redactor,
    running,
    secrets_to_warn_of,
)
from airboss.compose.sealing import in_the_clear, with_letters
from airboss.compose.taking import wait_until_taken
from airboss.compose.watching import InForce, console_url, secret, with_alarms
from airboss.store.brought import Brought
from airboss.store.datadir import DataDir
from airboss.store.ended import Ended
from airboss.supervisor import runfiles

if TYPE_CHECKING:
    from airboss.compose.stores import Stores
    from airboss.console.desk import Desk
    from airboss.controller.audit_watch import AuditWatch
    from airboss.controller.lately import Lately
    from airboss.controller.letter_retry import LetterRetry
    from airboss.controller.retention import Retention
    from airboss.controller.rollouts import Rollouts
    from airboss.domain.ports import Ledger
    from airboss.domain.status import DeadLetter, JournalStatus, SystemStatus
    from airboss.governance.sign_in import IdentityProvider
    from airboss.store.sealed_log import SealedLog
    from airboss.telemetry.remote import Nodes


def status_over(
    ledger: Ledger,
    data: DataDir,
    stores: Stores,
    records: SealedLog,
    retention: Retention,
    *,
    audit: AuditWatch,
    journal: Callable[[], JournalStatus],
    nodes: Nodes,
) -> Lately:
    """How everything stands, asked again at each call."""
    from airboss.controller.lately import Lately  # noqa: PLC0415 - not for gateways
    from airboss.controller.scaling import calls_of, gauge_of, living  # noqa: PLC0415 - as above
    from airboss.controller.status import gather, kept_plans, told, with_silence  # noqa: PLC0415 - as above
    from airboss.supervisor.procfs import rss_bytes  # noqa: PLC0415 - as above
    from airboss.telemetry.metrics import target_uses  # noqa: PLC0415 - as above
    from airboss.telemetry.places import places_out, shut_places  # noqa: PLC0415 - as above

    everywhere = counts_of(data, nodes)

    def own() -> SystemStatus:
        up = running(data.path) or alone(data.path)
        processes = runfiles.read_processes(data.run_dir) if up is not None else []
        counts, now = everywhere() if up is not None else {}, datetime.now(UTC)
        alive = living(counts, now)
        return told(
            journal=journal(),
            processes=[
                msgspec.structs.replace(each, rss_bytes=rss_bytes(each.pid)) if each.pid is not None else each
                for each in with_silence(processes, counts, now)
            ],
            data_dir=str(data.path),
            started_at=up.started_at if up is not None else None,
            base_url=(up.base_url or None) if up is not None else None,
            console_url=up.console_url if up is not None else None,
            targets=target_uses(counts.values()),
            out=places_out(alive.values()),
            counters_away=gauge_of(counts, "counters_away", now),
            kept_plans=list(kept_plans(alive)),
            unrecordable=[
                f"{name}: {each.unrecordable}" for name, each in alive.items() if each.unrecordable
            ],
        )

    def whole() -> SystemStatus:
        found, now = own(), datetime.now(UTC)
        counts = everywhere() if found.running else {}
        return gather(
            found,
            ledger=ledger,
            calls=calls_of(counts, now) if found.running else None,
            missing=missing_keys if found.running else lambda _: (),
            shut=shut_places(living(counts, now).values()),
            unwritable=stores.spends.unwritable(),
        )

    governed = with_governance(with_alarms(whole, ledger, stores.alerts), retention, stores, audit)
    return Lately(with_letters(governed, records), own, SystemClock())


def desk_over(
    ledger: Ledger,
    data: DataDir,
    stores: Stores,
    records: SealedLog,
    rollouts: Rollouts,
    *,
    letters: LetterRetry,
    admin_key: str,
    status: Callable[[], SystemStatus],
    nodes: Nodes,
    settle: Callable[[], object] | None = None,
) -> Desk:
    """The desk; `settle` as it has it."""
    from airboss.console.desk import Desk, nothing_lacks  # noqa: PLC0415 - as above
    from airboss.controller.price_list import PriceList  # noqa: PLC0415 - as above
    from airboss.telemetry.metrics import limit_uses, target_uses  # noqa: PLC0415 - as above

    everywhere, clear = counts_of(data, nodes), in_the_clear(records)

    def retry() -> tuple[int, Sequence[DeadLetter]]:
        taken, left = letters.ask() if settle is None else letters.retry()
        return taken, [clear(each) for each in left]

    up, force = runfiles.read_up(data.run_dir), InForce(ledger)
    return Desk(
        ledger=ledger,
        log=records,
        redact=lambda text: redactor(ledger, own_keys(data)[1]).text(text),
        admin_key=admin_key,
        session_key=data.secret("session_key").value,
        clock=SystemClock(),
        status=status,
        apply=rollouts.apply,
        rollouts=rollouts,
        prices=PriceList(data),
        base_url=up.base_url if up is not None else "http://127.0.0.1:8700/v1",
        uses=lambda: limit_uses(everywhere().values()),
        targets=lambda: target_uses(everywhere().values()),
        lacking=secrets_to_warn_of if settle is None else nothing_lacks,
        models_of=models_of,
        taken=lambda: wait_until_taken(ledger.revision(), everywhere),
        nodes=nodes,
        letters=lambda: [clear(each) for each in letters.list()],
        retry_letters=retry,
        settle=settle,
        jobs=stores.jobs,
        evals=stores.evals,
        brought=Brought(data.brought_path),
        ended=ended_sessions(data),
        audit=stores.audit,
        people=stores.people,
        alerts=stores.alerts,
        views=stores.views,
        drifts=stores.views,
        proposals=stores.proposals,
        spent=stores.spends.since,
        orders=evals.orders(ledger, data, stores),
        probes=probes.orders(ledger, stores),
        scorings=scorings.orders(ledger, data, stores, records, force.config),
        tuning=tuning.orders(ledger, data, stores),
        finetuning=finetuning.orders(ledger, data, stores),
        plays=playing.plays(ledger, data),
        parquet=parquet,
        console_url=partial(console_url, data),
        in_force=force.config,
        identity=cache(identity),
        own_file=partial(own_file, ledger, data, up.config if up is not None else ""),
        keep_starter=None if preset_key(API_KEY_ENV) else partial(data.write_secret, "api_key"),
    )


def ended_sessions(data: DataDir) -> Ended:
    """Sessions that were signed out of. A file that cannot be read ends all that there may be."""
    from airboss.console.session import LIFETIME_S  # noqa: PLC0415 - as above

    return Ended(data.ended_path, unread_until=int(SystemClock().now().timestamp()) + LIFETIME_S)


def identity() -> IdentityProvider:
    """Who is asked who somebody is that signs in without a key."""
    from airboss.governance.oidc_http import OidcHttp  # noqa: PLC0415 - 90 ms, where somebody signs in so

    return OidcHttp(secret)


def parquet(columns: Mapping[str, type], rows: Sequence[Mapping[str, object]]) -> bytes:
    """A table as a Parquet file."""
    from airboss.store.parquet import as_parquet  # noqa: PLC0415 - DuckDB, where it is needed

    return as_parquet(columns, rows)
