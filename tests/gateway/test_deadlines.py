"""When an attempt's time has run out: it is looked at seldom, and never late."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.domain.plan import Target, Timeouts
from airboss.gateway.attempts import LAST_WORDS_S, Try
from airboss.gateway.places import Place

TICK_S = 0.05
SECONDS = st.sampled_from([0.01, 0.5, 1.0, 3.0, 60.0])
WHAT = st.sampled_from(["first", "more", "over", "pause", "read on"])


def happens(answer: Any, what: str, now: float) -> None:
    """Something comes of the upstream, or of the client."""
    if what == "pause":
        answer.paused = True
    elif what == "read on":
        answer.paused, answer.read_on_at, answer.progress_at = False, now, now
    else:
        answer.progress_at = now
        if what == "first" and answer.first_output_at is None:
            answer.first_output_at = now
        answer.assembly.over = answer.assembly.settled = answer.assembly.over or what == "over"


def attempt(times: Timeouts, share: float | None) -> tuple[Try, Any]:
    """A stream's attempt that begins at 0, and its answer."""
    said = SimpleNamespace(over=False, settled=False)
    answer = SimpleNamespace(
        paused=False, first_output_at=None, progress_at=0.0, read_on_at=0.0, assembly=said
    )
    tried = Try(
        answer=cast("Any", answer),
        target=cast("Target", None),
        place=cast("Place", None),
        why="first",
        began=0.0,
        total=times.total_s,
        timeout=times,
        share=share,
    )
    return tried, answer


@settings(max_examples=1500, deadline=None)
@given(
    times=st.builds(Timeouts, total_s=SECONDS, first_token_s=SECONDS, idle_s=SECONDS),
    share=st.none() | SECONDS,
    course=st.lists(st.tuples(WHAT, st.sampled_from([0, 1, 1, 70])), max_size=6),
)
def test_no_deadline_passes_unseen(
    times: Timeouts, share: float | None, course: list[tuple[str, int]]
) -> None:
    """Whatever comes and whenever, it is seen at the tick at which it would be by looking each time."""
    tried, answer = attempt(times, share)
    now = 0.0
    for what, ticks in [*course, ("pause", 0)]:
        for _ in range(ticks):
            now += TICK_S
            assert (now >= tried.safe_until and tried.is_due(now)) == (now >= tried.due())
        happens(answer, what, now)


def test_a_stream_that_goes_on_is_looked_at_seldom() -> None:
    """Not twenty times a second: of a thousand streams that is a twentieth of what they cost."""
    tried, answer = attempt(Timeouts(), None)
    looks = 0
    for tick in range(round(60 / TICK_S)):
        now = tick * TICK_S
        happens(answer, "first", now)
        if now >= tried.safe_until:
            looks += 1
            assert not tried.is_due(now)
    assert looks <= 60 / LAST_WORDS_S + 1
