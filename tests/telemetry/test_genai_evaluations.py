"""What an event `gen_ai.evaluation.result` says of a score."""

from __future__ import annotations

from typing import Any

import pytest

from airboss.domain.score import ScoreValue
from airboss.store.opinions import COMMENT_CHARS_MAX
from airboss.telemetry.genai_evaluations import Evaluation, read
from airboss.telemetry.genai_spans import beginning
from airboss.telemetry.otlp_read import Wrong


def said(name: Any = "relevance", **fields: Any) -> Evaluation:
    """What an event of these attributes says, `score_value` and the like by their last words."""
    names = {
        "value": "gen_ai.evaluation.score.value",
        "label": "gen_ai.evaluation.score.label",
        "explanation": "gen_ai.evaluation.explanation",
        "answer": "gen_ai.response.id",
        "error": "error.type",
    }
    return read({"gen_ai.evaluation.name": name, **{names[key]: each for key, each in fields.items()}})


@pytest.mark.parametrize(
    ("fields", "value", "comment"),
    [
        ({"value": 0.75}, 0.75, None),
        ({"value": 4}, 4.0, None),
        ({"value": 4.0, "label": "relevant", "explanation": "on topic"}, 4.0, "relevant: on topic"),
        ({"label": "pass", "explanation": " short "}, "pass", "short"),
        ({"label": "yes"}, True, None),
        ({"value": 0.0, "label": "No"}, False, None),
        ({"value": 0.3, "label": "no"}, 0.3, "no"),
        ({"value": 1.0, "error": "timeout"}, 1.0, None),
    ],
)
def test_a_number_comes_before_a_label(
    fields: dict[str, Any], value: ScoreValue, comment: str | None
) -> None:
    """A label that says yes or no is one, alone or beside 1 or 0; any other beside a number is told."""
    found = said(**fields)
    assert (found.value, type(found.value), found.unscored) == (value, type(value), None)
    assert found.comment(beginning, content=True) == comment


def test_what_failed_is_unscored() -> None:
    """With its cause, and never a zero."""
    found = said(error="judge_timeout", explanation="no answer in 30 s")
    assert (found.value, found.unscored) == (None, "judge_timeout")


def test_an_explanation_is_content_and_bounded() -> None:
    """Where bodies are off it is left out; the label, which is none, stays."""
    found = said(value=2.0, label="poor", explanation="x" * 10_000)
    assert found.comment(beginning, content=False) == "poor"
    kept = found.comment(beginning, content=True) or ""
    assert len(kept) == COMMENT_CHARS_MAX
    assert kept.endswith("[cut: over 4000 characters]")


def test_names_are_made_to_fit() -> None:
    """Evaluators put blanks and brackets into theirs, which filters cannot have."""
    assert said("Answer Relevancy [GEval]", value=1.0).name == "Answer_Relevancy_GEval_"
    assert said(value=1.0, answer="chatcmpl-1").answer_id == "chatcmpl-1"
    assert said(value=1.0, answer="x" * 300).answer_id == ""


@pytest.mark.parametrize(
    ("name", "fields", "why"),
    [
        (None, {"value": 1.0}, "'name' is ''"),
        ("1st", {"value": 1.0}, "'name' is '1st'"),
        ("x" * 65, {"value": 1.0}, "at most 64"),
        ("x", {}, "no score.value, no score.label and no error.type"),
        ("x", {"value": "high"}, "'high', which is no finite number"),
        ("x", {"value": True}, "'True', which is no finite number"),
        ("x", {"value": "nan"}, "no finite number"),
        ("x", {"label": "y" * 65}, "a label of 65 characters"),
        ("x", {"label": "a\nb"}, "can be printed"),
    ],
)
def test_what_can_be_no_score_is_refused(name: Any, fields: dict[str, Any], why: str) -> None:
    """With the value seen."""
    with pytest.raises(Wrong, match=why):
        said(name, **fields)
