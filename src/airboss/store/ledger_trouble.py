"""The errors of a ledger that cannot be used, apart from what opens one, which takes long to load."""

from __future__ import annotations

import msgspec

from airboss.domain.errors import SetupError


class LedgerTrouble(SetupError):
    """The database cannot be used now, whatever it is asked: it is away, full, read-only, silent. What was
    asked is not at fault, and may be asked again."""


class LedgerAway(LedgerTrouble):
    """No server is there now; of one that says no it is not this."""


def edited(error: msgspec.DecodeError, database: str | None) -> SetupError:
    """What to tell of a row that holds what nobody here wrote."""
    return SetupError(
        f"the ledger {database} has a row that no Airboss of this version wrote ({error}): put a copy of it"
        " back, and see `airboss audit verify`"
    )
