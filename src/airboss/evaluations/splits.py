"""Whether a dataset's parts came out as they were asked for, and what to say where they did not. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec

from airboss.evaluations.datasets import PARTS, Part, Shares
from airboss.evaluations.few import INTERVAL_UNITS, Unit, of_units, unit_of

SHARE_MIN: Final = 0.5
"""Of what was asked for: a part that came out smaller is said."""

NEXT: Final[dict[Unit, str]] = {
    "item": "add more items",
    "user": "take calls of more users, or make the dataset with `--group-by none`, which draws each item by "
    "itself",
    "group": "take more of them, or make the dataset without groups (`--group-by none` of recorded calls), "
    "which draws each item by itself",
}
"""What helps, by what is drawn as one."""


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """A `datasets.Item`, as far as it says where it belongs."""

    id: str
    group: str | None = None
    part: Part | None = None
    user: str | None = None


class Uneven(msgspec.Struct, frozen=True, kw_only=True):
    """A part that came out with fewer than INTERVAL_UNITS units, or less than half of its share: so many
    `items` of so many `units`, each a `unit`, where `share` of all was asked for; `words` say so, and what
    helps."""

    part: Part
    items: int
    units: int
    unit: Unit
    share: float
    words: str


def uneven(items: Iterable[tuple[Part, Drawn]], shares: Shares) -> tuple[Uneven, ...]:
    """The parts, in order, that are too small for what was asked for; `items` stand with where they are.

    Nothing is said of what nobody drew: items that are all pinned, or are all asked for in one part. Pinned
    items count in a part, but no part is too small for being less than others have pinned.
    """
    every = list(items)
    drawn = Counter(part for part, item in every if item.part is None)
    sizes = Counter(part for part, _ in every)
    units: dict[Part, set[tuple[bool, str]]] = defaultdict(set)
    for part, item in every:
        units[part].add((item.group is None, item.group or item.id))
    asked = dict(zip(PARTS, (shares.train, shares.validation, shares.holdout), strict=True))
    if not drawn or max(asked.values()) >= 1:
        return ()
    unit = unit_of(item for _, item in every)
    found = []
    for part, share in asked.items():
        small = all(of[part] < SHARE_MIN * share * of.total() for of in (drawn, sizes))
        if share > 0 and (small or len(units[part]) < INTERVAL_UNITS):
            count, of = sizes[part], len(units[part])
            words = f"{_seen(part, count, of, unit, share)}; {NEXT[unit]}"
            found.append(Uneven(part=part, items=count, units=of, unit=unit, share=share, words=words))
    return tuple(found)


def said(found: Iterable[Uneven], *parts: Part) -> tuple[str, ...]:
    """What is to be said of these parts, or of all."""
    return tuple(each.words for each in found if each.part in (parts or PARTS))


def because(found: Iterable[Uneven], *parts: Part) -> str:
    """The same, to be added to why a part cannot be used, with what helps once; empty where they came out as
    was asked for."""
    some = [each for each in found if each.part in parts]
    seen = [_seen(each.part, each.items, each.units, each.unit, each.share) for each in some]
    return "".join(f"; {words}" for words in [*seen, NEXT[some[0].unit]]) if some else ""


def _seen(part: Part, items: int, units: int, unit: Unit, share: float) -> str:
    return f"{part}: {of_units(units, items, unit=unit)}, asked for {100 * share:.3g}%"
