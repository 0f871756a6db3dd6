"""What one worker took of minutes lately: to be told to who counts, if that has forgotten. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from airboss.governance.counting import Change, Grant, Want
from airboss.governance.windows import SLOTS

PART_SLOTS: Final = 10_000
"""About so many slots are told at once, for which Valkey needs some 30 ms in which it hears nobody else."""

Taken = list[tuple[str, list[int]]]
"""By counter: a slot and how much stands in it, another slot and how much, and so on."""


class Recent:
    """At least the last minute by counter and slot, in the slots of who counts."""

    def __init__(self) -> None:
        self._taken: dict[str, dict[int, int]] = {}
        self._swept = 0

    def given(self, wants: Sequence[Want], grants: Sequence[Grant]) -> None:
        """So much was granted."""
        for want, grant in zip(wants, grants, strict=True):
            if want.kind == "minute":
                slots = self._taken.setdefault(want.counter, {})
                slots[grant.slot] = slots.get(grant.slot, 0) + grant.amount
                if grant.slot >= self._swept + SLOTS:
                    self._sweep(grant.slot)

    def told(self, changes: Sequence[Change]) -> None:
        """So much of it went back, or was used besides."""
        for change in changes:
            slots = self._taken.get(change.counter)
            if slots is not None and change.back:
                slots[change.slot] = max(0, slots.get(change.slot, 0) - change.back)

    def parts(self) -> Iterator[Taken]:
        """Everything, in parts; the same ones again if nothing was given or told since."""
        part: Taken = []
        size = 0
        for counter, slots in self._taken.items():
            part.append((counter, [number for slot in slots.items() for number in slot]))
            size += len(slots)
            if size >= PART_SLOTS:
                yield part
                part, size = [], 0
        if part:
            yield part

    def _sweep(self, now: int) -> None:
        """Drop what is older than a minute; once a minute, as it takes a look at everything."""
        self._swept, oldest = now, now - SLOTS
        for counter, slots in list(self._taken.items()):
            for slot in [each for each in slots if each < oldest]:
                del slots[slot]
            if not slots:
                del self._taken[counter]
