"""The ledger of a stopped Airboss moved to another database, with all that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from airboss.compose.governing import looking_at_audit
from airboss.compose.stores import AUDIT_KEY, audit_key_gone, kept_head, open_audit
from airboss.compose.up import lock_patiently
from airboss.config import StoreConfig
from airboss.config.checks_store import check_stores
from airboss.domain.errors import ConfigError, SetupError, WrongCall
from airboss.store.datadir import DataDir, resolved
from airboss.store.ledger_url import same

if TYPE_CHECKING:
    from airboss.governance.audit_verify import Verdict
    from airboss.store.ledger_move import TableMoved, Tell


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What was moved, from where and to where, without user and password. `setting` is `[store] ledger` from
    now on, None where the ledger is in the data directory again.

    `tables` and `leaves`, of the audit log that was verified there, are empty and None where a move was ended
    that had been killed on its last steps.
    """

    source: str
    target: str
    setting: str | None
    tables: Mapping[str, TableMoved]
    leaves: int | None


def move_ledger(data_dir: Path, to: str, *, tell: Tell) -> Moved:
    """Move it to `to`, as `[store] ledger` would name that, and let the data directory know. Raises
    AirbossError with everything as it was."""
    from airboss.store.ledger_lead import leading  # noqa: PLC0415 - SQLAlchemy, where it is needed
    from airboss.store.ledger_move import MovableLedger, check_database  # noqa: PLC0415 - as above

    check_stores(StoreConfig(ledger=to), _wrong)
    data = DataDir(data_dir)
    with lock_patiently(data):
        if data.has_joined:
            raise SetupError(
                f"{data.path} is of a machine that serves calls beside another Airboss: move the ledger where"
                " that one has its data"
            )
        here, there = data.ledger_url, resolved(to)
        if same(here, there):
            raise WrongCall(f"the ledger of {data.path} is there already")
        check_database(there)
        seal = _Seal(data, there)
        with (
            leading(here, broke=lambda: None, wait_s=1.0),
            closing(MovableLedger(here)) as source,
            closing(MovableLedger(there)) as target,
        ):
            seal.detail = {"from": source.name, "to": target.name}
            tables = source.move_to(target, tell=tell, seal=seal)
        data.put_ledger(to)
        with open_audit(data) as audit:
            looking_at_audit(audit, data).look_last()
        return Moved(
            source=source.name,
            target=target.name,
            setting=data.ledger_choice(),
            tables=tables,
            leaves=seal.verdict.checked if seal.verdict is not None else None,
        )


class _Seal:
    """Verifies the audit log of the ledger at `url`, and ends a move there. Raises SetupError."""

    def __init__(self, data: DataDir, url: str) -> None:
        from airboss.governance.checkpoint import Signer, read_kept  # noqa: PLC0415 - cryptography

        secret = data.kept_secret(AUDIT_KEY)
        if secret is None:
            raise audit_key_gone(data)
        self._signer = Signer(secret)
        self._own = read_kept(kept_head(data))
        self._url = url
        self.detail: dict[str, str] = {}
        self.verdict: Verdict | None = None

    def __call__(self) -> None:
        from airboss.governance.audit import Sealer  # noqa: PLC0415 - cryptography, where it is needed
        from airboss.governance.audit_verify import verify  # noqa: PLC0415 - as above
        from airboss.store.audit import SqlAuditLog  # noqa: PLC0415 - SQLAlchemy, where it is needed
        from airboss.store.ledger_move import MOVE  # noqa: PLC0415 - as above

        with closing(SqlAuditLog(self._url, Sealer(self._signer))) as log:
            with log.whole() as whole:
                key = self._signer.public_key
                self.verdict = verify(whole, public_key=key, own=self._own, ledger=whole)
            if not self.verdict.valid:
                raise SetupError(
                    f"the audit log is not valid, there as here: {self.verdict.problem}. Nothing was moved:"
                    " find out who did that, and put a copy of the data directory back"
                )
            now = datetime.now(UTC)
            log.append(MOVE, actor="airboss ledger move", subject="ledger", detail=self.detail, at=now)


def _wrong(_path: object, said: str) -> ConfigError:
    return ConfigError(f"--to: {said}")
