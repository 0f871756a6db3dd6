"""What a local engine is sent."""

from __future__ import annotations

import json
from typing import Any

from airboss.domain.release import ModelVersion, Release
from airboss.domain.request import Operation
from airboss.gateway.engine_wire import engine_answers, engine_body
from airboss.gateway.wire import parse_body

MODEL = ModelVersion(provider="local", kind="local", model="m")
BARE = Release(digest="d" * 64, name="r", model=MODEL)
CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
STREAMED = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}


def sent(raw: bytes, operation: Operation = "chat", release: Release = BARE) -> dict[str, Any]:
    """What goes to the engine for a body."""
    found = json.loads(engine_body(raw, parse_body(operation, raw), release=release))
    assert isinstance(found, dict)
    return found


def test_always_a_stream() -> None:
    """Whatever the client asked for, the engine streams, with usage and progress; a whole chat answer begins
    with the message that it goes on from."""
    whole = json.loads(CHAT) | STREAMED
    assert sent(CHAT) == whole | {"echo": True}
    assert sent(CHAT.replace(b"{", b'{"stream":false,', 1)) == whole | {"echo": True}
    assert sent(CHAT.replace(b"{", b'{"stream":true,', 1)) == whole
    text = b'{"model":"m","prompt":"hi"}'
    assert sent(text, "text_completion") == json.loads(text) | STREAMED


def test_a_member_in_disguise_is_sent_once() -> None:
    """The engine reads what was judged, however its name is written."""
    raw = CHAT.replace(b"{", rb'{"str\u0065am":false,"\u006e":2,', 1)
    body = engine_body(raw, parse_body("chat", raw), release=BARE)
    assert body.count(b'"stream"') == 1
    assert b"u0065" not in body
    assert sent(raw)["n"] == 2


def test_only_known_members_are_sent() -> None:
    """What nobody knows stays here, but for what the operator put into the release."""
    raw = CHAT.replace(b"{", b'{"nobody_knows":1,"store":true,"top_k":5,"prompt_cache_key":"x",', 1)
    assert sent(raw) == json.loads(CHAT) | {"top_k": 5, "echo": True} | STREAMED
    release = Release(
        digest="d" * 64, name="r", model=MODEL, params={"grammar": "x"}, params_force={"id_slot": 0}
    )
    rendered = CHAT.replace(b"{", b'{"grammar":"x","id_slot":0,', 1)
    assert sent(rendered, release=release) == json.loads(rendered) | {"echo": True} | STREAMED


def test_what_is_null_is_left_out() -> None:
    """Of messages and tools, where libraries write what is not set: the engine fails at it. A schema keeps
    it."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    schema = {"type": "object", "properties": {"a": {"enum": [None, 1], "default": None}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = {"model": "m", "messages": [said], "tools": [tool]}
    unset = {"name": None, "refusal": None, "audio": None, "reasoning_content": None, "tool_call_id": None}
    loud = json.loads(json.dumps(body))
    loud["messages"][0] |= unset
    loud["messages"][0]["tool_calls"][0] |= {"index": None}
    loud["tools"][0]["function"] |= {"description": None, "strict": None}
    assert sent(json.dumps(loud).encode()) == body | {"echo": True} | STREAMED


def test_tools_with_logprobs_are_asked_for_whole() -> None:
    """The engine refuses the two together in a stream; a client that wants a stream is told so by it."""
    raw = CHAT.replace(b"{", b'{"tools":[{"type":"function"}],"logprobs":true,', 1)
    assert "stream" not in sent(raw)
    assert sent(raw.replace(b"{", b'{"stream":true,', 1))["stream"] is True


def test_answers_a_prompt() -> None:
    """The client's `n`, but for what the release says."""
    two = parse_body("chat", CHAT.replace(b"{", b'{"n":2,', 1))
    assert engine_answers(parse_body("chat", CHAT), BARE) == 1
    assert engine_answers(two, BARE) == 2
    filled = Release(digest="d" * 64, name="r", model=MODEL, params={"n": 3})
    forced = Release(digest="d" * 64, name="r", model=MODEL, params_force={"n": 4})
    assert engine_answers(parse_body("chat", CHAT), filled) == 3
    assert engine_answers(two, filled) == 2
    assert engine_answers(two, forced) == 4
