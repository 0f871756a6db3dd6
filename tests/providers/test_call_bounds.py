"""Tool calls of a stream: how many are put together, how long their names are, and what that costs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from airboss.dialects.chat_said import CallJoin, read_said
from airboss.domain.errors import UpstreamFailed
from airboss.gateway.replay import unasked_stream, whole_of
from airboss.governance.screening_chat import AnswerScreen
from airboss.providers.assembly import BLOCK_CHARS, OUTPUT_CHARS_MAX, Assembly
from airboss.providers.compatible import read_reply
from airboss.providers.lenient import CALLS_MAX, NAME_CHARS_MAX, CallNumbers
from tests.support.policies import one_action

Json = dict[str, Any]
Made = list[tuple[str, str]]
"""Calls: name and arguments."""


def event(pieces: list[Json]) -> bytes:
    """An event's data."""
    return json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": pieces}}]}).encode()


def made(answer: bytes | None) -> Made:
    """The calls of a whole answer."""
    assert answer is not None
    calls = [each["function"] for each in json.loads(answer)["choices"][0]["message"]["tool_calls"]]
    return [(each["name"], each["arguments"]) for each in calls]


def assembled(events: list[bytes]) -> Made:
    """For a record."""
    assembly = Assembly("chat")
    for each in events:
        assembly.add(read_reply(each))
    return made(assembly.response())


def replayed(events: list[bytes]) -> Made:
    """For who did not ask for a stream."""
    return made(whole_of(b"".join(b"data: %s\n\n" % each for each in events)))


def translated(events: list[bytes]) -> Made:
    """For another dialect."""
    joined = CallJoin()
    for each in events:
        for piece in read_said(each).calls:
            joined.add(piece)
    return [(call.name, call.text) for call in joined.calls.values()]


def observed(events: list[bytes]) -> Made:
    """For a policy that only looks."""
    screen = AnswerScreen(one_action("observe"))
    for each in events:
        screen.event(each)
    screen.end()
    return []


JOINS = [assembled, replayed, translated]
Join = Callable[[list[bytes]], Made]


def named(number: int, *, indexed: bool) -> list[Json]:
    """The two pieces of a call."""
    at = {"index": number} if indexed else {}
    begun = {**at, "id": f"c{number}", "function": {"name": f"f{number}", "arguments": "["}}
    return [begun, {**at, "function": {"arguments": f"{number}]"}}]


@pytest.mark.parametrize("indexed", [True, False], ids=["indexed", "not indexed"])
@pytest.mark.parametrize("join", JOINS)
def test_so_many_calls_are_put_together(join: Join, indexed: bool) -> None:
    """More are too many to be said; a record leaves them out, and adds nothing of them to those before."""
    events = [event([piece]) for number in range(CALLS_MAX) for piece in named(number, indexed=indexed)]
    calls = [(f"f{number}", f"[{number}]") for number in range(CALLS_MAX)]
    assert join(events) == calls
    more = [event([piece]) for number in range(CALLS_MAX, 140) for piece in named(number, indexed=indexed)]
    if join is assembled:
        assert join(events + more) == calls
    elif join is replayed:  # what is no answer is kept for nobody
        stream = b"".join(b"data: %s\n\n" % each for each in events + more)
        assert whole_of(stream) is None
        with pytest.raises(UpstreamFailed, match="more than 128"):
            unasked_stream(stream)
    else:
        with pytest.raises(UpstreamFailed, match="more than 128"):
            join(events + more)


def test_further_calls_of_one_index_add_nothing_to_those_before() -> None:
    """Nor does what is kept to tell them apart grow with them, whatever their indices are."""
    numbers = CallNumbers()
    assert [numbers.of(0, f"c{number}", "f", "") for number in range(CALLS_MAX)] == list(range(CALLS_MAX))
    assert numbers.of(0, None, None, "") == CALLS_MAX - 1
    assert numbers.of(0, "more", "f", "") is None
    assert numbers.of(0, None, None, "") is None
    assert {numbers.of(index, None, None, "") for index in range(CALLS_MAX, 10_000)} == {None}
    assert len(numbers._at) <= CALLS_MAX


