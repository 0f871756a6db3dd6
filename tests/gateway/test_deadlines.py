"""When an attempt's time has run out: it is looked at seldom, and never late."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import time
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airboss.domain.plan import Target, Timeouts
from airboss.gateway import attempts, trying
from airboss.gateway.answer import StreamedAnswer, WholeAnswer
from airboss.gateway.asked import Asked, Route
from airboss.gateway.attempts import LAST_WORDS_S, Dispatched, Try
from airboss.gateway.dispatch import Executor
from airboss.gateway.places import Place
from airboss.providers.outbox import Outbox
from airboss.providers.patience import Awake
from airboss.providers.pools import Pools
from tests.gateway.test_restart_wait import ANSWER, WHOLE, Ahead
from tests.support.gateway import deployment
from tests.support.wait import until

TICK_S = 0.05
TIMES = Timeouts(total_s=60.0, first_token_s=60.0, idle_s=60.0)
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
    answer: Any = object.__new__(StreamedAnswer)  # its kind tells which deadlines it has
    answer.paused, answer.first_output_at, answer.assembly = False, None, said
    answer.progress_at = answer.read_on_at = 0.0
    tried = Try(
        answer=answer,
        target=cast("Target", None),
        place=cast("Place", None),
        why="first",
        began=0.0,
        total=times.total_s,
        timeout=times,
        share=share,
    )
    return tried, answer


@settings(max_examples=600, deadline=None)
@given(
    times=st.builds(Timeouts, total_s=SECONDS, first_token_s=SECONDS, idle_s=SECONDS),
    share=st.none() | SECONDS,
    course=st.lists(st.tuples(WHAT, st.sampled_from([0, 1, 1, 70])), max_size=6),
)
@example(times=Timeouts(idle_s=60), share=None, course=[("first", 1), ("over", 2), ("pause", 70)])
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


def test_what_came_in_time_is_no_failure_because_we_are_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that came while the loop was held up is read before its time is looked at."""
    clock = Ahead()
    monkeypatch.setattr(trying, "time", clock)
    monkeypatch.setattr(attempts, "time", clock)
    asked, said, sent, done = Event(), Event(), Event(), Event()

    def serve(listening: socket.socket) -> None:
        with listening.accept()[0] as upstream:
            upstream.recv(65_536)
            asked.set()
            assert said.wait(30)
            upstream.sendall(WHOLE)
            sent.set()
            assert done.wait(60)

    def held_up() -> None:
        """What a long piece of another answer does to the loop."""
        asyncio.get_running_loop().remove_reader(ours)
        said.set()
        assert sent.wait(30)
        Event().wait(3 * TICK_S)
        clock.by_s = 2 * TIMES.total_s

    async def play() -> WholeAnswer:
        executor = Executor(Pools(Outbox()), rng=random.Random(1))
        watching = asyncio.create_task(executor.trying.keep_deadlines())
        plan = deployment(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=TIMES)
        target = plan.target
        to = Asked(target=target, body=b"{}", new_answer=lambda _: WholeAnswer("p"))
        route = Route(
            deployment=plan,
            operation="chat",
            stream=False,
            trace=None,
            secret=lambda _: None,
            cleaned=str,
            asked=to,
        )
        call = asyncio.ensure_future(executor.run(Dispatched(started=time.perf_counter()), route))
        await asyncio.get_running_loop().run_in_executor(None, asked.wait, 30)
        asyncio.get_running_loop().add_reader(ours, held_up)
        theirs.send(b"x")
        try:
            found = await call
        finally:
            watching.cancel()
            executor.close()
        assert isinstance(found, WholeAnswer)
        return found

    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=serve, args=(listening,))
        thread.start()
        try:
            assert uvloop.run(play()).content == ANSWER
        finally:
            said.set()
            done.set()
            thread.join()


def test_time_in_which_we_are_held_up_is_not_counted_as_awake() -> None:
    """Of a long piece of work one step counts, whatever it took; without one all steps do."""

    async def play() -> float:
        awake = Awake()
        keeper = trying.Trying((), awake)
        watching = asyncio.create_task(keeper.keep_deadlines())
        tried, _ = attempt(TIMES, None)
        tried.safe_until = math.inf
        keeper._watched.add(tried)
        keeper._watching.set()
        await asyncio.to_thread(until, lambda: awake.seconds >= 3 * TICK_S)
        before = awake.seconds
        Event().wait(20 * TICK_S)
        while awake.seconds == before:  # noqa: ASYNC110 - a thread would see it some steps later
            await asyncio.sleep(0)
        watching.cancel()
        return awake.seconds - before

    assert asyncio.run(play()) <= 3 * TICK_S
