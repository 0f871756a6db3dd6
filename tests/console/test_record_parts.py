"""What one record is shown as: conversation, waterfall, curl."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.console.conversation import BLOCK_MAX, TURNS_HEAD, TURNS_TAIL, conversation
from airboss.console.curl import INLINE_MAX, body_text, curl
from airboss.console.waterfall import waterfall
from airboss.domain.record import Attempt
from airboss.store.memory import MemoryRecordLog
from tests.console.site import BASE_URL, NOW, Site, put, sample

SURROGATES = st.characters(codec=None, exclude_categories=())
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(SURROGATES),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(SURROGATES, max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
MESSAGE_FIELDS = ("role", "content", "tool_calls", "name", "refusal", "reasoning_content", "type", "function")
MESSAGE_LIKE = st.fixed_dictionaries({}, optional=dict.fromkeys(MESSAGE_FIELDS, ANY_JSON))
BODY_LIKE = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(MESSAGE_LIKE | ANY_JSON, max_size=4) | ANY_JSON,
        "prompt": ANY_JSON,
        "input": ANY_JSON,
        "tools": ANY_JSON,
        "error": ANY_JSON,
        "data": ANY_JSON,
        "choices": st.lists(
            st.fixed_dictionaries(
                {}, optional={"message": MESSAGE_LIKE | ANY_JSON, "text": ANY_JSON, "delta": MESSAGE_LIKE}
            ),
            max_size=3,
        )
        | ANY_JSON,
    },
)


@given(BODY_LIKE | ANY_JSON, BODY_LIKE | ANY_JSON)
def test_no_body_breaks_the_conversation(request: Any, response: Any) -> None:
    """Whatever was sent and came back can be shown."""
    found = conversation(sample(request=request, response=response))
    for turn in (*found.head, *found.tail, *found.answers):
        assert turn.role
        assert all(len(block.text) <= BLOCK_MAX for block in turn.blocks)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("client_disconnected", "The client went away before"),
        ("timeout_total", "The time that the client gave the call was over before"),
    ],
)
def test_a_call_that_was_cancelled_says_why_there_is_no_answer(error: str, words: str) -> None:
    """Whoever gave it less time than its deployment does had not gone."""
    log = MemoryRecordLog()
    put(log, sample(id="left", status="cancelled", error_type=error, finish_reason=None, response=None))
    assert f"{words} there was an answer." in Site(log=log).person().get("/records/left").text


def said(request: Any = None, response: Any = None) -> Any:
    """The conversation of such a record."""
    return conversation(sample(request=request, response=response))


def test_code_stands_apart() -> None:
    """Fenced code is a block of its own with its language; an unclosed fence runs to the end."""
    text = "Before\n```python\nx = 1\n\n```\nafter\n```\nopen"
    blocks = said({"messages": [{"role": "user", "content": text}]}).head[0].blocks
    assert [(each.kind, each.title, each.text) for each in blocks] == [
        ("text", None, "Before"),
        ("code", "python", "x = 1"),
        ("text", None, "after"),
        ("code", None, "open"),
    ]


def test_calls_of_tools_are_named() -> None:
    """A call shows the tool and its arguments, broken ones as they came; a result that is JSON as JSON."""
    calls = [
        {"function": {"name": "get_order", "arguments": '{"id":1}'}},
        {"function": {"name": "get_order", "arguments": '{"id":'}},
        "not a call",
    ]
    result = {"role": "tool", "tool_call_id": "c1", "content": '{"a":1}'}
    messages = [{"role": "assistant", "tool_calls": calls}, result]
    found = said({"messages": messages})
    assert [each.text for each in found.head[0].blocks] == ['{\n  "id": 1\n}', '{"id":', '"not a call"']
    assert found.head[0].blocks[0].title == "get_order"
    assert found.head[1].note == "c1"
    assert found.head[1].blocks[0].kind == "json"


def test_media_are_named_and_never_loaded() -> None:
    """An image is its address as text, or the kind and length of inline data."""
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "https://evil.example/track.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 90_000}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "unheard-of", "x": 1},
    ]
    blocks = said({"messages": [{"role": "user", "content": parts}]}).head[0].blocks
    assert [each.kind for each in blocks] == ["text", "media", "media", "media", "json"]
    assert blocks[1].text == "https://evil.example/track.png"
    assert blocks[2].text == "image/png;base64, 90,022 characters, not shown"
    assert blocks[3].title == "audio"


def test_long_texts_are_cut_and_say_so() -> None:
    """A megabyte of text shows its beginning and counts what is left out."""
    (block,) = said({"messages": [{"role": "user", "content": "x" * 1_000_000}]}).head[0].blocks
    assert len(block.text) == BLOCK_MAX
    assert block.left_out == 1_000_000 - BLOCK_MAX


def test_long_conversations_show_both_ends() -> None:
    """Ten thousand messages: the first, the last, and how many stand between."""
    found = said({"messages": [{"role": "user", "content": str(n)} for n in range(10_000)]})
    assert (len(found.head), len(found.tail)) == (TURNS_HEAD, TURNS_TAIL)
    assert found.left_out == 10_000 - TURNS_HEAD - TURNS_TAIL
    assert found.tail[-1].blocks[0].text == "9999"


def test_other_operations_are_shown() -> None:
    """A prompt, texts to embed, several answers, vectors."""
    assert said({"prompt": "Once"}).head[0].role == "prompt"
    assert [turn.blocks[0].text for turn in said({"input": ["a", "b"]}).head] == ["a", "b"]
    answers = said({"prompt": "x"}, {"choices": [{"text": "one"}, {"text": ""}]}).answers
    assert [turn.note for turn in answers] == ["answer 1 of 2", "answer 2 of 2"]
    assert answers[1].blocks[0].kind == "empty"
    assert "3 vectors" in said({"input": "a"}, {"data": [1, 2, 3]}).answers[0].blocks[0].text


def test_an_error_stands_in_place_of_an_answer() -> None:
    """The message that the caller got is shown, and no answer is made up."""
    found = said({"messages": []}, {"error": {"message": "no such model", "type": "x"}})
    assert found.error == "no such model"
    assert found.answers == ()


def test_other_fields_are_listed_short() -> None:
    """What shaped the call beside the messages is listed, long values cut, tools by name."""
    found = dict(
        said(
            {
                "messages": [],
                "model": "m",
                "temperature": 0.2,
                "tools": [{"type": "function", "function": {"name": "get_order"}}, 7],
                "stop": "s" * 500,
            }
        ).settings
    )
    assert found["temperature"] == "0.2"
    assert found["tools"] == "get_order, ?"
    assert found["stop"].endswith(" …")
    assert "model" not in found


def run_in_shell(command: str, tmp_path: Any) -> list[str]:
    """The arguments that `curl` would get from a POSIX shell."""
    fake = tmp_path / "curl"
    fake.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done\n')
    fake.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "OPENAI_API_KEY": "ab_key"}
    done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, check=True, timeout=60)
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize(
    "content",
    [
        "plain",
        "it's $HOME `id` \\ \" !x",
        "line\nline\r\n\ttab",
        "nul \x00 and \u202e and \u2028",
        "'; rm -rf /; '",
        "é 漢 🛩",
        "-d @file",
    ],
)
def test_curl_sends_the_same_body(content: str, tmp_path: Any) -> None:
    """A real shell hands curl one argument that is the recorded request, whatever it holds."""
    request = {"model": "m", "messages": [{"role": "user", "content": content}]}
    command = curl(sample(request=request, operation="chat", stream=False), base_url=BASE_URL)
    assert command is not None
    words = run_in_shell(command, tmp_path)
    assert words[:2] == ["-sS", f"{BASE_URL}/chat/completions"]
    assert words[3] == "Authorization: Bearer ab_key"
    assert words[-2] == "--data-raw"
    assert json.loads(words[-1]) == request
    assert "\u202e" not in command


def test_curl_never_holds_a_key() -> None:
    """The key is left to the environment."""
    command = curl(sample(request={"model": "m"}), base_url=BASE_URL)
    assert command is not None
    assert "Bearer $OPENAI_API_KEY" in command


def test_curl_reads_long_bodies_from_a_file() -> None:
    """A body that no argument can hold comes from request.json; without a body there is no command."""
    command = curl(sample(request={"input": "x" * INLINE_MAX}, operation="embeddings"), base_url=BASE_URL)
    assert command is not None
    assert "--data-binary @request.json" in command
    assert "/embeddings'" in command
    assert len(command) < 400
    assert curl(sample(request=None), base_url=BASE_URL) is None


def test_bodies_too_deep_are_named() -> None:
    """What Python cannot write is said, not a failure."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert "too deep" in body_text(deep)


