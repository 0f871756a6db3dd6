"""An engine's stream put together; against the engine's own whole answers in tests/gateway/test_engine.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.domain.errors import UpstreamFailed
from airboss.domain.request import Operation
from airboss.providers.engine_answer import CALLS_MAX, CHOICES_MAX, EngineAnswer
from airboss.providers.usage import Usage, UsageSum

HEAD = {"created": 5, "id": "chatcmpl-1", "model": "m", "system_fingerprint": "b0"}


def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    """An event's data."""
    return json.dumps({"choices": choices, **HEAD, **more}, ensure_ascii=False).encode()


def delta(index: int = 0, finish: str | None = None, **said: Any) -> dict[str, Any]:
    """A piece of one answer."""
    return {"index": index, "delta": said, "finish_reason": finish}


def usage(prompt: int, output: int, cached: int = 0) -> dict[str, Any]:
    """One answer's usage."""
    return {
        "completion_tokens": output,
        "prompt_tokens": prompt,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def whole(*events: bytes, operation: Operation = "chat", n: int = 1) -> dict[str, Any]:
    """The answer made of events."""
    answer = EngineAnswer(operation, n=n)
    for each in events:
        assert answer.add(each) is None
    assert answer.unfinished is None
    found = json.loads(answer.whole())
    assert isinstance(found, dict)
    return found


def test_every_channel_of_a_message() -> None:
    """Content, reasoning, refusal and tool calls that come in pieces stand whole beside each other."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}
    found = whole(
        event([delta(role="assistant", content=None)]),
        event([delta(reasoning_content="hm")]),
        event([delta(reasoning_content="m", content="é")]),
        event([delta(content="😀", refusal="no")]),
        event([delta(tool_calls=[call])]),
        event([delta(tool_calls=[{"index": 1, "id": "d", "function": {"name": "g"}}])]),
        event([delta(tool_calls=[{"index": 0, "function": {"arguments": "}"}}])]),
        event([delta(finish="tool_calls")]),
        event([], usage=usage(3, 4), timings={"x": 1.50}),
    )
    assert found["object"] == "chat.completion"
    assert (found["usage"], found["timings"], found["id"]) == (usage(3, 4), {"x": 1.5}, "chatcmpl-1")
    (choice,) = found["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "é😀",
        "reasoning_content": "hmm",
        "refusal": "no",
        "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": "{}"}, "id": "c"},
            {"type": "function", "function": {"name": "g", "arguments": ""}, "id": "d"},
        ],
    }


def test_numbers_keep_their_digits() -> None:
    """A log probability is passed on as it was written, not as another reader would write it."""
    raw = b'{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"logprob":-1.10}]},'
    raw += b'"finish_reason":"stop"}],"created":1,"id":"i","model":"m"}'
    answer = EngineAnswer("chat", n=1)
    answer.add(raw)
    assert b'"logprobs":{"content":[{"logprob":-1.10}]}' in answer.whole()
    assert b"usage" not in answer.whole()


def test_several_answers_in_any_order() -> None:
    """Answers stand by their index; a prompt counts once, whatever the number of its answers."""
    text = [{"index": i, "text": t, "logprobs": None, "finish_reason": None} for i, t in ((2, "c"), (0, "a"))]
    ends = [
        event([{"index": i, "text": "", "finish_reason": "stop"}], usage=usage(10, i + 1, 4)) for i in (1, 0)
    ]
    ends += [
        event([{"index": i, "text": "", "finish_reason": "length"}], usage=usage(7, i + 1)) for i in (3, 2)
    ]
    found = whole(event(text[:1]), event(text[1:]), *ends, operation="text_completion", n=2)
    assert found["object"] == "text_completion"
    assert [(c["index"], c["text"], c["finish_reason"]) for c in found["choices"]] == [
        (0, "a", "stop"),
        (1, "", "stop"),
        (2, "c", "length"),
        (3, "", "length"),
    ]
    assert found["usage"] == usage(17, 10, 4)


def test_what_is_missing_is_told() -> None:
    """An answer is whole when each choice has said why it ended; usage may fall short of that."""
    answer = EngineAnswer("chat", n=2)
    assert answer.unfinished == "before its first token"
    answer.add(event([delta(content="abc")]))
    answer.add(event([delta(1, content="d", finish="stop")], usage=usage(1, 1)))
    assert answer.unfinished == "after 4 characters"
    assert answer.usage_short
    answer.add(event([delta(finish="stop")]))
    assert answer.unfinished is None
    assert answer.usage_short


def test_an_error_event_is_handed_back() -> None:
    """It is the caller's to make an error of; nothing of it is in the answer."""
    error = b'{"error":{"code":500,"message":"no","type":"server_error"}}'
    assert EngineAnswer("chat", n=1).add(error) == error


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"choices":5}',
        b'{"choices":[{"delta":{"content":5}}]}',
        b'{"usage":5}',
        b'"\xff"',
    ],
)
def test_what_no_engine_sends(payload: bytes) -> None:
    """It is a failure of the upstream, told in words."""
    with pytest.raises(UpstreamFailed, match="cannot be read"):
        EngineAnswer("chat", n=1).add(payload)


def test_an_endless_stream_is_bounded() -> None:
    """Neither answers nor tool calls can be without number."""
    answer = EngineAnswer("chat", n=1)
    with pytest.raises(UpstreamFailed, match="1024 answers"):
        answer.add(event([delta(i, content="x") for i in range(CHOICES_MAX + 1)]))
    calls = [{"index": i, "function": {"name": "f"}} for i in range(CALLS_MAX + 1)]
    with pytest.raises(UpstreamFailed, match="1024 tool calls"):
        EngineAnswer("chat", n=1).add(event([delta(tool_calls=calls)]))


def test_a_sum_of_nothing() -> None:
    """No report is no usage, not a zero; `n` below one is one."""
    total = UsageSum(0)
    assert total.total() is None
    total.add(Usage(prompt_tokens=3, completion_tokens=2))
    found = total.total()
    assert found is not None
    assert (found.prompt_tokens, found.completion_tokens, found.cached, found.reasoning) == (3, 2, 0, 0)
