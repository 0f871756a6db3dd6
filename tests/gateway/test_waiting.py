"""Waiting for a place: in what order, for how long, how many, and who is sent away."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from airboss.domain.errors import Unavailable
from airboss.domain.plan import Limits, Priority, Queue
from airboss.domain.request import Principal
from airboss.gateway.held import Held
from airboss.gateway.stock import LimitReached, Scope, Stock
from airboss.gateway.waiting import Refusal, Room
from tests.gateway.limited import House, closed

PATIENT = Queue(size=100, wait_s=5.0)


def run(body: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine, for a bounded time."""

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await body()

    asyncio.run(bounded())


async def turns(n: int = 5) -> None:
    """Let the loop turn."""
    for _ in range(n):
        await asyncio.sleep(0)


class Door:
    """A room before a number of places."""

    def __init__(self, places: int = 0, queue: Queue = PATIENT) -> None:
        self.stock = Stock(Scope("deployment", "d"), "concurrency", 1)
        self.room = Room(self.stock, queue)
        self.places = places
        self.let_in: list[str] = []
        self.callers: list[asyncio.Task[None]] = []

    async def _call(self, name: str, principal: Principal) -> None:
        async def attempt() -> Refusal | None:
            await asyncio.sleep(0)
            if not self.places:
                return Refusal(self.stock, LimitReached("full"))
            self.places -= 1
            self.let_in.append(name)
            return None

        now = asyncio.get_running_loop().time()
        assert await self.room.until_in(principal, attempt, since=now) is None

    async def come(self, name: str, key: str, priority: Priority = "normal") -> asyncio.Task[None]:
        """A call comes and waits."""
        task = asyncio.create_task(self._call(name, Principal(key=key, priority=priority)))
        self.callers.append(task)
        await turns(2)
        return task

    async def free(self, n: int) -> None:
        """So many places come free, and are taken."""
        self.places += n
        self.room.wake()
        await turns(6 * n + 6)

    async def leave(self) -> None:
        """All go."""
        for each in self.callers:
            each.cancel()
        await asyncio.gather(*self.callers, return_exceptions=True)
        assert len(self.room) == 0
        assert not any(self.room._keys.values())


def test_the_highest_class_comes_first_and_keys_take_turns() -> None:
    """One key's flood comes before nobody else's second call."""

    async def body() -> None:
        door = Door()
        for name in ("f1", "f2", "f3", "f4"):
            await door.come(name, "flood")
        await door.come("a1", "a")
        await door.come("l1", "low", "low")
        await door.come("a2", "a")
        await door.come("h1", "high", "high")
        await door.free(8)
        assert door.let_in == ["h1", "f1", "a1", "f2", "a2", "f3", "f4", "l1"]
        await door.leave()

    run(body)


def test_who_comes_while_others_wait_does_not_overtake() -> None:
    """A place that is free for a moment is for the first who waits."""

    async def body() -> None:
        house = House(key=Limits(concurrency=1, queue=PATIENT))
        inside = await house.enter()
        assert inside is not None
        order: list[int] = []

        async def call(n: int) -> None:
            held = await house.enter()
            assert held is not None
            order.append(n)
            held.settle(closed())

        waiting = [asyncio.create_task(call(1))]
        await turns()
        inside.settle(closed())
        waiting.append(asyncio.create_task(call(2)))
        await asyncio.gather(*waiting)
        assert order == [1, 2]

    run(body)


def test_a_full_room_sends_away_who_sends_most() -> None:
    """The newest call of the key of the lowest class that has most waiting; a newcomer that has no better
    claim is sent away itself, and is told when to come back."""

    async def body() -> None:
        door = Door(queue=Queue(size=4, wait_s=5.0))
        flood = [await door.come(f"f{n}", "flood") for n in range(4)]
        fifth = await door.come("f4", "flood")
        with pytest.raises(
            Unavailable, match="4 calls wait for a place at deployment 'd' already"
        ) as refused:
            await fifth
        assert (refused.value.code, refused.value.retry_after_s) == ("overloaded", 5.0)
        await door.come("a", "a")
        assert [each.done() for each in flood] == [False, False, False, True]
        low = await door.come("low", "low", "low")
        assert low.done()
        await door.come("high", "high", "high")
        assert [each.done() for each in flood] == [False, False, True, True]
        await door.free(4)
        assert door.let_in == ["high", "f0", "a", "f1"]
        for each in (*flood[2:], low):
            assert isinstance(each.exception(), Unavailable)
        await door.leave()

    run(body)


@pytest.mark.parametrize("why", ["another comes first", "its time is over"])
def test_who_is_sent_away_in_its_very_turn_is_told(why: str) -> None:
    """A place came free and was taken by another worker, just when the queue had no room or patience left."""

    async def body() -> None:
        door = Door(queue=Queue(size=1, wait_s=5.0))
        low = await door.come("l1", "low", "low")
        if why == "another comes first":
            high = Principal(key="high", priority="high")
            door.callers.append(asyncio.create_task(door._call("h1", high)))
            door.room.wake()
        else:
            door.room.wake()
            for ticket in door.room._by_age:
                ticket.due = 0.0
            door.room._poll()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(low, 4.0)
        await door.leave()

    run(body)