def attempts(*spans: tuple[float, float, str | None]) -> tuple[Attempt, ...]:
    """Attempts by start, length and error."""
    return tuple(
        Attempt(
            provider="p",
            model="m",
            url="u",
            start_ms=start,
            latency_ms=length,
            ttft_ms=None if error else 50.0,
            error_type=error,
        )
        for start, length, error in spans
    )


def test_the_waterfall_shows_where_the_time_went() -> None:
    """Ours, a failed attempt, the pause, waiting, streaming: in percent of the whole."""
    record = sample(
        stream=True,
        latency_ms=1_000.0,
        ttft_ms=550.0,
        attempts=attempts((100, 200, "timeout"), (500, 500, None)),
    )
    found = waterfall(record)
    assert found is not None
    assert [row.label for row in found.rows] == ["before upstream", "1 · p", "2 · p"]
    assert [(bar.kind, bar.left, bar.width) for row in found.rows for bar in row.bars] == [
        ("ours", 0.0, 10.0),
        ("failed", 10.0, 20.0),
        ("wait", 50.0, 5.0),
        ("stream", 55.0, 45.0),
    ]
    assert found.first_token == 55.0
    assert found.kinds == {"ours", "failed", "wait", "stream"}


@given(
    latency=st.floats(0, 1e9),
    ttft=st.none() | st.floats(0, 1e9),
    spans=st.lists(
        st.tuples(st.floats(-1e3, 1e9), st.floats(-1e3, 1e9), st.none() | st.just("x")), max_size=20
    ),
    stream=st.booleans(),
)
def test_no_times_break_the_picture(latency: float, ttft: float | None, spans: Any, stream: bool) -> None:
    """Whatever was measured, every bar stays inside and the axis has few marks."""
    found = waterfall(sample(latency_ms=latency, ttft_ms=ttft, attempts=attempts(*spans), stream=stream))
    if found is None:
        return
    for row in found.rows:
        for bar in row.bars:
            assert 0 <= bar.left <= bar.left + bar.width <= 100.0001
    assert 2 <= len(found.ticks) <= 8
    assert all(0 <= tick.left <= 100.0001 for tick in found.ticks)


