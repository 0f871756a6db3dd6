"""What live calls asked is asked again of a shadow, behind the record log."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from airboss.config import ShadowConfig
from airboss.controller.shadowing import LATE, PAGE, Shadowing
from airboss.evaluations.online import drawn
from airboss.store.memory import MemoryRecordLog
from tests.controller.journals import FixedClock
from tests.store.samples import START, call_id, move

ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": True}


class Shadowed:
    """A log, what shadows there are, and what was asked again."""

    def __init__(self) -> None:
        self.log = MemoryRecordLog()
        self.clock = FixedClock()
        self.clock.at = START + timedelta(minutes=1)
        self.shadows = {"assistant": ShadowConfig(sample=1.0, per_minute=6_000)}
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        self.keys: set[str] = set()
        self.fails = False
        self.forgotten: set[str] = set()
        self.moved = 0
        self.restart()

    def restart(self) -> None:
        """A new process on what the old one left."""
        self.shadowing = Shadowing(
            shadows=lambda: self.shadows,
            record_log=self.log,
            again=self.again,
            clock=self.clock,
            forgotten=lambda record: record.user in self.forgotten,
        )
        self.run()

    async def again(self, path: str, body: bytes, of: str, key: str) -> str | None:
        """As the gateway, which may be away."""
        self.keys.add(key)
        self.asked.append((path, json.loads(body), of))
        return "nobody is there" if self.fails else None

    def calls(self, *numbers: int, request: object = ASKED, **fields: Any) -> None:
        """These calls come into the log."""
        raw = msgspec.Raw(msgspec.json.encode(request)) if request is not None else None
        self.log.apply(move(*numbers, start=self.moved, **{"request": raw, **fields}))
        self.moved += 100 * len(numbers)

    def run(self) -> list[int]:
        """Tick until there is nothing left to do; how many calls each tick asked again."""
        found: list[int] = []

        async def until_done() -> None:
            more = True
            while more:
                before = len(self.asked)
                more = await self.shadowing.tick()
                found.append(len(self.asked) - before)

        asyncio.run(until_done())
        self.asked.sort(key=lambda each: each[2])  # those of a page are asked at once, in any order
        return found


@pytest.fixture
def shadowed() -> Shadowed:
    """Nothing in the log yet, and every call of `assistant` to be asked again."""
    return Shadowed()


def test_nobody_is_asked_again_who_is_to_be_forgotten(shadowed: Shadowed) -> None:
    """What a shadow is asked after an erasure was asked for, that would not find."""
    shadowed.calls(1, user="ann")
    shadowed.calls(2, user="bob")
    shadowed.forgotten = {"ann"}
    shadowed.run()
    assert [of for _, _, of in shadowed.asked] == [call_id(2)]


def test_each_answered_call_is_asked_again_once(shadowed: Shadowed) -> None:
    """As it was asked but for the name; a restart asks nothing twice, and nothing that came before it."""
    shadowed.calls(*range(1, 20), user="ann")
    shadowed.run()
    assert [of for _, _, of in shadowed.asked] == [call_id(number) for number in range(1, 20)]
    path, body, _ = shadowed.asked[0]
    assert (path, body) == ("/chat/completions", {**ASKED, "model": "assistant", "user": "ann"})
    assert shadowed.keys == {"team-a"}  # whose policies bind these too
    shadowed.restart()
    assert len(shadowed.asked) == 19
    shadowed.calls(20)
    shadowed.run()
    assert len(shadowed.asked) == 20


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "error"},
        {"key": "airboss"},
        {"arm": "canary"},
        {"arm": "shadow"},
        {"cache": "hit"},
        {"cache": "semantic"},
        {"operation": "embeddings"},
        {"deployment": "another"},
        {"request": None},
        {"request": {**ASKED, "previous_response_id": "resp_1"}},
    ],
)
def test_what_is_not_asked_again(shadowed: Shadowed, fields: dict[str, Any]) -> None:
    """Failures, our own calls, what a rollout or a cache answered, and what is not there to be asked."""
    shadowed.calls(1, **fields)
    shadowed.run()
    assert shadowed.asked == []


def test_other_dialects_are_asked_as_chat(shadowed: Shadowed) -> None:
    """What Responses and Messages asked is asked in the words of every deployment; raw prompts stay raw."""
    shadowed.calls(1, request={"model": "x", "input": "hi"})
    said = {
        "model": "x",
        "system": "Be kind.",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
    }
    shadowed.calls(2, request=said)
    shadowed.calls(3, request={"model": "x", "prompt": "Once"}, operation="text_completion")
    shadowed.run()
    assert [path for path, _, _ in shadowed.asked] == [
        "/chat/completions",
        "/chat/completions",
        "/completions",
    ]
    chat = [body for _, body, _ in shadowed.asked[:2]]
    assert [body["messages"][-1]["content"] for body in chat] == ["hi", "hi"]
    assert chat[1]["messages"][0] == {"role": "system", "content": "Be kind."}
    assert shadowed.asked[2][1]["prompt"] == "Once"


def test_a_sample_and_no_more_than_a_minute_may_have(shadowed: Shadowed) -> None:
    """Drawn by the calls' ids; calls of a minute that are over its bound are let pass."""
    shadowed.shadows = {"assistant": ShadowConfig(sample=0.25)}
    shadowed.calls(*range(1, 60))
    shadowed.run()
    ids = [call_id(number) for number in range(1, 60)]
    assert [of for _, _, of in shadowed.asked] == [each for each in ids if drawn(each, 0.25)]
    shadowed.asked.clear()
    shadowed.shadows = {"assistant": ShadowConfig(sample=1.0, per_minute=1)}
    shadowed.shadowing = Shadowing(
        shadows=lambda: shadowed.shadows,
        record_log=shadowed.log,
        again=shadowed.again,
        clock=shadowed.clock,
        forgotten=lambda _: False,
    )
    shadowed.run()
    at = START + timedelta(seconds=30)
    shadowed.calls(60, 61, 62, started_at=at)
    shadowed.calls(63, started_at=at + timedelta(minutes=1))
    shadowed.run()
    assert [of for _, _, of in shadowed.asked] == [call_id(60), call_id(63)]


def test_old_calls_are_let_pass_and_a_gateway_that_is_away_too(shadowed: Shadowed) -> None:
    """Nothing is asked of what is too old, and nothing twice because it failed; pages follow one another."""
    shadowed.clock.at = START + LATE * 2
    shadowed.calls(1)
    shadowed.run()
    assert shadowed.asked == []
    shadowed.clock.at = START
    shadowed.fails = True
    shadowed.calls(*range(2, PAGE + 12))
    assert shadowed.run() == [PAGE, 10]
    shadowed.fails = False
    assert shadowed.run() == [0]


def test_without_shadows_nothing_is_followed(shadowed: Shadowed) -> None:
    """And one that comes begins with the calls after it; so it does where the place in the log is gone."""
    shadowed.shadows = {}
    shadowed.calls(1)
    shadowed.run()
    shadowed.shadows = {"assistant": ShadowConfig(sample=1.0)}
    shadowed.run()
    shadowed.calls(2)
    shadowed.run()
    assert [of for _, _, of in shadowed.asked] == [call_id(2)]
    shadowed.shadowing._cursor = call_id(999)
    shadowed.run()
    shadowed.calls(3)
    shadowed.run()
    assert [of for _, _, of in shadowed.asked] == [call_id(2), call_id(3)]
