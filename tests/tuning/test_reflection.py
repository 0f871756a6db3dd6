"""Instructions that a model writes."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from airboss.evaluations.datasets import Input, dataset
from airboss.evaluations.ports import Answer
from airboss.releases.build import sealed
from airboss.tuning.work import Tuning
from tests.tuning.support import (
    BASE,
    REFLECTOR,
    MemoryStore,
    World,
    job,
    made,
    now,
    shown,
    stored,
    task,
    tuned,
)

WORDS = "Count the number, then take its remainder by three."


def only_these_words(messages: list[dict[str, str]]) -> float:
    """Nothing helps but one instruction."""
    return 0.95 if any(WORDS in each["content"] for each in messages) else 0.3


def test_the_reflectors_instruction_wins() -> None:
    """What only the reflector can think of is found, chosen and judged better."""
    store = MemoryStore()
    world = World(only_these_words, writes=WORDS)
    result = tuned(store, world, task(stored(store), reflector=REFLECTOR))
    assert result.better
    assert result.release is not None
    assert result.release.prompt == WORDS


def test_the_reflector_is_shown_training_items_alone() -> None:
    """With what was answered and what was expected; no item that is also shown as an example."""
    store = MemoryStore()
    world = World(only_these_words, writes=WORDS)
    tuned(store, world, task(stored(store), reflector=REFLECTOR))
    prompts = [call.input.messages[0]["content"] for call in world.calls if call.target == REFLECTOR]
    assert prompts
    for prompt in prompts:
        assert "train " in prompt
        assert "The right answer is exactly:" in prompt
        assert "validation" not in prompt
        assert "holdout" not in prompt


def test_the_reflector_is_shown_no_item_that_is_an_example() -> None:
    """What an example gives away shows nothing of an instruction."""
    store = MemoryStore()
    world = World(lambda messages: 0.3 + 0.5 * min(shown(messages), 8) / 8, writes=WORDS)
    tuned(store, world, task(stored(store), reflector=REFLECTOR, budget=900))
    asked = [call for call in world.calls if call.input.messages[-1]["content"].startswith("train ")]
    assert asked
    for call in asked:
        assert call.varied is not None
        assert call.varied.variant.examples
        said = call.input.messages[-1]["content"]
        assert said not in {example.input for example in call.varied.variant.examples}


@pytest.mark.parametrize("writes", ["", "Be {{ tone }} and {{ quick }}.", "x" * 30_000])
def test_instructions_that_cannot_be_are_not_tried(writes: str) -> None:
    """An empty one, one that asks for other variables, one that is endless: the search goes on without."""
    store = MemoryStore()
    world = World(lambda messages: 0.3 + 0.5 * min(shown(messages), 8) / 8, writes=writes)
    result = tuned(store, world, task(stored(store), reflector=REFLECTOR))
    assert any(call.target == REFLECTOR for call in world.calls)
    assert result.better
    assert result.release is not None
    assert "{{" not in (result.release.prompt or "")


def test_placeholders_are_asked_for_and_kept() -> None:
    """The reflector is told which placeholders must stay, and what lacks them is not tried."""
    store = MemoryStore()
    base = sealed(msgspec.structs.replace(BASE, prompt="You are {{ tone }}."))
    items = [
        msgspec.structs.replace(item, input=Input(messages=item.input.messages, variables={"tone": "kind"}))
        for item in made().items
    ]
    world = World(only_these_words, writes=WORDS, base=base)
    what = task(stored(store, dataset("steer", items)), base=base, reflector=REFLECTOR)
    result = tuned(store, world, what)
    prompts = [call.input.messages[0]["content"] for call in world.calls if call.target == REFLECTOR]
    assert prompts
    assert all("{{ tone }}" in prompt for prompt in prompts)
    assert not any((each.instruction or "") == WORDS for each in result.candidates)


@pytest.mark.parametrize(("user", "told"), [(None, "500: broken"), ("ann", "500")])
def test_a_reflector_that_fails_leaves_the_search(user: str | None, told: str) -> None:
    """Its calls count, and the rest goes on without it. What it was shown of people's items an upstream may
    have repeated: of these the cause is told without its words."""
    store = MemoryStore()
    items = [msgspec.structs.replace(each, user=user) for each in made().items]

    class Silent(World):
        async def call(self, call: Any) -> Answer:
            said = await super().call(call)
            return Answer(error="500: broken") if call.target == REFLECTOR else said

    world = Silent(lambda messages: 0.3 + 0.5 * min(shown(messages), 8) / 8)
    what = task(stored(store, dataset("steer", items)), people=True, reflector=REFLECTOR)
    result = tuned(store, world, what)
    assert any(call.target == REFLECTOR for call in world.calls)
    assert len(world.calls) == result.calls <= result.budget
    assert result.better
    assert result.reflections is not None
    assert result.reflections.asked == result.reflections.failed > 0
    assert result.reflections.cause == told


def test_leaving_the_job_ends_the_reflection() -> None:
    """A job that is cancelled while the reflector writes makes no further call."""
    store = MemoryStore()
    memory: Any = store
    reached = asyncio.Event()

    class Slow(World):
        async def call(self, call: Any) -> Answer:
            if call.target == REFLECTOR:
                reached.set()
                await asyncio.Event().wait()
            return await super().call(call)

    world = Slow(only_these_words, writes=WORDS)

    async def cancelled() -> None:
        work = Tuning(
            job(task(stored(store), reflector=REFLECTOR)),
            evals=memory,
            tunes=memory,
            caller=world,
            now=now,
            report=lambda _done, _total, _note: None,
        )
        running = asyncio.create_task(work.run())
        await asyncio.wait_for(reached.wait(), 20)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    before = len(world.calls)
    assert before > 0
    assert store.choices == {}
