"""Long requests are said in other words in the time of reading them: the event loop waits for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from airboss.providers.anthropic_request import messages_request
from airboss.providers.dialect import Unsaid
from airboss.providers.gemini_request import generate_request

Json = dict[str, Any]


def instructions(count: int) -> bytes:
    """So many parts of one system message."""
    parts = [{"type": "text", "text": "x" * 60}] * count
    return body([{"role": "system", "content": parts}, {"role": "user", "content": "hi"}])


def results(count: int) -> bytes:
    """So many calls, answered from the last to the first."""
    calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f"}} for n in range(count)]
    answers = [{"role": "tool", "tool_call_id": f"c{n}", "content": "y"} for n in reversed(range(count))]
    return body([{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": calls}, *answers])


def unknown(count: int) -> bytes:
    """So many parts that are left out, each named."""
    parts = [{"type": "z"}] * count
    return body([{"role": "user", "content": [*parts, {"type": "text", "text": "hi"}]}])


def body(messages: list[Json]) -> bytes:
    """A request of these messages."""
    return json.dumps({"model": "m", "messages": messages}).encode()


def seconds(say: Callable[[bytes, Unsaid], Any], raw: bytes) -> float:
    """Of processor time."""
    began = time.process_time()
    say(raw, Unsaid("they", drop=True))
    return time.process_time() - began


@pytest.mark.parametrize(
    ("say", "made", "count"),
    [
        (messages_request, instructions, 5_000),
        (generate_request, results, 2_000),
        (messages_request, unknown, 5_000),
    ],
    ids=["anthropic's instructions", "gemini's results", "what is left out"],
)
def test_four_times_as_much_costs_four_times_as_much(
    say: Callable[[bytes, Unsaid], Any], made: Callable[[int], bytes], count: int
) -> None:
    """Not sixteen times."""
    few, many = made(count), made(4 * count)
    least = min(seconds(say, few) for _ in range(3))
    assert min(seconds(say, many) for _ in range(2)) < 8 * least + 0.02
