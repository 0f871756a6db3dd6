"""A prompt is filled in exactly, and what a variable holds is never read as a template."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import InvalidRequest
from airboss.domain.release import Example, ModelVersion, PromptForm, Release
from airboss.releases.render import fill, leading_messages, variables_in

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
