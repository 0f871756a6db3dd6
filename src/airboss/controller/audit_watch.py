"""Whether the audit log still goes on from what it was: a checkpoint of it is kept beside its key, not in the
ledger, so that a ledger that was put back from an older copy, or cut, does not go unseen. Nor does it go
unseen that this checkpoint was deleted, on purpose or not: the log says so from then on."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from airboss.domain.errors import AirbossError
from airboss.domain.ports import Clock
from airboss.governance.audit import RESUME, read_leaf, unsigned
from airboss.governance.checkpoint import Checkpoint, Signer, is_sealed, is_signed, read_kept
from airboss.store.audit_rows import AuditLog, LeafRow

EVERY_S: Final = 5.0
NUMBER_MAX: Final = 2**63 - 2
"""A log of one leaf more has a size that no database can be asked for."""

_ROOT = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


class AuditWatch:
    """A chore. `kept` gives the text that is kept, None where none is, and `keep` puts another in its place.
    There is one as soon as there is a log, for a look comes before its first leaf.
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
        """`look`, if it is time to. Raises as that."""
        at = self._clock.monotonic()
        if at >= self._next_at:
            self._next_at = at + EVERY_S
            self.look()

    def look(self) -> None:
        """Compare the log with the checkpoint, and let this follow: before the first leaf of a run, now and
        then, and after the last. Raises SetupError, OSError."""
        try:
            found = self._found()
        except (ValueError, OverflowError) as error:  # what stands there was not written by us
            found = f"its last leaves cannot be read ({error}): see `airboss audit verify`"
        if found != self.trouble and found is not None:
            log.error("the audit log: %s", found)
        self.trouble = found

    def look_last(self) -> None:
        """The same after all else is done, which holds though this cannot be: whoever looks next does it."""
        with suppress(AirbossError, OSError):
            self.look()

    def _found(self) -> str | None:
        kept = read_kept(self._kept())
        if kept is not None:
            trouble = self._against(kept)
            if trouble is not None:
                return trouble
        newest = self._newest()
        if newest is None:
            if kept is None:
                self._put(self._signer.begin(self._clock.now().isoformat()))
            return None
        if not is_ours(newest, self._signer.public_key):
            return f"its last leaf, {newest.number}, is not as it was written: see `airboss audit verify`"
        if kept is None:
            newest = self._resumed(newest)
        if kept is None or newest.number >= kept.size:
            self._put(self._signer.sign(size=newest.number + 1, root=newest.root, at=newest.at))
        return None

    def _resumed(self, newest: LeafRow) -> LeafRow:
        """Say in the log that no checkpoint of it was kept any more, and give the leaf that says so. Where it
        is the last already, none could be kept since, as on a full disk: that is said once."""
        if newest.action == RESUME:
            return newest
        now, detail = self._clock.now(), {"leaves": newest.number + 1}
        told = self._audit.append(RESUME, actor="airboss", subject="audit log", detail=detail, at=now)
        log.warning("the audit log: secrets/audit_head is gone; leaf %d says so, and it goes on", told)
        return self._newest() or newest

    def _put(self, checkpoint: Checkpoint) -> None:
        self._keep(msgspec.json.encode(checkpoint).decode())

    def _newest(self, before: int | None = None) -> LeafRow | None:
        """The log's last leaf, or the last with a smaller number, whatever somebody has made of it."""
        for each in self._audit.newest(limit=1, before=before):
            return each.leaf
        return None

    def _against(self, kept: Checkpoint) -> str | None:
        """What does not fit the checkpoint."""
        if not is_signed(kept):
            return "secrets/audit_head is not as it was signed: it was edited"
        if kept.public_key != self._signer.public_key:
            return "it was signed with another key than secrets/audit_key: put the one of before back"
        if kept.size == 0:  # every log extends it
            return None
        then = self._newest(before=kept.size)
        if then is not None and (then.number, then.root) == (kept.size - 1, kept.root):
            return None
        return (
            f"leaf {kept.size - 1}, its last at {kept.at}, is gone or another one: the ledger was put back "
            "from an older copy, or edited. See `airboss audit verify`; if that was done on purpose, delete "
            "secrets/audit_head"
        )


def is_ours(row: LeafRow, public_key: str) -> bool:
    """Whether a row is a leaf as we write them, and not rewritten since, by its own signature where it has
    one. What no row of ours holds, of whatever type, is signed for nobody. Never raises."""
    texts = (row.content, row.root, row.at, row.action)
    if not isinstance(row.number, int) or not all(isinstance(each, str) for each in texts):
        return False
    try:
        leaf = read_leaf(row.content)
        said = unsigned(leaf, row.content)
    except (ValueError, RecursionError):
        return False
    if not 0 <= row.number <= NUMBER_MAX or not _ROOT.fullmatch(row.root):
        return False
    if (leaf.number, leaf.at, leaf.action) != (row.number, row.at, row.action):
        return False
    if leaf.signature is None:  # of a log from before leaves were signed
        return True
    return said is not None and is_sealed(said, leaf.signature, public_key)