def test_who_is_sent_away_while_it_tries_is_no_error_of_nobody() -> None:
    """What it is told is heard, so that no line about it comes to the log."""

    async def body() -> None:
        unheard: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, told: unheard.append(told))
        door, answered = Door(), asyncio.Event()

        async def attempt() -> Refusal | None:
            await answered.wait()
            return Refusal(door.stock, LimitReached("full"))

        since = asyncio.get_running_loop().time() - PATIENT.wait_s
        caller = asyncio.create_task(door.room.until_in(Principal(key="a"), attempt, since=since))
        await turns(1)
        door.room.wake()
        await turns()
        door.room._poll()
        answered.set()
        await asyncio.wait([caller])
        assert isinstance(caller.exception(), Unavailable)
        del caller
        gc.collect()
        assert unheard == []

    run(body)


def test_nobody_waits_longer_than_may_be() -> None:
    """Then the answer is 503, and the room is empty."""

    async def body() -> None:
        door = Door(queue=Queue(size=4, wait_s=0.1))
        caller = await door.come("a", "a")
        with pytest.raises(Unavailable, match="no place came free at deployment 'd', which takes 1 call at"):
            await caller
        await door.leave()

    run(body)


def test_who_hangs_up_leaves() -> None:
    """Its turn is the next one's, also if it goes just as it has been called."""

    async def body() -> None:
        door = Door()
        gone = await door.come("gone", "a")
        await door.come("next", "b")
        door.places = 1
        door.room.wake()
        gone.cancel()
        await turns(10)
        await door.free(0)
        assert door.let_in == ["next"]
        await door.leave()

    run(body)


def test_places_stay_exact_with_a_queue_across_workers() -> None:
    """Four workers, three places, forty calls: never more than three inside, and all come in in the end."""

    async def body() -> None:
        house = House(workers=4, key=Limits(concurrency=3, queue=PATIENT))
        inside = most = 0

        async def call(n: int) -> None:
            nonlocal inside, most
            held = await house.enter(n % 4)
            assert held is not None
            inside += 1
            most = max(most, inside)
            await turns(3)
            inside -= 1
            held.settle(closed())

        await asyncio.gather(*[call(n) for n in range(40)])
        assert most == 3
        assert not house.owner._book.holders()
        assert not house.limiters[0].refusals

    run(body)


def test_a_flood_at_one_worker_leaves_places_to_who_waits_at_another() -> None:
    """Each that comes free is known there first; the others' calls have one all the same, time and again."""

    async def body() -> None:
        queue = Queue(size=100, wait_s=60.0)
        house = House(workers=2, everybody=Limits(concurrency=1, queue=queue))
        over = asyncio.Event()
        served = [0, 0]

        async def calls(worker: int, enough: float) -> None:
            while not over.is_set() and served[worker] < enough:
                held = await house.enter(worker, key="a" if worker else "c")
                assert held is not None
                served[worker] += 1
                await turns()
                held.settle(closed())

        flood = [asyncio.create_task(calls(0, float("inf"))) for _ in range(20)]
        await turns(50)
        async with asyncio.timeout(15):  # a busy machine misses half of what is offered, for 30 ms each time
            await calls(1, 3)
        over.set()
        await asyncio.gather(*flood)
        assert served[0] > 100

    run(body)


def test_requests_are_counted_when_a_call_comes_in() -> None:
    """Who waits in vain has used none of its minute; and a minute that is used up is said at once."""

    async def body() -> None:
        limits = Limits(requests_per_minute=2, concurrency=1, queue=Queue(size=5, wait_s=0.1))
        house = House(key=limits)
        first = await house.enter()
        with pytest.raises(Unavailable, match="no place came free at key 'a'"):
            await house.enter()
        assert house.limiters[0].refusals[Scope("key", "a"), "concurrency"] == 1
        assert first is not None
        first.settle(closed())
        assert await house.enter() is not None
        with pytest.raises(LimitReached, match="2 requests in the last minute"):
            await house.enter()

    run(body)


def test_a_plan_without_the_queue_lets_nobody_wait() -> None:
    """Those who wait are refused as they would be now; one with more places lets them in."""

    async def body() -> None:
        for after in (Limits(concurrency=1), Limits(concurrency=2, queue=PATIENT)):
            house = House(key=Limits(concurrency=1, queue=PATIENT))
            assert await house.enter() is not None
            waiting: asyncio.Task[Held | None] = asyncio.create_task(house.enter())
            await turns()
            house.bind(key=after)
            if after.queue is None:
                with pytest.raises(LimitReached):
                    await waiting
            else:
                assert await waiting is not None

    run(body)
