"""The stores that rooms have in the ledger's database, beside the ledger itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

from airboss.compose import evals, finetuning, playing, probes, tuning
from airboss.store.datadir import DataDir

AUDIT_KEY = "audit_key"
"""The secret whose key signs the audit log."""

ERASE_KEY = "erase_key"
"""The secret under which people who were forgotten are recognised."""

if TYPE_CHECKING:
    from airboss.domain.ports import Ledger
    from airboss.evaluations.ports import EvalStore
    from airboss.governance.erasure import Forgetting
    from airboss.store.alerts import SqlAlertStore
    from airboss.store.audit_rows import AuditLog
    from airboss.store.job_rows import JobStore
    from airboss.store.responses import SqlResponseStore
    from airboss.store.rollouts import SqlRolloutStore
    from airboss.store.spends import SqlSpends
    from airboss.store.views import SqlViewStore


@contextmanager
def open_rooms(ledger: Ledger, data: DataDir) -> Iterator[dict[str, Any]]:
    """What rooms give the console's desk, by its name there; closed at the end."""
    with ExitStack() as stack:
        stores: dict[str, Any] = {
            "jobs": stack.enter_context(open_jobs(data)),
            "evals": stack.enter_context(open_evals(data)),
            "audit": stack.enter_context(open_audit(data)),
            "people": stack.enter_context(open_people(data)),
            "alerts": stack.enter_context(open_alerts(data)),
            "views": stack.enter_context(open_views(data)),
        }
        stores["drifts"] = stores["views"]
        yield {
            **stores,
            "spent": stack.enter_context(open_spends(data)).since,
            "orders": evals.orders(ledger, data, stores),
            "probes": probes.orders(ledger, stores),
            "tuning": tuning.orders(ledger, data, stores),
            "finetuning": finetuning.orders(ledger, data, stores),
            "plays": playing.plays(ledger, data),
            "parquet": parquet,
        }


def open_alerts(data: DataDir) -> AbstractContextManager[SqlAlertStore]:
    """The alarms of a data directory, closed at the end."""
    from airboss.store.alerts import SqlAlertStore  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlAlertStore(data.ledger_url))


def open_views(data: DataDir) -> AbstractContextManager[SqlViewStore]:
    """The saved views of a data directory, and where drift stands; closed at the end."""
    from airboss.store.views import SqlViewStore  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlViewStore(data.ledger_url))


def parquet(columns: Mapping[str, type], rows: Sequence[Mapping[str, object]]) -> bytes:
    """A table as a Parquet file."""
    from airboss.store.parquet import as_parquet  # noqa: PLC0415 - DuckDB, where it is needed

    return as_parquet(columns, rows)


def open_spends(data: DataDir) -> AbstractContextManager[SqlSpends]:
    """What the keys of a data directory have spent, closed at the end."""
    from airboss.store.spends import SqlSpends  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlSpends(data.ledger_url))


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
        yield Forgetting(store, data.secret(ERASE_KEY).value)
    finally:
        store.close()


def open_audit(data: DataDir) -> AbstractContextManager[AuditLog]:
    """The audit log of a data directory, closed at the end; what is added is signed with its key."""
    from airboss.governance.audit import Sealer  # noqa: PLC0415 - cryptography, where it is needed
    from airboss.governance.checkpoint import Signer  # noqa: PLC0415 - as above
    from airboss.store.audit import SqlAuditLog  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlAuditLog(data.ledger_url, Sealer(Signer(data.secret(AUDIT_KEY).value))))


def open_evals(data: DataDir) -> AbstractContextManager[EvalStore]:
    """The datasets and evaluations of a data directory, closed at the end."""
    from airboss.store.evals import SqlEvalStore  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlEvalStore(data.ledger_url))


def open_responses(data: DataDir) -> AbstractContextManager[SqlResponseStore]:
    """The kept responses of a data directory, closed at the end."""
    from airboss.store.responses import SqlResponseStore  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlResponseStore(data.ledger_url))


def open_rollouts(data: DataDir) -> AbstractContextManager[SqlRolloutStore]:
    """The rollouts of a data directory, closed at the end."""
    from airboss.store.rollouts import SqlRolloutStore  # noqa: PLC0415 - SQLAlchemy, where it is needed

    return closing(SqlRolloutStore(data.ledger_url))
