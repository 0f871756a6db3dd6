"""A prompt is filled in exactly, and what a variable holds is never read as a template."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import InvalidRequest
from airboss.domain.release import Example, ModelVersion, PromptForm, Release
from airboss.releases.render import fill, leading_messages, raw_prompt, variables_in

MODEL = ModelVersion(provider="p", kind="openai", model="m")
EXAMPLES = (Example("good", "positive"), Example("bad", "negative"))


def release(prompt: str | None, examples: tuple[Example, ...] = (), form: PromptForm = "turns") -> Release:
    """A release with this prompt."""
    return Release(digest="d", name="r", model=MODEL, prompt=prompt, examples=examples, form=form)


@given(st.text(), st.text(), st.text())
def test_what_a_variable_holds_is_text(before: str, held: str, after: str) -> None:
    """Only the template's own places are filled: braces in a value stay as they are."""
    template = before.replace("{", "") + "{{ x }}" + after.replace("{", "")
    assert fill(template, {"x": held}) == template.replace("{{ x }}", held, 1)


def test_missing_variables_are_named() -> None:
    """A missing variable is the caller's mistake, and named."""
    assert variables_in("{{a}} {{ b }} {{ 3 }} {c}") == {"a", "b"}
    with pytest.raises(InvalidRequest, match="'b'") as raised:
        fill("{{a}} {{b}}", {"a": "1"})
    assert raised.value.param == "prompt_variables"


def test_where_things_go() -> None:
    """The prompt is the first system message; examples are turns, or text of the system message."""
    assert leading_messages(release(None), {}) == []
    assert leading_messages(release("Hi {{n}}"), {"n": "Ann"}) == [{"role": "system", "content": "Hi Ann"}]
    turns = leading_messages(release("P", EXAMPLES), {})
    assert [t["role"] for t in turns] == ["system", "user", "assistant", "user", "assistant"]
    assert leading_messages(release(None, EXAMPLES), {})[0] == {"role": "user", "content": "good"}
    (only,) = leading_messages(release("P", EXAMPLES, "system"), {})
    assert only["content"] == "P\n\nInput: good\nOutput: positive\n\nInput: bad\nOutput: negative"


def turn(role: str, content: str) -> dict[str, str]:
    """A message."""
    return {"role": role, "content": content}


RAW: dict[str, tuple[list[dict[str, str]], str]] = {
    "one question": ([turn("user", "3?")], "Input: 3?\nOutput:"),
    "a conversation": (
        [turn("user", "3?"), turn("assistant", "odd"), turn("user", "4?")],
        "Input: 3?\nOutput: odd\n\nInput: 4?\nOutput:",
    ),
    "the answer begun": ([turn("user", "3?"), turn("assistant", "It is")], "Input: 3?\nOutput: It is"),
    "the answer begun with nothing": ([turn("user", "3?"), turn("assistant", "")], "Input: 3?\nOutput:"),
    "two questions": ([turn("user", "3?"), turn("user", "4?")], "Input: 3?\n\nInput: 4?\nOutput:"),
    "an assistant who begins": (
        [turn("assistant", "Hello."), turn("user", "3?")],
        "Output: Hello.\n\nInput: 3?\nOutput:",
    ),
    "an instruction last": (
        [turn("user", "3?"), turn("system", "Be brief.")],
        "Input: 3?\n\nBe brief.\n\nOutput:",
    ),
    "no question": ([], "Output:"),
}


@pytest.mark.parametrize("case", RAW)
def test_a_raw_prompt_ends_where_the_model_goes_on(case: str) -> None:
    """Prompt text, examples and conversation become one text, which ends in `Output:` or in the words that
    are to be gone on with."""
    messages, conversation = RAW[case]
    made = raw_prompt(release("Say {{ what }}.", EXAMPLES, "completion"), {"what": "it"}, messages)
    shown = "Input: good\nOutput: positive\n\nInput: bad\nOutput: negative"
    assert made == f"Say it.\n\n{shown}\n\n{conversation}"


def test_the_callers_instructions_follow_the_releases() -> None:
    """System messages that come first stand before the examples, behind the release's own text."""
    messages = [turn("system", "Be brief."), turn("developer", "No numbers."), turn("user", "3?")]
    made = raw_prompt(release("Say it.", EXAMPLES[:1], "completion"), {}, messages)
    assert made == (
        "Say it.\n\nBe brief.\n\nNo numbers.\n\nInput: good\nOutput: positive\n\nInput: 3?\nOutput:"
    )


def test_a_raw_prompt_needs_its_variables() -> None:
    """A missing variable is the caller's mistake, in this form too."""
    with pytest.raises(InvalidRequest, match="what"):
        raw_prompt(release("Say {{ what }}.", (), "completion"), {}, [turn("user", "x")])
