"""When a process that ended is started again. Facts in, decision out."""

from __future__ import annotations

import msgspec

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
HEALTHY_S = 30.0
"""So long in health, and what went wrong before is forgotten."""
HOPELESS_FAILURES = 5
"""So many failures in a row without being ready, and starting again will not help."""
USELESS_CODE = 78
"""What a process exits with, to us, when it knows that starting it again unchanged cannot help."""


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a process, by a clock that never steps back. `ready_at` None: it never became ready."""

    started_at: float
    ready_at: float | None
    ended_at: float


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered over lives: `failures` in a row, `unready` those of them, in a row, that never got
    ready, `restarts` in all, `ever_ready` once true stays."""

    failures: int = 0
    unready: int = 0
    restarts: int = 0
    ever_ready: bool = False

    @property
    def hopeless(self) -> bool:
        """It has never been ready and has failed too often to hope."""
        return not self.ever_ready and self.failures >= HOPELESS_FAILURES

    @property
    def lost(self) -> bool:
        """It does not get ready any more, whether it ever did or not."""
        return self.unready >= HOPELESS_FAILURES


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """Start again at `at` (same clock as the life's), and remember `history`."""

    at: float
    history: History


def after(life: Life, history: History, *, longest_s: float = LONGEST_DELAY_S) -> Restart:
    """The next start after a life that ended unasked.

    The delay doubles from 0.2 s to at most 10 s with each failure in a row, but to `longest_s` for what gets
    ready: there only lives in a row that never were count beyond it. It begins anew after a life that was
    ready for 30 s, and counts from the end of the life, so a start is never in the past of it.
    """
    healthy = life.ready_at is not None and life.ended_at - life.ready_at >= HEALTHY_S
    failures = 1 if healthy else history.failures + 1
    unready = history.unready + 1 if life.ready_at is None else 0
    delay = max(min(delay_s(failures), longest_s), delay_s(unready) if unready else 0.0)
    return Restart(
        at=life.ended_at + delay,
        history=History(
            failures=failures,
            unready=unready,
            restarts=history.restarts + 1,
            ever_ready=history.ever_ready or life.ready_at is not None,
        ),
    )


def delay_s(failures: int) -> float:
    """Seconds to wait after so many failures in a row; failures >= 1."""
    return min(FIRST_DELAY_S * 2.0 ** min(failures - 1, 16), LONGEST_DELAY_S)
