"""A limit per minute: what was taken in the last minute, whichever minute that is. Pure; times are arguments.

Not GCRA: with room for a burst it lets nearly twice the limit through in its first minute, and without that
room it refuses the second of two calls that come together. Here a burst may be the whole limit, and yet no
minute, wherever it is cut, has more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 60.0
SLOTS: Final = 240
SLOT_S: Final = WINDOW_S / SLOTS
"""Times are kept to a quarter of a second. A slot counts until all of it is older than a minute, so that at a
steady rate 0.4% less than the limit is given, and never more."""


def steady(epoch_s: float, monotonic: Callable[[], float]) -> Callable[[], float]:
    """A clock for windows: seconds since the epoch, which was `epoch_s` ago, that go on at the pace of time.
    By the wall clock a limit would be shut, once that is set back, until the same hour comes again.
    """
    ahead = epoch_s - monotonic()
    return lambda: ahead + monotonic()


def slot_of(now: float) -> int:
    """The slot that a moment (seconds since the epoch) lies in."""
    return int(now // SLOT_S)


class Window:
    """What was taken in the last minute, by slots; at most SLOTS + 1 numbers, however much was taken.

    `slots` are in order of time. Nothing is done while nobody asks.
    """

    def __init__(self, slots: dict[int, int] | None = None) -> None:
        self.slots: dict[int, int] = slots or {}
        self.total = sum(self.slots.values())

    def no_later_than(self, now: float) -> None:
        """Take what was taken later than `now` for what was taken just now, and all before it for as much
        earlier: it was kept by a clock that was ahead."""
        ahead = next(reversed(self.slots), 0) - slot_of(now)
        if ahead > 0:
            self.slots = {slot - ahead: amount for slot, amount in self.slots.items()}

    def taken(self, now: float) -> int:
        """How much was taken in the minute up to `now`."""
        oldest = slot_of(now) - SLOTS
        gone = []
        for slot in self.slots:
            if slot >= oldest:
                break
            gone.append(slot)
        for slot in gone:
            self.total -= self.slots.pop(slot)
        return self.total

    def take(self, amount: int, now: float) -> int:
        """Take `amount`; whether there is room is the caller's to know. Returns the slot it stands in."""
        slot = slot_of(now)
        if self.slots and slot < (newest := next(reversed(self.slots))):
            slot = newest  # the wall clock stepped back: what is newer must not be older
        self.slots[slot] = self.slots.get(slot, 0) + amount
        self.total += amount
        return slot

    def give_back(self, amount: int, slot: int, now: float) -> None:
        """Take back what was taken in `slot`, as if it had never been. A negative `amount` takes more: there,
        or now where that slot counts no more. A slot never has less than nothing."""
        held = self.slots.get(slot)
        if held is None:
            if amount < 0:
                self.take(-amount, now)
            return
        change = min(amount, held)
        self.slots[slot] = held - change
        self.total -= change

    def room_at(self, need: int, limit: int, now: float) -> float:
        """When there will be room for `need`, as seconds since the epoch; `now` where there is some.
        `need` must not be above `limit`."""
        over = self.taken(now) + need - limit
        if over <= 0:
            return now
        for slot, amount in self.slots.items():
            over -= amount
            if over <= 0:
                return max(now, (slot + SLOTS + 1) * SLOT_S)
        return now + WINDOW_S
