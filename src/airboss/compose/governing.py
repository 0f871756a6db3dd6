"""What the controller looks after for governance: plans noted in the audit log, retention, log redaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from airboss.compose.threads import at_work

if TYPE_CHECKING:
    from airboss.compose.redaction import LogRedactor
    from airboss.compose.stores import Stores
    from airboss.controller.audit_watch import AuditWatch
    from airboss.controller.chores import Chore
    from airboss.controller.erasing import Erasing
    from airboss.controller.retention import Retention
    from airboss.controller.summing import Summaries
    from airboss.domain.ports import Ledger, RecordLog
    from airboss.domain.status import SystemStatus
    from airboss.store.audit_rows import AuditLog
    from airboss.store.datadir import DataDir
    from airboss.store.proposal_rows import Proposal
    from airboss.store.rollouts import SqlRolloutStore
    from airboss.store.sealed_log import SealedLog


def erasing(data: DataDir, stores: Stores, records: SealedLog) -> Erasing:
    """Forgets people, for the mover."""
    from airboss.compose.parts import SystemClock  # noqa: PLC0415 - who moves records
    from airboss.compose.stores import ERASE_KEY, open_responses  # noqa: PLC0415 - as above
    from airboss.controller.erased_traces import FILE, ErasedTraces  # noqa: PLC0415 - as above
    from airboss.controller.erasing import Erasing  # noqa: PLC0415 - as above
    from airboss.store.answers import SqliteAnswers  # noqa: PLC0415 - as above
    from airboss.tuning.training_files import TrainingFiles  # noqa: PLC0415 - as above

    def forget_items(user: str) -> int:
        with open_responses(data) as responses:
            responses.forget_user(user)
        stores.views.forget_user(user)
        if data.cache_path.exists():
            with closing(SqliteAnswers(data.cache_path)) as answers:
                answers.forget(user, SystemClock().now().timestamp())
        found: int = stores.evals.forget_user(user)
        TrainingFiles(data.finetune_dir).forget(user)  # after: who writes such files looks at the items again
        return found

    return Erasing(
        stores.people,
        key=data.secret(ERASE_KEY).value,
        records=records,
        forget_items=forget_items,
        audit=stores.audit,
        clock=SystemClock(),
        traces=ErasedTraces(data.journal_dir / FILE, SystemClock()),
        sealing=records,
    )


def keeping(ledger: Ledger, stores: Stores, records: RecordLog, data: DataDir) -> Retention:
    """Deletes what is too old."""
    from airboss.compose.parts import SystemClock  # noqa: PLC0415 - the controller's own
    from airboss.compose.watching import InForce  # noqa: PLC0415 - as above
    from airboss.controller.retention import Retention  # noqa: PLC0415 - as above
    from airboss.store.disk import free_bytes  # noqa: PLC0415 - as above

    in_force = InForce(ledger)
    return Retention(
        wanted=lambda: in_force.config().store.retention,
        records=records,
        audit=stores.audit,
        clock=SystemClock(),
        expire_answers=stores.evals.expire,
        free_bytes=lambda: free_bytes(data.path),
    )


def looking_at_audit(log: AuditLog, data: DataDir) -> AuditWatch:
    """Looks whether the audit log goes on from what it was."""
    from airboss.compose.parts import SystemClock  # noqa: PLC0415 - the controller's own
    from airboss.compose.stores import AUDIT_HEAD, AUDIT_KEY, kept_head  # noqa: PLC0415 - as above
    from airboss.controller.audit_watch import AuditWatch  # noqa: PLC0415 - as above
    from airboss.governance.checkpoint import Signer  # noqa: PLC0415 - as above

    return AuditWatch(
        log,
        Signer(data.secret(AUDIT_KEY).value),
        SystemClock(),
        kept=partial(kept_head, data),
        keep=partial(data.write_secret, AUDIT_HEAD),
    )


def with_governance(
    status: Callable[[], SystemStatus], retention: Retention, stores: Stores, audit: AuditWatch
) -> Callable[[], SystemStatus]:
    """The status with what is looked after here."""

    def found() -> SystemStatus:
        return msgspec.structs.replace(
            status(),
            retention=retention.status(),
            erasures_pending=len(stores.people.store.pending()),
            audit_trouble=audit.trouble,
        )

    return found


def summing(
    ledger: Ledger, data: DataDir, stores: Stores, records: RecordLog, redact: LogRedactor
) -> Summaries:
    """Has told what was spent."""
    from airboss.compose.parts import SystemClock  # noqa: PLC0415 - the controller's own
    from airboss.compose.watching import InForce, console_url  # noqa: PLC0415 - as above
    from airboss.controller.summing import Summaries  # noqa: PLC0415 - as above

    return Summaries(
        config=InForce(ledger).config,
        records=records,
        alerts=stores.alerts,
        teams=lambda: {key.name: key.team for key in ledger.all_keys() if key.team},
        console_url=partial(console_url, data),
        redact=redact.text,
        clock=SystemClock(),
    )


LEFTOVERS: Final = "trainings that nobody wants"
"""A chore that waits for providers, minutes where they hang: it has a thread of its own, so that retention
and keys to redact do not wait for it."""


def chores(  # noqa: PLR0917 - what the controller has, in the order it came to be
    ledger: Ledger,
    data: DataDir,
    stores: Stores,
    records: RecordLog,
    redact: LogRedactor,
    retention: Retention,
    audit: AuditWatch,
    rollouts: SqlRolloutStore,
    status: Chore,
) -> dict[str, Chore]:
    """What there is to look after, by its name in the log."""
    from airboss.compose.finetuning import Leftovers  # noqa: PLC0415 - the controller's own
    from airboss.compose.parts import SystemClock  # noqa: PLC0415 - as above
    from airboss.compose.redaction import Redacting  # noqa: PLC0415 - the controller's own
    from airboss.compose.stores import ERASE_KEY, open_responses  # noqa: PLC0415 - as above
    from airboss.compose.watching import InForce, console_url  # noqa: PLC0415 - as above
    from airboss.controller.expiring import Expiring  # noqa: PLC0415 - as above
    from airboss.controller.lapsing import Lapsing  # noqa: PLC0415 - as above
    from airboss.controller.verdict_notes import VerdictNotes  # noqa: PLC0415 - as above
    from airboss.governance import approvals  # noqa: PLC0415 - as above

    clock, force = SystemClock(), InForce(ledger)

    def tell(lapsed: Proposal) -> None:
        approvals.tell(
            stores.alerts,
            force.config(),
            lapsed,
            link=approvals.link(console_url(data)),
            redact=redact.text,
            at=clock.now(),
        )

    return {
        "changes that nobody approves": Lapsing(
            ledger, stores.proposals, stores.audit, tell=tell, clock=clock
        ),
        "keys of providers kept out of logs": Redacting(ledger, redact),
        "verdicts in the audit log": VerdictNotes(rollouts, stores.audit, SystemClock()),
        "how everything stands": status,
        "retention": retention,
        "summaries of what was spent": summing(ledger, data, stores, records, redact),
        "the audit log's last checkpoint": audit,
        LEFTOVERS: Leftovers(data, stores.jobs),
        "kept responses": Expiring(
            partial(open_responses, data),
            stores.people.store,
            key=data.secret(ERASE_KEY).value,
            clock=SystemClock(),
        ),
    }


@contextmanager
def looking_after(chores: Mapping[str, Chore], *, broke: Callable[[], None]) -> Iterator[None]:
    """Chores are done until the end of the block. `broke` is called if their threads end by a defect."""
    from airboss.controller.chores import Chores  # noqa: PLC0415 - the controller's own

    alone = {name: each for name, each in chores.items() if name == LEFTOVERS}
    others = {name: each for name, each in chores.items() if name not in alone}
    with at_work({"chores": Chores(others).run, LEFTOVERS: Chores(alone).run}, broke=broke):
        yield
