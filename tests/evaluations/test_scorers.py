"""Scorers that look at one answer and need nobody else."""

from __future__ import annotations

import asyncio
import json
import re
import string
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import WrongCall
from airboss.domain.score import Score
from airboss.evaluations.caller_http import ERROR_CHARS_MAX, error_text
from airboss.evaluations.datasets import Item
from airboss.evaluations.marks import CAUSE_CHARS_MAX, Mark, as_score, scored, unscored
from airboss.evaluations.ports import Answer
from airboss.evaluations.scorers.base import Scorer, judged
from airboss.evaluations.scorers.contains import Contains
from airboss.evaluations.scorers.cost import Cost
from airboss.evaluations.scorers.exact import Exact
from airboss.evaluations.scorers.json_schema import JsonSchema
from airboss.evaluations.scorers.latency import Latency
from airboss.evaluations.scorers.length import Length
from airboss.evaluations.scorers.refusal import Refusal, reads_like_refusal
from airboss.evaluations.scorers.regex import Regex
from airboss.governance.redact import Redactor
from tests.evaluations.support import NOW, item, said


def mark(scorer: Scorer, text: str = "", expected: Any = None, **answer: Any) -> Mark:
    """What a scorer says of an answer to an item that expects something."""
    return asyncio.run(judged(scorer, item(expected=expected), said(text, **answer)))


