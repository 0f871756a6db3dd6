"""Keys as tests want them in a ledger."""

from __future__ import annotations

from airboss.domain.ports import ApiKey, Ledger


def put_key(ledger: Ledger, key: ApiKey) -> None:
    """Add a key, or replace the one of that name."""
    ledger.change_key(key.name, lambda _: key)
