"""Answers that call tools: whether they call those that are expected."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airboss.evaluations.from_records import said_by
from airboss.evaluations.marks import Mark, unquoted
from airboss.evaluations.scorers.base import Scorer, judged
from airboss.evaluations.scorers.exact import Exact
from airboss.evaluations.scorers.tool_calls import ToolCalls
from airboss.tuning.candidates import expected_text
from tests.evaluations.support import item, said

ULM, BONN = {"city": "Ulm"}, {"city": "Bonn"}


def called(*calls: tuple[str, Any]) -> list[dict[str, Any]]:
    """Calls as OpenAI's messages have them."""
    return [
        {"id": str(at), "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for at, (name, arguments) in enumerate(calls)
    ]


def mark(scorer: Scorer, expected: Any, *calls: tuple[str, Any]) -> Mark:
    """What the scorer says of an answer with these calls."""
    return asyncio.run(judged(scorer, item(expected=expected), said("", tool_calls=called(*calls) or None)))


def plain(*calls: tuple[str, Any]) -> dict[str, Any]:
    """Calls as a person writes what is expected."""
    return {"tool_calls": [{"name": name, "arguments": arguments} for name, arguments in calls]}


@pytest.mark.parametrize("scorer", [ToolCalls(), Exact()])
def test_calls_are_compared_as_values(scorer: Scorer) -> None:
    """Whatever their order and spelling, but with their types; one too many or too few is a no."""
    both = plain(("weather", ULM), ("weather", BONN))
    assert mark(scorer, both, ("weather", BONN), ("weather", ULM)).value is True
    assert mark(scorer, {"tool_calls": called(("weather", ULM))}, ("weather", ULM)).value is True
    assert mark(scorer, plain(("f", {"n": 1})), ("f", {"n": 1.0})).value is True
    assert mark(scorer, plain(("f", {"n": 1})), ("f", {"n": "1"})).value is False
    assert mark(scorer, both, ("weather", ULM)).value is False
    assert mark(scorer, both, ("weather", ULM), ("weather", ULM)).value is False
    assert mark(scorer, {"tool_calls": []}).value is True
    assert mark(scorer, {"tool_calls": []}, ("weather", ULM)).value is False


def test_names_may_suffice() -> None:
    """For all calls, or for those that say no arguments, which take what the others leave."""
    assert mark(ToolCalls(arguments="any"), plain(("weather", ULM)), ("weather", BONN)).value is True
    loose = {"tool_calls": [{"name": "weather"}, {"name": "weather", "arguments": ULM}]}
    assert mark(ToolCalls(), loose, ("weather", ULM), ("weather", BONN)).value is True
    assert mark(ToolCalls(), loose, ("weather", BONN), ("weather", BONN)).value is False


def test_the_order_counts_where_it_is_asked_for() -> None:
    """Else it does not."""
    both = plain(("search", None), ("buy", None))
    assert mark(ToolCalls(ordered=True), both, ("buy", ULM), ("search", ULM)).value is False
    assert mark(ToolCalls(ordered=True), both, ("search", ULM), ("buy", ULM)).value is True


def test_a_no_says_what_was_called() -> None:
    """By name alone: arguments may be anybody's words."""
    assert mark(ToolCalls(), plain(("weather", ULM)), ("news", ULM)).comment == "it calls news"
    assert mark(ToolCalls(), plain(("weather", ULM))).comment == "it calls no tool"
    assert mark(ToolCalls(), plain(("weather", ULM)), ("weather", BONN)).comment == (
        "it calls weather, in another way than expected"
    )


@pytest.mark.parametrize("expected", [None, "Ulm", {"tool_calls": "weather"}, {"tool_calls": [{"id": 1}]}])
def test_what_expects_no_calls_is_unscored(expected: Any) -> None:
    """A text is for another scorer."""
    cause = mark(ToolCalls(), expected, ("weather", ULM)).unscored
    assert cause is not None
    assert unquoted(cause) == "tool_calls needs a list of `tool_calls`; the item expects"


def test_an_approved_call_of_tools_is_what_is_expected() -> None:
    """A recorded answer of calls alone makes an item that expects them, and no text to learn."""
    calls = called(("weather", ULM))
    expected = said_by({"choices": [{"message": {"content": None, "tool_calls": calls}}]})
    assert mark(ToolCalls(), expected, ("weather", ULM)).value is True
    assert expected_text(item(expected=expected)) == ""
    assert said_by({"choices": [{"message": {"content": "Rain.", "tool_calls": calls}}]}) == "Rain."
    assert said_by({"choices": []}) is None