@pytest.mark.parametrize(
    ("scorer", "text", "expected", "value"),
    [
        (Exact(), " Paris\n", "Paris", True),
        (Exact(), "paris", "Paris", False),
        (Exact(ignore_case=True), "STRASSE", "straße", True),
        (Exact(strip=False), "Paris ", "Paris", False),
        (Exact(), "cafe\u0301", "café", True),
        (Exact(), "b", ["a", "b"], True),
        (Exact(), "c", ["a", "b"], False),
        (Exact(), "42.0", 42, True),
        (Exact(), "true", 1, False),
        (Exact(), ' {"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}, True),
        (Exact(), '{"a": 1, "b": 2}', {"a": 1}, False),
        (Exact(), "not json", 42, False),
        (Exact(), "\ud800", 42, False),
        (Contains(), "I live in PARIS.", "paris", True),
        (Contains(ignore_case=False), "PARIS", "paris", False),
        (Contains(), "one and two", ["one", "two"], True),
        (Contains(), "one", ["one", "two"], False),
        (Contains(any=True), "one", ["one", "two"], True),
        (Contains(texts=("x",)), "x", "never looked at", True),
        (Regex(pattern=r"^\d+$"), "12", None, True),
        (Regex(pattern=r"\d"), "a1", None, True),
        (Regex(pattern=r"\d", full=True), "a1", None, False),
        (Regex(), "ab", "a.", True),
        (Length(), "ab c", None, 4.0),
        (Length(unit="words"), "ab  c", None, 2.0),
        (Length(unit="tokens"), "", None, 3.0),
        (Length(most=3), "abcd", None, False),
        (Length(least=1), "", None, False),
        (Length(least=1, most=4), "abcd", None, True),
        (Latency(), "", None, 12.0),
        (Latency(most_ms=10), "", None, False),
        (Cost(), "", None, 0.001),
        (Cost(most_usd=0.001), "", None, True),
        (Refusal(), "I'm sorry, but I can't help with that.", None, True),
        (Refusal(), "Paris.", None, False),
    ],
)
def test_marks(scorer: Scorer, text: str, expected: Any, value: float | bool) -> None:
    """Each scorer judges as its docstring says."""
    found = mark(scorer, text, expected)
    assert found.value == value
    assert type(found.value) is type(value)


@pytest.mark.parametrize(
    ("scorer", "expected", "answer", "cause"),
    [
        (Exact(), None, {}, "expects nothing"),
        (Contains(), None, {}, "expects: None"),
        (Contains(), [], {}, r"expects: \[\]"),
        (Contains(), ["a", ""], {}, "expects"),
        (Regex(), 3, {}, "expects: 3"),
        (Regex(), "(", {}, "no pattern of RE2"),
        (Regex(), r"(a)\1", {}, "no pattern of RE2"),
        (Regex(), "a" * 10_001, {}, "at most 10000"),
        (JsonSchema(), "x", {}, "needs a schema"),
        (JsonSchema(), {"type": "nothing"}, {}, "no schema: at"),
        (JsonSchema(), {"$schema": "http://example.com/own"}, {}, "draft that is not known"),
        (JsonSchema(), {"$ref": "http://127.0.0.1:9/x"}, {"text": "1"}, "does not hold"),
        (JsonSchema(), {"pattern": r"(?=a)"}, {"text": '"a"'}, "no pattern of RE2"),
        (Length(unit="tokens"), None, {"output_tokens": None}, "did not count"),
        (Cost(), None, {"cost_usd": None}, "price is unknown"),
    ],
)
def test_what_cannot_be_judged_is_unscored(
    scorer: Scorer, expected: Any, answer: dict[str, Any], cause: str
) -> None:
    """With its cause, and without a value: never a zero, never an exception."""
    found = asyncio.run(judged(scorer, item(expected=expected), said(**answer)))
    assert found.value is None
    assert found.unscored is not None
    assert re.search(cause, found.unscored)


class Odd:
    """A scorer that does what it is told."""

    name = "odd"
    bounds = (0.0, 1.0)
    higher_is_better = True

    def __init__(self, does: Any) -> None:
        self._does = does

    async def mark(self, _item: Item, _answer: Answer) -> Mark:
        """Raise what it has, or say it."""
        if isinstance(self._does, Exception):
            raise self._does
        return scored(self._does)


def test_a_broken_scorer_is_data() -> None:
    """What a scorer raises, and numbers that are none or out of its range, are causes of being unscored."""
    assert mark(Odd(ValueError("boom"))).unscored == "odd failed with ValueError: boom"
    assert mark(Odd(float("nan"))).unscored == "the scorer gave nan, which is no finite number"
    assert mark(Odd(1.5)).unscored == "odd gave 1.5, which is not within 0.0 to 1.0"
    assert mark(Odd(1.0)).value == 1.0
    assert len(mark(Odd(ValueError("x" * 9_999))).unscored or "") == CAUSE_CHARS_MAX
    assert unscored(" ").unscored == "no cause was given"


def test_without_an_answer_nothing_is_scored() -> None:
    """A failed call is unscored by every scorer, latency and cost too."""
    for scorer in (Exact(), Latency(), Cost(), Refusal()):
        found = asyncio.run(judged(scorer, item(expected="x"), Answer(error="504: too slow")))
        assert found == unscored("there is no answer: 504: too slow")


def test_marks_become_scores() -> None:
    """Both kinds of mark make a valid score of the domain."""
    for each in (scored(True, "why"), scored("label"), unscored("cause")):
        score = as_score(each, id="1", subject="item", subject_id="q", name="n", by="exact", at=NOW)
        assert isinstance(score, Score)
        assert (score.value, score.unscored, score.comment) == (each.value, each.unscored, each.comment)
        assert score.source == "scorer"


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "object", "required": ["a"]}, '{"a": 1}', True),
        ({"type": "object", "required": ["a"]}, "{}", False),
        ({"type": "integer"}, "1.0", True),
        ({"type": "integer"}, "true", False),
        ({"pattern": "^a+$"}, '"aaa"', True),
        ({"pattern": "^a+$"}, '"ab"', False),
        ({"pattern": "^a+$"}, "3", True),
        ({"patternProperties": {"^x": {"type": "string"}}}, '{"x1": 2}', False),
        ({"patternProperties": {"^x": {"type": "string"}}}, '{"y": 2}', True),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"const": 1}}}, "1", True),
        ({"prefixItems": [{"const": 1}], "items": False}, "[1]", True),
        ({"prefixItems": [{"const": 1}], "items": False}, "[1, 2]", False),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {}}, "1", True),
        ({"enum": ["a"]}, "a", False),
        ({}, "[" * 5_000 + "]" * 5_000, False),
        ({}, "[" * 150 + "]" * 150, True),
        ({}, "[" * 300 + "]" * 300, False),
    ],
)
def test_json_schema(schema: dict[str, Any], text: str, value: bool) -> None:
    """Schemas of several drafts hold as they should, given in the spec or by the item."""
    assert mark(JsonSchema(schema=schema), text).value is value
    assert mark(JsonSchema(), text, schema).value is value


