"""What a worker knows of minutes and budgets lately: to be told to who counts, if that forgets. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from airboss.governance.counting import Change, Denied, Grant, Want
from airboss.governance.windows import SLOTS

PART_SLOTS: Final = 10_000
"""About so many slots are told at once, for which Valkey needs some 30 ms in which it hears nobody else."""

SPENT_MAX: Final = 20_000
"""Budgets, users' among them, of which is known what was spent: those that were asked for last."""

Taken = list[tuple[str, list[int], int]]
"""By counter: a slot and how much stands in it, another slot and how much, and so on; and of a budget what
was spent."""


class Recent:
    """At least the last minute by counter and slot, in the slots of who counts; and of budgets what everybody
    had spent when this worker heard of it last, and what it has told since: records, which have the last
    word, come seconds after."""

    def __init__(self) -> None:
        self._taken: dict[str, dict[int, int]] = {}
        self._spent: dict[str, int] = {}
        self._swept = 0

    def given(self, wants: Sequence[Want], grants: Sequence[Grant]) -> None:
        """So much was granted."""
        for want, grant in zip(wants, grants, strict=True):
            if want.kind == "minute":
                slots = self._taken.setdefault(want.counter, {})
                slots[grant.slot] = slots.get(grant.slot, 0) + grant.amount
                if grant.slot >= self._swept + SLOTS:
                    self._sweep(grant.slot)
            elif want.kind == "money":
                self._heard(want.counter, grant.spent)

    def denied(self, wants: Sequence[Want], denied: Denied) -> None:
        """It was said what is spent."""
        if wants[denied.index].kind == "money":
            self._heard(wants[denied.index].counter, denied.spent)

    def _heard(self, counter: str, spent: int) -> None:
        self._spent[counter] = max(self._spent.pop(counter, 0), spent)
        if len(self._spent) > SPENT_MAX:
            del self._spent[next(iter(self._spent))]

    def told(self, changes: Sequence[Change]) -> None:
        """So much of it went back, or was used besides."""
        for change in changes:
            slots = self._taken.get(change.counter)
            if slots is not None and change.back:
                slots[change.slot] = max(0, slots.get(change.slot, 0) - change.back)
            if change.spent and change.counter in self._spent:
                self._spent[change.counter] += change.spent

    def parts(self) -> Iterator[Taken]:
        """Everything, in parts; the same ones again if nothing was given or told since."""
        part: Taken = []
        size = 0
        for counter, slots in self._taken.items():
            part.append((counter, [number for slot in slots.items() for number in slot], 0))
            size += len(slots)
            if size >= PART_SLOTS:
                yield part
                part, size = [], 0
        for counter, spent in self._spent.items():
            part.append((counter, [], spent))
            size += 1
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
