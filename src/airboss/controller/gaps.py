"""What is missing among the segments of journals: they are numbered, and only the mover deletes them.

It remembers what it has seen, so that the newest of a worker, the first, and a whole journal are missed too.
What was deleted before this process saw it leaves a gap in the numbers, or a journal without any segment, or
an offset that the log still knows. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec


class _Journal(msgspec.Struct):
    first: int
    """The oldest that was not done with."""
    newest: int
    told: set[int]


class Gaps:
    """Of all journals under one root. One thread asks."""

    def __init__(self, told_before: Callable[[str], Collection[int]]) -> None:
        """`told_before`: the segments of a journal that processes before this one told of."""
        self._told_before = told_before
        self._journals: dict[str, _Journal] = {}

    def missing(
        self, journal: str, numbers: Sequence[int], *, may_be_new: bool, begun: Callable[[int], bool]
    ) -> list[int]:
        """The segments of a journal that are not there and should be, until they are `told` of. `numbers` are
        there, ascending; where `may_be_new`, it may still get its first. Of a `begun` segment something was
        taken, and it was not done with."""
        known = self._journals.get(journal)
        if known is None:
            if not numbers and may_be_new:
                return []
            first = numbers[0] if numbers else 1
            if first > 1 and begun(first - 1):
                first -= 1
            newest = first
            if not numbers and (before := self._told_before(journal)):
                newest = max(before)  # and with it, all that it had
                first = newest + 1
            known = self._journals[journal] = _Journal(first, newest, set())
        known.newest = max([known.newest, *numbers])
        gone = set(range(known.first, known.newest + 1)) - set(numbers) - known.told
        if gone:
            known.told |= set(self._told_before(journal))
        return sorted(gone - known.told)

    def told(self, journal: str, number: int) -> None:
        """It has been told that this segment is missing."""
        self._journals[journal].told.add(number)

    def vanished(self, journals: Collection[str]) -> Iterator[tuple[str, list[int]]]:
        """The journals that are not there any more, each once, with their segments."""
        for name in [each for each in self._journals if each not in journals]:
            yield name, self.missing(name, (), may_be_new=False, begun=lambda _: False)
            self.forget(name)

    def done(self, journal: str, number: int) -> None:
        """The mover is done with this segment, and may delete it."""
        if (known := self._journals.get(journal)) is not None:
            known.first = max(known.first, number + 1)

    def forget(self, journal: str) -> None:
        """The mover is done with a journal."""
        self._journals.pop(journal, None)