def test_a_call_without_time_has_no_picture() -> None:
    """Nothing measured, nothing drawn; a call that never went upstream is all ours."""
    assert waterfall(sample(latency_ms=0.0, attempts=())) is None
    found = waterfall(sample(latency_ms=3.0, attempts=(), ttft_ms=None))
    assert found is not None
    assert [row.label for row in found.rows] == ["call"]


def test_what_was_said_in_attempts_that_failed_stands_below_them() -> None:
    """For readers alone, as all that was said; not words of one that answered or is not there."""
    log = MemoryRecordLog()
    plain = sample(id="one", started_at=NOW)
    (answered,) = plain.attempts
    failed = msgspec.structs.replace(answered, error_type="insufficient_quota", status_code=429)
    told = [
        {"attempt": 1, "message": "You exceeded <b>your quota</b>"},
        {"attempt": 2, "message": "You exceeded <b>your quota</b>"},
        {"attempt": 3, "message": "of one that answered"},
        {"attempt": 9, "message": "of none"},
        {"attempt": "1", "message": 5},
    ]
    put(
        log,
        msgspec.structs.replace(
            plain, attempts=(failed, failed, answered), response=plain.response | {"failed_attempts": told}
        ),
    )
    site = Site(log=log)
    text = site.person().get("/records/one").text
    table = text[text.index('<table class="attempts">') :].partition("</table>")[0]
    assert table.count("You exceeded &lt;b&gt;your quota&lt;/b&gt;") == 1
    assert table.count("the same words") == 1
    assert "of one that answered" not in table
    assert "of none" not in table
    assert table.count("its-words") == 2
    assert table.count(f'href="/system/providers#{answered.provider}/{answered.model}"') == 3
    assert "You exceeded" not in text[text.index("<h2>Conversation") : text.index("<h2>Timing")]
    unread = site.person("viewer").get("/records/one").text
    assert "<h2>Attempts" in unread
    assert "You exceeded" not in unread
