"""Events told by their bytes: what goes on of them is what goes on where each is read anew."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airboss.governance.screening import Action, screen_text
from airboss.governance.screening_chat import AnswerScreen
from airboss.governance.tokens import Tokens
from airboss.providers.known_text import LEARNT_MAX
from tests.support.policies import one_action

KEY = b"the key of one call"
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def event(delta: dict[str, Any], index: int = 0, reason: str | None = None, **more: Any) -> bytes:
    """A chat's event, as most providers write it."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
    return json.dumps({**HEAD, "choices": [choice], **more}, separators=(",", ":")).encode()


def tokens() -> Tokens:
    """Of a call whose request had an address."""
    made = Tokens(KEY)
    screen_text(one_action("tokenize"), "jane.doe@example.com", made)
    made.seal()
    return made


def screened(stream: list[bytes], action: Action, *, knows: bool) -> tuple[list[Any], int, AnswerScreen]:
    """What goes on of a stream, as JSON, and how many events were told by their bytes."""
    screen = AnswerScreen(one_action(action), tokens(), several=True)
    out: list[Any] = []
    told = 0
    for data in stream:
        known = screen.known(data) if knows else None
        told += known is not None
        for each in screen.event(data) if known is None else screen.more(data, *known):
            out += [(json.loads(each.recorded), said(each.given))]
            if each.text:
                assert each.text in said(each.recorded)
    out += [(json.loads(each.recorded), said(each.given)) for each in screen.end()]
    return out, told, screen


def said(data: bytes) -> list[str]:
    """The texts of an event."""
    choices = json.loads(data)["choices"]
    return [text for each in choices for text in (each.get("text"), *each.get("delta", {}).values()) if text]


TEXT = st.text(st.sampled_from('ab \\"\n\u00e9\u4e2d\U0001f600{}:,'), max_size=6) | st.sampled_from(
    [
        "jane@",
        "example.com",
        " 4111 1111",
        " 1111 1111",
        "<EMAIL_1>",
        "<EMA",
        "IL_1>",
        '"content":"x"',
        "null",
    ]
)
DELTA = st.one_of(
    *[st.fixed_dictionaries({name: TEXT}) for name in ("content", "content", "content", "reasoning_content")],
    st.fixed_dictionaries({"role": st.just("assistant"), "content": TEXT}),
    st.fixed_dictionaries({"content": TEXT, "refusal": TEXT}),
    st.fixed_dictionaries({"content": st.none()}),
    st.fixed_dictionaries(
        {"content": TEXT, "tool_calls": st.just([{"index": 0, "function": {"name": "f"}}])}
    ),
)
MORE = st.sampled_from(
    [
        {},
        {},
        {},
        {"obfuscation": "aB3"},
        {"obfuscation": "x" * 9},
        {"usage": None},
        {"usage": {"prompt_tokens": 1}},
    ]
) | st.fixed_dictionaries({"x": st.sampled_from([{"content": "x"}, 'a "content":"x" b', 7, None])})


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pieces=st.lists(st.tuples(DELTA, st.sampled_from([0, 0, 0, 1]), MORE), max_size=24),
    ends=st.booleans(),
    action=st.sampled_from(["mask", "tokenize", "block", "observe"]),
)
@example(
    pieces=[({"role": "assistant", "content": text}, 0, {}) for text in (":", "", "b")],
    ends=False,
    action="mask",
)
def test_what_goes_on_is_the_same(
    pieces: list[tuple[dict[str, Any], int, dict[str, Any]]], ends: bool, action: Action
) -> None:
    """Whatever stands around the texts, and whatever they are."""
    stream = [event(delta, index, **more) for delta, index, more in pieces]
    stream += [event({}, index, "stop") for index in (0, 1)] * ends
    without, _, one = screened(stream, action, knows=False)
    got, _, other = screened(stream, action, knows=True)
    assert got == without
    assert (one.findings, one.blocked) == (other.findings, other.blocked)


def test_a_usual_stream() -> None:
    """After its first text all events of a stream are known, OpenAI's with their padding too."""
    words = ["To", " be", " or", ' "not"', " \u00e9", " to be"]
    for padded in (False, True):
        stream = [event({"role": "assistant", "content": ""})]
        for i, word in enumerate(words):
            stream.append(
                event({"content": word}, obfuscation="p" * i) if padded else event({"content": word})
            )
        assert screened(stream, "mask", knows=True)[1] == len(words) - 1


@pytest.mark.parametrize(
    "like",
    [
        b'{"choices":[{"index":0,"delta":{"content":"a"},"delta":{"content":"%s"}}]}',
        b'{"choices":[{"index":0,"delta":{"content":"a","content":"%s"}}]}',
        b'{"choices":[{"index":0,"x":{"content":"a"},"delta" : { "content" : "%s" } }]}',
        b'{"choices":[{"index":0,"delta":{"content":"%s"},"x":{"content":"a"}}],"id":{"content":"a"}}',
        b'{"id":"?this text?","choices":[{"index":0,"delta":{"content":"%s"}}]}',
        b'{"choices":[{"index":0,"text":"%s","delta":{}}]}',
        b'{"choices":[{"index":0,"delta":{"content":"%s"}}],"choices":[{"index":0,"delta":{"content":"b"}}]}',
    ],
)
def test_odd_shapes(like: bytes) -> None:
    """The same where names stand twice, in other places, or with blanks, and where a text ends early."""
    texts = [b"a", b"b", b"jane@example.com", b'a"},{"b":"', b"a\\", b"\\ud800", b"\xff", b"", b"c"]
    stream = [like.replace(b"%s", text) for text in texts]
    assert screened(stream, "mask", knows=True)[0] == screened(stream, "mask", knows=False)[0]


def test_no_more_is_learnt_than_helps() -> None:
    """Where each event is of a kind of its own, only the first few are looked at."""
    stream = [event({"content": "a "}, id=f"chatcmpl-{n}") for n in range(LEARNT_MAX * 2)]
    got, told, screen = screened(stream, "mask", knows=True)
    assert (told, screen._learnt, len(got)) == (0, LEARNT_MAX, LEARNT_MAX * 2)
