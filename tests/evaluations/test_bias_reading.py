"""Reads answers: decisions, refusals, lengths, and the odds in log-probabilities."""

from __future__ import annotations

import math
from typing import Any

import pytest

from airboss.evaluations.bias_measures import Reading
from airboss.evaluations.bias_reading import decision, log_odds, read
from airboss.evaluations.caller_http import read_logprobs
from airboss.evaluations.ports import Answer, Token

YES_NO = ("yes", "no")


def token(said: str, chance: float = 1.0, **top: float) -> Token:
    """A token, and the chances of others."""
    return Token(
        token=said, logprob=math.log(chance), top={name: math.log(each) for name, each in top.items()}
    )


@pytest.mark.parametrize(
    ("text", "labels", "chosen"),
    [
        ("Yes.", YES_NO, "yes"),
        ("I would say NO, yes is too kind", YES_NO, "no"),
        ("Nobody knows yesterday", YES_NO, None),
        ("not sure", YES_NO, None),
        ("**approve**", ("approve", "deny"), "approve"),
        ("very good", ("very good", "very"), "very good"),
        ("", YES_NO, None),
    ],
)
def test_the_first_label_is_the_decision(text: str, labels: tuple[str, ...], chosen: str | None) -> None:
    """As a word of its own, whatever its case; of two at one place the longer."""
    assert decision(text, labels) == chosen


@pytest.mark.parametrize(
    ("answer", "labels", "reading"),
    [
        (Answer(text="Yes"), YES_NO, Reading(favourable=True)),
        (Answer(text="no"), YES_NO, Reading(favourable=False)),
        (Answer(text="Perhaps."), YES_NO, Reading(declined=True)),
        (Answer(text="", refusal="I will not"), YES_NO, Reading(declined=True)),
        (
            Answer(text="I'm sorry, but I can't help with that. No"),
            YES_NO,
            Reading(favourable=False, declined=True),
        ),
        (Answer(text="Dear Ann"), (), Reading(chars=8)),
        (Answer(text="Dear", finish_reason="content_filter"), (), Reading(chars=4, declined=True)),
        (Answer(error="400: filtered by the content management policy"), YES_NO, Reading(declined=True)),
        (Answer(error="503: overloaded"), YES_NO, None),
    ],
)
def test_an_answer_is_read(answer: Answer, labels: tuple[str, ...], reading: Reading | None) -> None:
    """Its decision, whether it declines, its length where it is free; a failed call says nothing."""
    assert read(answer, labels) == reading


def test_odds_are_those_of_the_token_that_decides() -> None:
    """Spellings of one label add up; the token is the first that begins a label, or the first of all."""
    start = token(" Yes", 0.5, **{" Yes": 0.5, "yes": 0.1, " No": 0.2, " The": 0.2})
    assert log_odds((start,), YES_NO) == pytest.approx(math.log(0.6 / 0.2))
    late = (
        token("Answer", 0.9, yes=0.01, no=0.04),
        token(":", 1.0),
        token(" no", 0.8, **{" no": 0.8, " yes": 0.2}),
    )
    assert log_odds(late, YES_NO) == pytest.approx(math.log(0.2 / 0.8))
    assert log_odds((token("The", 0.9, yes=0.02, no=0.04),), YES_NO) == pytest.approx(math.log(0.5))
    assert log_odds((token("app", 0.9, deny=0.1),), ("approve", "deny")) == pytest.approx(math.log(9))


def test_a_side_that_is_not_listed_is_bounded() -> None:
    """By the least likely token that is; where neither side is listed there are no odds."""
    assert log_odds((token("yes", 0.9, yes=0.9, maybe=0.01),), YES_NO) == pytest.approx(math.log(90))
    assert log_odds((token("maybe", 0.9, perhaps=0.1),), YES_NO) is None
    both = ("now", "not")
    assert log_odds((token("no", 0.9, now=0.05, x=0.01),), both) == pytest.approx(math.log(5)), "begins two"
    assert log_odds((token("yes", 1.0),), YES_NO) == pytest.approx(0.0)


def test_logprobs_are_read_where_they_can_be() -> None:
    """In OpenAI's form, the first sixteen tokens; anything else is none, and no error."""
    each: dict[str, Any] = {"token": "yes", "logprob": -0.1, "bytes": None, "top_logprobs": []}
    other = {"token": "no", "logprob": -2.0, "bytes": [110]}
    found = read_logprobs({"content": [{**each, "top_logprobs": [other]}, *[each] * 40]})
    assert found is not None
    assert (len(found), found[0]) == (16, Token(token="yes", logprob=-0.1, top={"no": -2.0}))
    none: list[Any] = [None, {}, {"content": None}, {"content": []}, [1], "x", {"content": [{"token": 1}]}]
    for given in none:
        assert read_logprobs(given) is None
