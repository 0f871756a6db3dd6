"""The stores in the ledger's database, beside the ledger itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from airboss.domain.errors import SetupError
from airboss.store.datadir import DataDir

AUDIT_KEY = "audit_key"
"""The secret whose key signs the audit log."""

AUDIT_HEAD = "audit_head"
"""What is kept beside that key: the last checkpoint, which the log must extend."""

ERASE_KEY = "erase_key"
"""The secret under which people who were forgotten are recognised."""

if TYPE_CHECKING:
    from airboss.evaluations.ports import EvalStore
    from airboss.governance.erasure import Forgetting
    from airboss.store.alerts import SqlAlertStore
    from airboss.store.audit_rows import AuditLog
    from airboss.store.job_rows import JobStore
    from airboss.store.proposals import SqlProposals
    from airboss.store.responses import SqlResponseStore
    from airboss.store.rollouts import SqlRolloutStore
    from airboss.store.spends import SqlSpends
    from airboss.store.views import SqlViewStore


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Stores:
    """What the controller and its console keep. `views` keeps where drift stands too."""

    jobs: JobStore
    evals: EvalStore
    audit: AuditLog
    people: Forgetting
    alerts: SqlAlertStore
    views: SqlViewStore
    spends: SqlSpends
    proposals: SqlProposals


@contextmanager
def open_stores(data: DataDir) -> Iterator[Stores]:
    """Those of a data directory, closed at the end."""
    with (
        open_jobs(data) as jobs,
        open_evals(data) as evals,
        open_audit(data) as audit,
        open_people(data) as people,
        open_alerts(data) as alerts,
        open_views(data) as views,
        open_spends(data) as spends,
        open_proposals(data) as proposals,
    ):
        yield Stores(
            jobs=jobs,
            evals=evals,
            audit=audit,
            people=people,
            alerts=alerts,
            views=views,
            spends=spends,
            proposals=proposals,
        )


@contextmanager
def once_asked(opening: Callable[[], AbstractContextManager[T]]) -> Iterator[Callable[[], T]]:
    """A store for who may never need it: opened when it is first asked for, by any thread, and closed at the
    end. To load what opens it takes a gateway as long as half of all that it needs."""
    with ExitStack() as opened:
        lock, held = threading.Lock(), list[T]()

        def store() -> T:
            with lock:
                if not held:
                    held.append(opened.enter_context(opening()))
                return held[0]

        yield store


def open_alerts(data: DataDir) -> AbstractContextManager[SqlAlertStore]:
    """The alarms of a data directory, closed at the end."""
    from airboss.store.alerts import SqlAlertStore  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlAlertStore(data.ledger_url))


def open_views(data: DataDir) -> AbstractContextManager[SqlViewStore]:
    """The saved views of a data directory, and where drift stands; closed at the end."""
    from airboss.store.views import SqlViewStore  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlViewStore(data.ledger_url))


def open_spends(data: DataDir, *, late: bool = False) -> AbstractContextManager[SqlSpends]:
    """What the keys of a data directory have spent, closed at the end. `late` as in `LedgerPart`."""
    from airboss.store.spends import SqlSpends  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlSpends(data.ledger_url, late=late))


def open_proposals(data: DataDir) -> AbstractContextManager[SqlProposals]:
    """What waits for approval in a data directory; closed at the end."""
    from airboss.store.proposals import SqlProposals  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlProposals(data.ledger_url))


def open_jobs(data: DataDir) -> AbstractContextManager[JobStore]:
    """The jobs of a data directory, closed at the end."""
    from airboss.store.jobs import SqlJobStore  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlJobStore(data.ledger_url))


@contextmanager
def open_people(data: DataDir) -> Iterator[Forgetting]:
    """The people of a data directory who are forgotten or to be, closed at the end."""
    from airboss.governance.erasure import Forgetting  # noqa: PLC0415 - small, but only here
    from airboss.store.erasures import SqlErasures  # noqa: PLC0415 - SQLAlchemy, where it is needed

    store = SqlErasures(data.ledger_url)
    try:
        kept = data.kept_secret(ERASE_KEY)
        if kept is None and store.newest(1):
            raise _missing(data, ERASE_KEY, "who was forgotten is recognised by it", "none of them is")
        yield Forgetting(store, kept or data.secret(ERASE_KEY).value)
    finally:
        store.close()


@contextmanager
def open_audit(data: DataDir) -> Iterator[AuditLog]:
    """The audit log of a data directory, closed at the end; what is added is signed with its key. Raises
    SetupError where that is gone and the log is not."""
    from airboss.governance.audit import Sealer  # noqa: PLC0415 - cryptography, where it is needed
    from airboss.governance.checkpoint import Signer  # noqa: PLC0415 - as above
    from airboss.store.audit import SqlAuditLog  # noqa: PLC0415 - SQLAlchemy, where it is needed

    if data.kept_secret(AUDIT_KEY) is None:
        with closing(SqlAuditLog(data.ledger_url, Sealer(Signer("")))) as log:
            if log.newest(limit=1):
                raise audit_key_gone(data)
    with closing(SqlAuditLog(data.ledger_url, Sealer(Signer(data.secret(AUDIT_KEY).value)))) as log:
        yield log


def kept_head(data: DataDir) -> str | None:
    """The text of the checkpoint that is kept beside the key; None where there is none. Of what is no text,
    or no plain file, it is "", which nobody has signed."""
    try:
        return data.kept_secret(AUDIT_HEAD)
    except SetupError:
        return ""


def audit_key_gone(data: DataDir) -> SetupError:
    """That the key is gone that an audit log is signed with."""
    return _missing(data, AUDIT_KEY, "the audit log is signed with it", "the log is not valid")


def _missing(data: DataDir, name: str, what: str, then: str) -> SetupError:
    """That a secret is gone which no new one can stand in for."""
    return SetupError(
        f"{data.secrets_dir / name} is gone, and {what}: put it back from a backup of the data directory. If "
        f"it is lost for good, write another secret into it: {then} from then on"
    )


def open_evals(data: DataDir) -> AbstractContextManager[EvalStore]:
    """The datasets and evaluations of a data directory, closed at the end."""
    from airboss.store.evals import SqlEvalStore  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlEvalStore(data.ledger_url))


def open_responses(data: DataDir, *, late: bool = False) -> AbstractContextManager[SqlResponseStore]:
    """The kept responses of a data directory, closed at the end. `late` as in `LedgerPart`."""
    from airboss.store.responses import SqlResponseStore  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlResponseStore(data.ledger_url, late=late))


def open_rollouts(data: DataDir) -> AbstractContextManager[SqlRolloutStore]:
    """The rollouts of a data directory, closed at the end."""
    from airboss.store.rollouts import SqlRolloutStore  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlRolloutStore(data.ledger_url))
