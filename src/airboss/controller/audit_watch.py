"""Whether the audit log still goes on from what it was: a checkpoint of it is kept beside its key, not in the
ledger, so that a ledger that was put back from an older copy, or cut, does not go unseen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from airboss.domain.ports import Clock
from airboss.governance.checkpoint import Checkpoint, Signer, is_signed, read_kept
from airboss.store.audit_rows import AuditLog

EVERY_S: Final = 5.0

log = logging.getLogger(__name__)


class AuditWatch:
    """A chore. `kept` gives the text that is kept, None where none is, and `keep` puts another in its place.
    Any thread may ask for the trouble. What it looks at is the newest leaf and the one that the checkpoint is
    of; `airboss audit verify` looks at all."""

    def __init__(
        self,
        audit: AuditLog,
        signer: Signer,
        clock: Clock,
        *,
        kept: Callable[[], str | None],
        keep: Callable[[str], object],
    ) -> None:
        self._audit = audit
        self._signer = signer
        self._clock = clock
        self._kept = kept
        self._keep = keep
        self._next_at = 0.0
        self.trouble: str | None = None
        """What is wrong with the log, None as far as is known."""

    def tick(self) -> None:
        """Compare the log with the checkpoint, and let this follow. Raises SetupError, OSError."""
        at = self._clock.monotonic()
        if at < self._next_at:
            return
        self._next_at = at + EVERY_S
        found = self._look()
        if found != self.trouble and found is not None:
            log.error("the audit log: %s", found)
        self.trouble = found

    def _look(self) -> str | None:
        kept, newest = read_kept(self._kept()), self._newest()
        if kept is not None:
            trouble = self._against(kept)
            if trouble is not None:
                return trouble
        if newest is not None and (kept is None or newest.size > kept.size):
            self._keep(msgspec.json.encode(newest).decode())
        return None

    def _newest(self, before: int | None = None) -> Checkpoint | None:
        """The log as of its last leaf, or of the last with a smaller number, signed now."""
        for each in self._audit.newest(limit=1, before=before):
            leaf = each.leaf
            number = leaf.number if isinstance(leaf.number, int) else -1  # what somebody wrote there is kept
            return self._signer.sign(size=number + 1, root=str(leaf.root), at=str(leaf.at))
        return None

    def _against(self, kept: Checkpoint) -> str | None:
        """What does not fit the checkpoint."""
        if not is_signed(kept):
            return "secrets/audit_head is not as it was signed: it was edited"
        if kept.public_key != self._signer.public_key:
            return "it was signed with another key than secrets/audit_key: put the one of before back"
        then = self._newest(before=kept.size)
        if then is not None and (then.size, then.root) == (kept.size, kept.root):
            return None
        return (
            f"leaf {kept.size - 1}, its last at {kept.at}, is gone or another one: the ledger was put back "
            "from an older copy, or edited. See `airboss audit verify`; if that was done on purpose, delete "
            "secrets/audit_head"
        )