@pytest.mark.parametrize("thought", [{"n": [1] * 20_000}, {"n": {"a": "x" * 40_000}}, {}])
def test_so_many_thoughts_are_kept(thought: Json) -> None:
    """Whatever is in them counts, and they themselves."""
    size = len(json.dumps(thought, separators=(",", ":"))) + BLOCK_CHARS
    delta = {"thinking_blocks": [thought] * (OUTPUT_CHARS_MAX // 16 // size)}
    said = json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode()
    assembly = Assembly("chat")
    for _ in range(20):
        assembly.add(read_reply(said))
    answer = assembly.response()
    assert answer is not None
    kept = json.loads(answer)["choices"][0]["message"]["thinking_blocks"]
    assert OUTPUT_CHARS_MAX <= len(kept) * size < OUTPUT_CHARS_MAX + size


def test_the_first_id_of_a_call_is_the_one_that_is_recorded() -> None:
    """As the client has been told it, where later pieces have others."""
    ids = [None, "a", "b", None]
    events = [event([{"index": 0, "id": id_, "function": {"arguments": "1"}}]) for id_ in ids]
    assembly, joined = Assembly("chat"), CallJoin()
    for each in events:
        assembly.add(read_reply(each))
        for piece in read_said(each).calls:
            joined.add(piece)
    answer = assembly.response()
    assert answer is not None
    (call,) = json.loads(answer)["choices"][0]["message"]["tool_calls"]
    assert [call["id"]] == [each.id for each in joined.calls.values()] == ["a"]


@pytest.mark.parametrize("join", JOINS)
def test_so_long_are_names(join: Join) -> None:
    """However many pieces of a name come, as far as it is kept it stands."""
    names = [f"{number:02}" * 30 for number in range(100)]
    pieces = [{"index": 0, "function": {"name": name}} for name in names]
    assert join([event(pieces)]) == [("".join(names)[:NAME_CHARS_MAX], "")]


def seconds(join: Join, events: list[bytes]) -> float:
    """Of processor time."""
    began = time.process_time()
    join(events)
    return time.process_time() - began


@pytest.mark.parametrize("join", [*JOINS, observed])
def test_pieces_without_index_cost_what_others_cost(join: Join) -> None:
    """However many calls there are."""
    usual = event([{"index": 0, "type": "function"}] * 12_000)
    odd = event([*({"index": number % CALLS_MAX} for number in range(10_000)), *([{}] * 2_000)])
    least = min(seconds(join, [usual]) for _ in range(3))
    assert any(seconds(join, [odd]) < 8 * least + 0.05 for _ in range(3))


def test_arguments_in_many_pieces_are_held_in_the_time_of_reading_them() -> None:
    """Four times as many take four times as long, not sixteen times."""
    piece = event([{"index": 0, "function": {"arguments": "x" * 45}}])
    few = min(seconds(observed, [piece] * 10_000) for _ in range(3))
    assert any(seconds(observed, [piece] * 40_000) < 8 * few for _ in range(3))  # once it may be held up


def test_a_policy_lets_no_further_call_through() -> None:
    """What is not told apart is not screened: the choice is blocked."""
    screen = AnswerScreen(one_action("mask"))
    calls = [piece for number in range(CALLS_MAX) for piece in named(number, indexed=False)]
    assert screen.event(event(calls)) == []
    assert not screen.blocked
    secret = {"function": {"name": "send", "arguments": '"jane@example.com"'}}
    passed = [*screen.event(event([secret])), *screen.event(event([{}])), *screen.end()]
    assert screen.blocked
    (choice,) = [each for said in passed for each in json.loads(said.given)["choices"]]
    assert (choice["delta"], choice["finish_reason"]) == ({}, "content_filter")
