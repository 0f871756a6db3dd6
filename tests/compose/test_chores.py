"""What the controller looks after is not held up by somebody else's server."""

from __future__ import annotations

import threading

from airboss.compose.governing import LEFTOVERS, looking_after


class Chore:
    """Waits for `until`, if it is given one; says that it was looked after."""

    def __init__(self, until: threading.Event | None = None) -> None:
        self.done = threading.Event()
        self._until = until

    def tick(self) -> None:
        """As `chores.Chore.tick`."""
        if self._until is not None:
            self._until.wait(30)
        self.done.set()


def test_a_provider_that_hangs_holds_up_no_retention() -> None:
    """Whoever ends trainings elsewhere waits; the others are looked after meanwhile."""
    answers, other = threading.Event(), Chore()
    slow = Chore(answers)
    with looking_after({LEFTOVERS: slow, "retention": other}, broke=lambda: None):
        assert other.done.wait(60)
        assert not slow.done.is_set()
        answers.set()
        assert slow.done.wait(60)
