"""What a gateway reads of a ledger, and what it has of one that is away: known without what opens a ledger,
which takes as long to load as all the rest of a gateway."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from airboss.domain.ports import Snapshot


class PlanSource(Protocol):
    """What a gateway reads of `domain.ports.Ledger`, which is one."""

    def revision(self) -> int:
        """As `Ledger.revision`."""

    def snapshot(self) -> Snapshot | None:
        """As `Ledger.snapshot`."""

    def config(self) -> str | None:
        """As `Ledger.config`."""


class KeptSnapshot(Snapshot, frozen=True, kw_only=True):
    """One from disk; `kept_at` is when the ledger was last seen to have it."""

    kept_at: datetime
