"""What the ledger keeps of views that somebody has saved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class SavedView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the console in a state: its path and query."""

    name: str
    path: str
    query: dict[str, str]
    by: str
    at: datetime


class ViewStore(Protocol):
    """Keeps views. Every write is durable when its call returns. Raises SetupError if it cannot be used."""

    def views(self) -> Sequence[SavedView]:
        """Every view, by name."""

    def put_view(self, view: SavedView) -> None:
        """Keep a view in place of the one of that name."""

    def drop_view(self, name: str) -> bool:
        """Keep it no more; whether there was one."""
