"""What the ledger keeps of changes that wait for somebody else to approve them, and of those decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

Proposed = Literal["config.apply", "rollout.start", "rollout.promote"]
"""What waits for approval, by the audit log's word for it once it is done."""

State = Literal["waiting", "approved", "rejected", "lapsed"]


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A change that somebody has asked for: `body` is the request's, as JSON, `subject` what it is about.
    `by_id` is `Person.id` of whoever asked, "" of a key, and `hands` are theirs (`Caller.hands`); the audit
    log has a digest of these with `salt`. `decided_by`, `decided_at` and `said` are of whoever approved or
    rejected it; of what lapsed `decided_by` is Airboss."""

    number: int = 0
    action: Proposed
    subject: str
    body: str
    by: str
    by_id: str = ""
    hands: tuple[str, ...] = ()
    salt: str = ""
    at: datetime
    reason: str = ""
    state: State = "waiting"
    decided_by: str | None = None
    decided_at: datetime | None = None
    said: str = ""


class ProposalStore(Protocol):
    """Keeps proposals. Every write is durable when its call returns. Raises SetupError if it cannot be
    used."""

    def proposals(self, *, state: State | None = None, limit: int = 100) -> Sequence[Proposal]:
        """Those of a state, or all; the newest first."""

    def waiting(self) -> int:
        """How many wait; none of them is read."""

    def proposal(self, number: int) -> Proposal | None:
        """The one of this number."""

    def propose(self, proposal: Proposal) -> int:
        """Keep it, with the next number, which is returned. Of those decided, DECIDED_MAX are kept, and of
        them so many as have CHARS_MAX together."""

    def decide(self, decided: Proposal) -> bool:
        """Put it in the place of the one of its number, if that waits; whether it did."""


DECIDED_MAX = 200
CHARS_MAX = 16 * 1024 * 1024
"""Of what waits, and of what was decided: a list of them is read whole."""
