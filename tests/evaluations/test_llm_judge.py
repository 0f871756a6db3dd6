"""What a judging model is shown, what it is asked for, and what becomes of what it says."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import WrongCall
from airboss.evaluations.datasets import Input, Item
from airboss.evaluations.marks import Mark, scored
from airboss.evaluations.ports import Answer
from airboss.evaluations.scorers.llm_judge import SHOWN_CHARS_MAX, JudgeScorer, LlmJudge
from airboss.evaluations.scorers.pairwise import PairwiseJudge, PairwiseScorer
from airboss.evaluations.scorers.spec import spec_from
from tests.evaluations.support import JUDGE, FakeCaller, item, said

CALLS = [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]
MESSAGES: tuple[dict[str, Any], ...] = (
    {"role": "system", "content": "Context: the shop closes at six."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "tool", "tool_call_id": "1", "content": "Rain."},
    {"role": "user", "content": [{"type": "text", "text": "And when do you close?"}]},
)


def judged(
    spec: LlmJudge, answer: Answer | str, said_by_judge: str, asked: Item | None = None
) -> tuple[Mark, FakeCaller]:
    """The mark of an answer, and whom the judge's call went through."""
    caller = FakeCaller(lambda _: said_by_judge)
    scorer = JudgeScorer(spec, JUDGE, caller)
    given = answer if isinstance(answer, Answer) else said(answer)
    return asyncio.run(scorer.mark(asked or item(), given)), caller


def seen(caller: FakeCaller) -> dict[str, str]:
    """What the judge was shown."""
    message = caller.calls[0].input.messages[1]
    return msgspec.json.decode(message["content"], type=dict[str, str])


@pytest.mark.parametrize(
    ("more", "verdict", "mark"),
    [
        ({}, '"grade": 4', scored(0.75, "why")),
        ({"scale": "yes-no"}, '"met": true', scored(True, "why")),
        ({"scale": "yes-no"}, '"met": false', scored(False, "why")),
        ({"labels": ["calm", "rude"]}, '"label": "rude"', scored("rude", "why")),
    ],
)
def test_a_judge_grades_or_says_yes_or_no_or_a_label(more: dict[str, Any], verdict: str, mark: Mark) -> None:
    """As it was asked to, in words and by a schema that allows nothing else."""
    spec = spec_from({"kind": "llm_judge", "deployment": "judge", "criteria": "It is {kind}.", **more})
    assert isinstance(spec, LlmJudge)
    found, caller = judged(spec, "Hi", f'{{"reasoning": "why", {verdict}}}')
    assert found == mark
    (name,) = (each for each in ("grade", "met", "label") if each in verdict)
    assert f"`{name}`" in caller.calls[0].input.messages[0]["content"]
    schema = caller.calls[0].params["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["reasoning", name]
    assert spec.bounds == (None if spec.labels else (0.0, 1.0))


@pytest.mark.parametrize(
    ("more", "said_by_judge"),
    [
        ({}, '{"grade": 6}'),
        ({}, '{"met": true}'),
        ({"scale": "yes-no"}, '{"grade": 5}'),
        ({"labels": ["calm", "rude"]}, '{"label": "kind"}'),
        ({"labels": ["calm", "rude"]}, "rude"),
    ],
)
def test_another_verdict_than_was_asked_for_is_none(more: dict[str, Any], said_by_judge: str) -> None:
    """It is unscored, never a no."""
    found, _ = judged(spec_as_judge(more), "Hi", said_by_judge)
    assert found.value is None
    assert found.unscored is not None
    assert "the judge judge" in found.unscored


def spec_as_judge(more: dict[str, Any]) -> LlmJudge:
    """A judge's spec from its table."""
    spec = spec_from({"kind": "llm_judge", "deployment": "judge", **more})
    assert isinstance(spec, LlmJudge)
    return spec


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"labels": ["one"]}, "1 labels; give 2 to 20"),
        ({"labels": ["a", "a"]}, "different"),
        ({"labels": ["a", " b"]}, "blanks"),
        ({"labels": ["a", "b" * 65]}, "64"),
        ({"scale": "1-10"}, "scale"),
    ],
)
def test_labels_and_scales_that_are_none_are_refused(more: dict[str, Any], said: str) -> None:
    """Before a call is paid for."""
    with pytest.raises(WrongCall, match=said):
        spec_as_judge(more)


def test_a_judge_sees_what_was_said_before() -> None:
    """The context that an answer is to rest on, earlier turns and what tools gave; the question by itself."""
    asked = Item(id="q", input=Input(messages=MESSAGES, variables={"city": "Ulm"}), expected="At six.")
    _, caller = judged(LlmJudge(deployment="judge"), "At six.", '{"grade": 5}', asked)
    found = seen(caller)
    assert (found["question"], found["answer"], found["reference"]) == (
        "And when do you close?",
        "At six.",
        "At six.",
    )
    conversation = msgspec.json.decode(found["conversation"])
    assert [each["role"] for each in conversation] == ["system", "user", "assistant", "tool", "user"]
    assert conversation[0]["content"] == "Context: the shop closes at six."
    assert conversation[2]["tool_calls"] == CALLS
    assert conversation[4]["content"] == "(the question)"
    assert msgspec.json.decode(found["variables"]) == {"city": "Ulm"}


def test_a_judge_of_one_question_sees_no_more() -> None:
    """Nothing is said twice."""
    _, caller = judged(LlmJudge(deployment="judge"), "Yes.", '{"grade": 5}')
    assert seen(caller) == {"question": "What?", "answer": "Yes."}


def test_of_a_long_conversation_the_end_is_shown() -> None:
    """What was said last matters most, and a judge's window ends somewhere."""
    messages = ({"role": "assistant", "content": "x" * 2 * SHOWN_CHARS_MAX}, *MESSAGES)
    _, caller = judged(
        LlmJudge(deployment="judge"), "Yes.", '{"grade": 5}', Item(id="q", input=Input(messages=messages))
    )
    conversation = seen(caller)["conversation"]
    assert len(conversation) == SHOWN_CHARS_MAX
    assert "Rain." in conversation


def test_judges_see_which_tools_an_answer_calls() -> None:
    """An answer of calls alone is not an empty one, of a judge of pairs neither."""
    answer = said("", tool_calls=CALLS)
    _, caller = judged(LlmJudge(deployment="judge"), answer, '{"grade": 5}')
    assert msgspec.json.decode(seen(caller)["answer"]) == CALLS
    caller = FakeCaller(lambda _: '{"better": "tie"}')
    pair = PairwiseScorer(PairwiseJudge(deployment="judge"), JUDGE, caller)
    asyncio.run(pair.mark_pair(item(), said("Both", tool_calls=CALLS), said("None")))
    first, second = (msgspec.json.decode(call.input.messages[1]["content"]) for call in caller.calls)
    assert first["first"].startswith("Both\n[")
    assert second["second"] == first["first"]
