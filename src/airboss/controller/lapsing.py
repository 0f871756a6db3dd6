"""Changes that wait for somebody else's approval, and that nobody decided in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from airboss.domain.ports import Clock, Ledger
from airboss.governance.approvals import LAPSED, lapses_at, noted
from airboss.store.audit_rows import AuditLog
from airboss.store.proposal_rows import Proposal, ProposalStore

EVERY_S: Final = 60.0
OURS: Final = "airboss"
"""As who decides it, for the audit log."""


class Lapsing:
    """A chore, every minute. `tell` has those told who are to know, in the transaction in which one lapses;
    the ledger is the one that all of it is kept in."""

    def __init__(
        self,
        ledger: Ledger,
        proposals: ProposalStore,
        audit: AuditLog,
        *,
        tell: Callable[[Proposal], None],
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._proposals = proposals
        self._audit = audit
        self._tell = tell
        self._clock = clock
        self._next_at = 0.0

    def tick(self) -> None:
        """Let lapse what is due. Raises SetupError."""
        if self._clock.monotonic() < self._next_at:
            return
        if self._proposals.waiting():
            now = self._clock.now()
            for each in self._proposals.proposals(state="waiting"):
                if lapses_at(each) <= now:
                    self._lapse(each)
        self._next_at = self._clock.monotonic() + EVERY_S

    def _lapse(self, proposal: Proposal) -> None:
        lapsed = msgspec.structs.replace(
            proposal, state="lapsed", decided_by=OURS, decided_at=self._clock.now(), said=LAPSED
        )
        with self._ledger.together():
            if not self._proposals.decide(lapsed):
                return  # somebody was quicker
            self._audit.append(
                "approvals.lapse",
                actor=OURS,
                subject=lapsed.subject,
                detail=noted(lapsed),
                at=self._clock.now(),
            )
            self._tell(lapsed)
