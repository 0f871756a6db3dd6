"""When a process that ended is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airboss.supervisor.restart import (
    FIRST_DELAY_S,
    HEALTHY_S,
    LONGEST_DELAY_S,
    History,
    Life,
    after,
    delay_s,
)

seconds = st.floats(min_value=0, max_value=1e6)
histories = st.builds(
    History,
    failures=st.integers(0, 10_000),
    restarts=st.integers(0, 10_000),
    ever_ready=st.booleans(),
)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """A run of a process whose times are in order."""
    started = draw(seconds)
    ready = draw(st.none() | seconds.map(lambda pause: started + pause))
    ended = draw(seconds.map(lambda pause: (started if ready is None else ready) + pause))
    return Life(started_at=started, ready_at=ready, ended_at=ended)


@given(life=lives(), history=histories)
def test_delay_is_bounded(life: Life, history: History) -> None:
    """Whatever happened, the next start comes between 0.2 s and 10 s after the end."""
    restart = after(life, history)
    assert life.ended_at + FIRST_DELAY_S <= restart.at <= life.ended_at + LONGEST_DELAY_S


@given(failures=st.integers(1, 10_000))
def test_delay_doubles_up_to_its_bound(failures: int) -> None:
    """Each failure in a row doubles the delay until it is 10 s."""
    assert delay_s(failures + 1) == min(2 * delay_s(failures), LONGEST_DELAY_S)


@given(history=histories, started=seconds, healthy=st.floats(min_value=HEALTHY_S + 1, max_value=1e6))
def test_health_forgives(history: History, started: float, healthy: float) -> None:
    """After 30 s of health the delay begins anew, however often it failed before."""
    life = Life(started_at=started, ready_at=started, ended_at=started + healthy)
    restart = after(life, history)
    assert restart.history.failures == 1
    assert restart.history.restarts == history.restarts + 1


def test_short_health_does_not_forgive() -> None:
    """A process that becomes ready and dies at once is still backed off from."""
    history = History()
    for _ in range(8):
        history = after(Life(started_at=0, ready_at=1, ended_at=2), history).history
    assert history.failures == 8
    assert after(Life(started_at=0, ready_at=1, ended_at=2), history).at == 2 + LONGEST_DELAY_S


def test_what_callers_wait_for_comes_back_soon() -> None:
    """A process that gets ready comes back within its own bound, however often it dies, and though it dies
    once before it is; one that does not get ready any more is backed off from like any other."""
    often = History(failures=20, ever_ready=True)
    assert after(Life(started_at=0, ready_at=1, ended_at=2), often, longest_s=0.5).at == 2.5
    assert after(Life(started_at=0, ready_at=1, ended_at=2), History(), longest_s=0.5).at == 2 + FIRST_DELAY_S
    unready = Life(started_at=0, ready_at=None, ended_at=2)
    assert after(unready, often).at == 2 + LONGEST_DELAY_S
    delays = []
    for _ in range(8):
        restart = after(unready, often, longest_s=0.5)
        delays.append(round(restart.at - unready.ended_at, 6))
        often = restart.history
    assert delays == [0.5, 0.5, 0.8, 1.6, 3.2, 6.4, LONGEST_DELAY_S, LONGEST_DELAY_S]


def test_only_one_never_ready_is_hopeless() -> None:
    """Five failures in a row end hope only for a process that has never been ready."""
    never, once = History(), History(ever_ready=True)
    for _ in range(4):
        never = after(Life(started_at=0, ready_at=None, ended_at=1), never).history
        assert not never.hopeless
    never = after(Life(started_at=0, ready_at=None, ended_at=1), never).history
    assert never.hopeless
    for _ in range(20):
        once = after(Life(started_at=0, ready_at=None, ended_at=1), once).history
    assert not once.hopeless


def test_what_never_gets_ready_is_lost() -> None:
    """Five lives in a row that never got ready, whether there was a better one before or not; one that gets
    ready and dies is not lost, however often."""
    never = Life(started_at=0, ready_at=None, ended_at=1)
    short = Life(started_at=0, ready_at=0.5, ended_at=1)
    history = after(short, History()).history
    for _ in range(4):
        history = after(never, history).history
        assert not history.lost
    assert after(short, history).history.unready == 0
    assert after(never, history).history.lost
    for _ in range(50):
        history = after(short, history).history
    assert not history.lost
