"""The audit log of a data directory, to be checked: running or stopped, nothing is asked but the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airboss.compose.parts import open_ledger
from airboss.compose.stores import AUDIT_KEY, audit_key_gone, kept_head, open_audit
from airboss.store.datadir import DataDir

if TYPE_CHECKING:
    from airboss.governance.checkpoint import Checkpoint
    from airboss.store.audit_rows import AuditData, LedgerRows


class Found(NamedTuple):
    """The log, the public key that should have signed it (hex), whether anything was ever done here, the
    checkpoint that is kept beside the key, or whether it is gone, and the rows that the log tells of, where
    they can be had. `admits` says what the machine that has it finds wrong itself."""

    data: AuditData
    public_key: str
    begun: bool
    kept: Checkpoint | None = None
    kept_gone: bool = False
    rows: LedgerRows | None = None
    admits: Callable[[], str | None] = lambda: None


@contextmanager
def found_audit(data_dir: Path) -> Iterator[Found]:
    """Open it. Raises SetupError where the key is gone or the database cannot be used."""
    from airboss.governance.checkpoint import Signer, read_kept  # noqa: PLC0415 - cryptography, where it is needed

    data = DataDir(data_dir)
    kept = read_kept(kept_head(data))  # first, or one that is newer than the log may be read
    secret = data.kept_secret(AUDIT_KEY)
    if secret is None:
        raise audit_key_gone(data)
    public_key = Signer(secret).public_key
    with open_ledger(data) as ledger, open_audit(data) as log, log.whole() as whole:
        begun = ledger.config() is not None
        yield Found(
            data=whole,
            public_key=public_key,
            begun=begun,
            kept=kept,
            kept_gone=kept is None,
            rows=whole,
        )
