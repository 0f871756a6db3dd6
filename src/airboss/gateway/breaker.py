"""A circuit breaker: keeps calls away from a target that fails, and lets single ones through to see whether
it is back. Pure; times are seconds of one clock.

Closed, every call goes through. It opens at STREAK_MAX failures in a row, or where half of at least
RATE_CALLS_MIN attempts of the last RATE_WINDOW_S failed, or where it is told to. Open, none goes through
until `retry_at`; then it is half open: one call at a time goes through as a probe. A probe that is answered
closes it, one that fails opens it for twice as long, OPEN_S_MAX at most.
"""

from __future__ import annotations

from typing import Literal

State = Literal["closed", "half_open", "open"]

STREAK_MAX = 5
RATE_WINDOW_S = 10.0
RATE_CALLS_MIN = 20
OPEN_S = 1.0
OPEN_S_MAX = 15.0
PROBE_S_MAX = 30.0
"""A probe that has not ended after so long holds up no other."""


class Breaker:
    """One target's. `failed` and `answered` are told of each attempt's end."""

    __slots__ = (
        "_answered_then",
        "_failed_then",
        "_open_s",
        "_window_began",
        "answered_n",
        "failed_n",
        "opened_n",
        "probing_until",
        "retry_at",
        "streak",
        "tripped",
    )

    def __init__(self) -> None:
        self.tripped = False
        """Whether it is anything but closed: the one thing that a call of a healthy target looks at."""
        self.streak = 0
        self.answered_n = 0
        self.failed_n = 0
        self.opened_n = 0
        self.retry_at = 0.0
        self.probing_until = 0.0
        self._open_s = OPEN_S
        self._window_began = 0.0
        self._answered_then = self._failed_then = 0

    def state(self, now: float) -> State:
        """How it stands."""
        if not self.tripped:
            return "closed"
        return "half_open" if now >= self.retry_at else "open"

    def lets_through(self, now: float) -> bool:
        """Whether a call may go to the target now. Where it is half open, whoever goes must call `probe`."""
        return not self.tripped or (now >= self.retry_at and now >= self.probing_until)

    def probe(self, now: float) -> None:
        """A call goes to the target though it is not closed."""
        self.probing_until = now + PROBE_S_MAX

    def answered(self) -> None:
        """An attempt was answered, be it with a refusal: the target is there."""
        self.answered_n += 1
        self.close()

    def close(self) -> None:
        """The target is there, as who asked elsewhere knows."""
        self.streak = 0
        if self.tripped:
            self.tripped = False
            self.probing_until = 0.0
            self._open_s = OPEN_S
            self._window_began = 0.0

    def failed(self, now: float) -> None:
        """An attempt failed."""
        self.failed_n += 1
        self.streak += 1
        if self.tripped:
            if now >= self.retry_at:
                self._open_s = min(self._open_s * 2, OPEN_S_MAX)
                self._open(now)
            return
        if now - self._window_began > RATE_WINDOW_S:
            self._window_began = now
            self._answered_then, self._failed_then = self.answered_n, self.failed_n - 1
        failed = self.failed_n - self._failed_then
        calls = failed + self.answered_n - self._answered_then
        if self.streak >= STREAK_MAX or (calls >= RATE_CALLS_MIN and failed * 2 >= calls):
            self._open(now)

    def open(self, now: float) -> None:
        """The target has failed in a way of which one is enough."""
        if not self.tripped:
            self._open(now)

    def ended(self, fault: bool | None, now: float) -> None:  # noqa: FBT001 - a finding, no switch
        """An attempt ended in an error, which was the target's `fault` or not; None: nobody knows."""
        if fault:
            self.failed(now)
        elif fault is not None:
            self.answered()

    def left(self) -> None:
        """A probe ended without showing anything: its client went away, say."""
        self.probing_until = 0.0

    def _open(self, now: float) -> None:
        self.tripped = True
        self.opened_n += 1
        self.retry_at = now + self._open_s
        self.probing_until = 0.0


class RetryBudget:
    """How many retries a deployment may make: SHARE of its calls in the last WINDOW_S, and FLOOR more, so
    that a provider that is down gets no storm on top. Counts are kept for the window before too."""

    __slots__ = ("_began", "_calls", "_calls_before", "_retries", "_retries_before")

    SHARE = 0.2
    FLOOR = 100
    WINDOW_S = 10.0

    def __init__(self) -> None:
        self._began = 0.0
        self._calls = self._calls_before = 0
        self._retries = self._retries_before = 0

    def call(self, now: float) -> None:
        """A call came in."""
        if now - self._began >= self.WINDOW_S:
            self._roll(now)
        self._calls += 1

    def take(self, now: float) -> bool:
        """Whether there is a retry left; takes it."""
        if now - self._began >= self.WINDOW_S:
            self._roll(now)
        # The window slides: of the one before as much counts as is still within WINDOW_S.
        share = 1.0 - (now - self._began) / self.WINDOW_S
        retries = self._retries + self._retries_before * share
        calls = self._calls + self._calls_before * share
        if retries >= self.FLOOR + self.SHARE * calls:
            return False
        self._retries += 1
        return True

    def _roll(self, now: float) -> None:
        stale = now - self._began >= 2 * self.WINDOW_S
        self._calls_before = 0 if stale else self._calls
        self._retries_before = 0 if stale else self._retries
        self._calls = self._retries = 0
        self._began = now
