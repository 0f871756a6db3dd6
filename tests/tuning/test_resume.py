"""A tuning that dies and goes on."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

import msgspec
import pytest

from airboss.tuning.plan import SPARE, TuneResult
from tests.tuning.support import REFLECTOR, Killed, MemoryStore, World, named, shown, stored, task, tuned


def better(messages: list[dict[str, str]]) -> float:
    """Naming the answers helps, and so do examples."""
    return 0.35 + 0.25 * named(messages) + 0.35 * min(shown(messages), 8) / 8


@cache
def uninterrupted(*, reflector: bool) -> tuple[TuneResult, int]:
    """What comes of it in one go, and how many calls that takes."""
    store, world = MemoryStore(), World(better, writes="Say left, right, up.")
    what = task(stored(store), reflector=REFLECTOR if reflector else None, seed=5)
    return tuned(store, world, what), len(world.calls)


@pytest.mark.parametrize("reflector", [False, True])
@pytest.mark.parametrize("lives", [(1,), (31, 7), (200,), (50, 50, 50, 50), (470,), (530, 20)])
def test_killed_and_gone_on_with_it_comes_to_the_same(lives: tuple[int, ...], reflector: bool) -> None:
    """However often and wherever it dies, in the search or in the judgement, the result is that of one go:
    the same release, the same scores. No answer is paid for twice but those in flight at a death, and the
    budget holds over all lives together."""
    whole, _ = uninterrupted(reflector=reflector)
    store = MemoryStore()
    what = task(stored(store), reflector=REFLECTOR if reflector else None, seed=5)
    made = 0
    for calls in lives:
        world = World(better, writes="Say left, right, up.", stop_after=calls)
        with suppress(Killed):
            tuned(store, world, what)
        made += len(world.calls)
    last = World(better, writes="Say left, right, up.")
    result = tuned(store, last, what)
    made += len(last.calls)
    lost = sum(store.begun["tune-1"].values()) - len(store.begun["tune-1"])
    assert lost <= len(lives) * what.concurrency
    assert made <= result.calls <= what.budget
    same = ("release", "chosen", "today", "candidates", "frontier", "tried", "judgement", "reason")
    assert {name: getattr(result, name) for name in same} == {name: getattr(whole, name) for name in same}
    assert result.calls - lost == whole.calls
    assert len(store.reads) == 1


def test_more_deaths_than_there_are_spare_calls_end_within_the_budget() -> None:
    """Calls that are lost again and again eat what is spare, then the search's own; never the judgement's."""
    store = MemoryStore()
    what = task(stored(store), budget=196)
    for _ in range(3 * SPARE):
        with suppress(Killed):
            tuned(store, World(better, stop_after=1), what)
    last = World(better)
    result = tuned(store, last, what)
    assert result.calls <= what.budget
    if result.judgement is not None:
        assert "lack a score" not in result.reason


def test_what_was_chosen_is_judged_whatever_the_models_say_by_then() -> None:
    """Once the choice is kept, a process that goes on judges just that."""
    store = MemoryStore()
    what = task(stored(store))
    _, calls = uninterrupted(reflector=False)
    with suppress(Killed):
        tuned(store, World(better, stop_after=calls), what)
    if "tune-1" not in store.choices:
        tuned(store, World(better), what)
    kept = msgspec.json.decode(store.choices["tune-1"])
    store.answers.clear()
    result = tuned(store, World(lambda _messages: 0.5, seed=9), what)
    assert result.release is not None
    assert result.release.digest == kept["release"]["digest"]