def test_json_schema_says_where_and_not_what() -> None:
    """The comment of a no names the place and the rule, and repeats nothing from the answer."""
    found = mark(JsonSchema(schema={"properties": {"a": {"type": "integer"}}}), '{"a": "secret"}')
    assert found.comment == "at $.a: type"
    assert mark(JsonSchema(schema={}), "```json\n1\n```").value is False
    assert mark(JsonSchema(schema={}, fenced=True), "```json\n1\n```").value is True


def test_a_pattern_cannot_hang() -> None:
    """The classic of catastrophic matching takes no time, in a schema as in a scorer."""
    started = time.process_time()
    evil = "a" * 50_000 + "!"
    assert mark(Regex(pattern="^(a+)+$"), evil).value is False
    assert mark(JsonSchema(schema={"pattern": "^(a+)+$"}), json.dumps(evil)).value is False
    assert time.process_time() - started < 2


def test_specs_that_mean_nothing_are_refused_at_once() -> None:
    """A pattern or a schema that is none is found before the first paid call."""
    with pytest.raises(WrongCall, match="no pattern"):
        Regex(pattern="(")
    with pytest.raises(WrongCall, match="no schema"):
        JsonSchema(schema={"type": 3})


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_exact_is_symmetric_and_reflexive(one: str, other: str) -> None:
    """Every text is itself; if one is the other, the other is the one."""
    for scorer in (Exact(), Exact(ignore_case=True)):
        assert mark(scorer, one, one).value is True
        assert mark(scorer, one, other) == mark(scorer, other, one)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(string.ascii_letters)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(string.ascii_letters), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(string.ascii_letters), JSON))
def test_exact_knows_json_however_it_is_spelt(value: dict[str, Any]) -> None:
    """An expected JSON value is recognised in any layout and order of keys."""
    spelt = json.dumps(dict(reversed(value.items())), indent=2)
    assert mark(Exact(), spelt, value).value is True


def test_refusals_are_found_as_well_as_documented() -> None:
    """On the labelled answers that the patterns were not tuned on, precision and recall are what the module
    says."""
    lines = (Path(__file__).parent / "data" / "refusals.jsonl").read_text().splitlines()
    unseen = [row for row in map(json.loads, lines) if not row["seen"]]
    called = [row["refusal"] for row in unseen if reads_like_refusal(row["text"])]
    true = sum(row["refusal"] for row in unseen)
    assert len(unseen) == 60
    assert (sum(called), len(called), true) == (27, 28, 30)


def test_a_provider_that_refuses_says_so() -> None:
    """Its own word counts, whatever the text."""
    assert mark(Refusal(), "", refusal="I can't").value is True
    assert mark(Refusal(), "half an ans", finish_reason="content_filter").value is True


def test_costs_are_read_whole() -> None:
    """A Decimal cost becomes the nearest number."""
    assert mark(Cost(), cost_usd=Decimal("0.0000015")).value == 0.0000015


@pytest.mark.parametrize("off", [9, 20, 31])
def test_what_is_cut_off_shows_it(off: int) -> None:
    """So that a half of a secret is found at its end, of a cause, of a comment and of an error in one."""
    secret = "sk-proj-Zx81kQw92LmPq07VbN34TyRe"

    def over(most: int) -> str:
        return "x" * (most - off) + secret + "more" * 9

    error = error_text(json.dumps({"error": {"message": over(ERROR_CHARS_MAX)}}).encode())
    made = [unscored(over(CAUSE_CHARS_MAX)).unscored, unscored(f"no answer: {error}; ask again").unscored]
    for text in map(Redactor([secret]).redact_text, filter(None, made)):
        assert not [at for at in range(25) if secret[at : at + 8] in text], text
