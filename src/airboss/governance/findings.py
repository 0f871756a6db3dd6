"""What screening found in a call: kinds, counts and places, never values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from airboss.domain.record import PolicyFinding
from airboss.governance.candidates import Kind
from airboss.governance.screening import Action, ScreeningPolicy

PLACES_MAX = 64
"""Kinds and places that a call's findings tell apart; what is more is told without its place."""

_DEPTH_MAX = 6
_TELLING = re.compile(r"[A-Za-z][A-Za-z_]{0,31}")


class Findings:
    """Collects what is found in one call."""

    def __init__(self, policy: ScreeningPolicy) -> None:
        self._actions: Mapping[Kind, Action] = policy.actions
        self._counts: Counter[tuple[Kind, str]] = Counter()

    def add(self, counts: Mapping[Kind, int], at: Sequence[str]) -> None:
        """So many values of these kinds stood under these names. A name that is not made of letters, as the
        names in people's own data may not be, is not told."""
        shown = [name if _TELLING.fullmatch(name) else "*" for name in at[:_DEPTH_MAX]]
        where = ".".join(shown)
        for kind, count in counts.items():
            place = (kind, where)
            if place not in self._counts and len(self._counts) >= PLACES_MAX:
                place = (kind, at[0])
            self._counts[place] += count

    def merge(self, other: Findings) -> None:
        """Take in what another found."""
        self._counts.update(other._counts)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def listed(self) -> tuple[PolicyFinding, ...]:
        """What was found, for a record."""
        return tuple(
            PolicyFinding(kind=kind, action=self._actions[kind], count=count, where=where)
            for (kind, where), count in sorted(
                self._counts.items(), key=lambda item: (item[0][1], item[0][0])
            )
        )
