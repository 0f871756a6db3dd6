"""What is said where there are too few units for an interval, and how many there are. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, Protocol

import msgspec

from airboss.store.wording import many

INTERVAL_UNITS: Final = 2
"""Units that an interval of marks without bounds takes, and a verdict."""

SCORED_UNIT: Final = "user or session"
"""What counts once of recorded calls."""

UNGROUPED: Final = "; in a dataset made with `--group-by none` each item counts by itself"
"""What helps where items count in groups."""

Unit = Literal["item", "user", "group"]
"""What counts once: an item, all items of a user, or all of a group that is none."""


class Grouped(Protocol):
    """An item, as far as it says what it counts with."""

    @property
    def group(self) -> str | None:
        """What stays together."""

    @property
    def user(self) -> str | None:
        """Whose it is."""


def unit_of(items: Iterable[Grouped]) -> Unit:
    """What counts once among these."""
    kinds: set[Unit] = {
        "item" if each.group is None else "user" if each.group == each.user else "group" for each in items
    }
    return kinds.pop() if len(kinds) == 1 else "group"


class Few(msgspec.Struct, frozen=True, kw_only=True):
    """What a scorer scored: so many `scored` items, or calls, in so many `units`, which have no interval."""

    scorer: str
    scored: int
    units: int


def counted(units: int, scored: int, what: str = "item") -> str:
    """How many count, and where that is not how many are scored, those too: `1 (6 items)`."""
    return f"{units:,}" if units == scored else f"{units:,} ({many(scored, what)})"


def of_units(units: int, scored: int, *, what: str = "item", unit: str) -> str:
    """How many are scored, and where that is not how many count, those too: `6 items of 1 user`."""
    return many(scored, what) + (f" of {many(units, unit)}" if scored > units else "")


def lines(found: Iterable[Few], *, what: str, unit: str, alone: bool) -> list[str]:
    """Why scorers have no interval, a line for those with the same numbers; `what` is scored, `unit` counts
    once, and `alone` is one release, about which there is no verdict."""
    needs = "an interval takes" if alone else "an interval and a verdict take"
    alike: dict[tuple[int, int], list[str]] = {}
    for each in found:
        alike.setdefault((each.scored, each.units), []).append(each.scorer)
    several = "s or ".join(unit.split(" or ")) + "s"
    return [
        f"{', '.join(names)}: {of_units(units, scored, what=what, unit=unit)}; {needs} at least "
        f"{INTERVAL_UNITS}" + (f" {several}{UNGROUPED if what == 'item' else ''}" if scored > units else "")
        for (scored, units), names in alike.items()
    ]
