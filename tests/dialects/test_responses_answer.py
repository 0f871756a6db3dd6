"""Chat answers as OpenAI's Responses: golden cases, streams cut in every way, and failures."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from airboss.dialects.chat_said import read_said
from airboss.dialects.responses_answer import ResponsesSpeech
from airboss.dialects.responses_items import as_history
from airboss.dialects.responses_request import read_responses
from tests.dialects.said import call, chunk, events, piece, streamed, usage_chunk, whole

RECORD = "0197b0f2-6c1e-7cc2-9a3e-0d3a8f1b2c4d"
HEX = RECORD.replace("-", "")


def speech(**members: Any) -> ResponsesSpeech:
    """A call's speech."""
    asked = read_responses(json.dumps({"model": "asked", "input": "hi"} | members).encode())
    made = ResponsesSpeech(asked, created_at=1_700_000_000, kept=True)
    made.record_id = RECORD
    return made


def response(chat: bytes, **members: Any) -> Any:
    """What a whole answer becomes."""
    return json.loads(speech(**members).whole(chat))


def output_text(text: str) -> dict[str, Any]:
    """A part."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def message(*parts: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    """A message in the output."""
    return {
        "id": f"msg_{HEX}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": list(parts),
    }


def test_a_whole_answer() -> None:
    """The response says what was asked and what was answered; its id is made of the record's."""
    tools = [{"type": "function", "name": "f"}]
    said = response(
        whole(content="Hi."), instructions="I", temperature=0.5, tools=tools, metadata={"a": "b"}, user="u"
    )
    assert said == {
        "id": f"resp_{HEX}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": "I",
        "max_output_tokens": None,
        "metadata": {"a": "b"},
        "model": "up",
        "output": [message(output_text("Hi."))],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": 0.5,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": tools,
        "top_p": None,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 20,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 6},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 27,
        },
        "user": "u",
    }


def function_call(number: int, arguments: str, status: str = "completed") -> dict[str, Any]:
    """A call in the output."""
    return {
        "id": f"fc_{HEX}" + (f"_{number}" if number else ""),
        "type": "function_call",
        "status": status,
        "call_id": f"call_{number}",
        "name": "look_up",
        "arguments": arguments,
    }


OUTPUTS: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({"content": ""}, []),
    ({"refusal": "No."}, [message({"type": "refusal", "refusal": "No."})]),
    (
        {"content": "x", "refusal": "No."},
        [message(output_text("x"), {"type": "refusal", "refusal": "No."})],
    ),
    (
        {"content": "x", "reasoning_content": "hm"},
        [
            {
                "id": f"rs_{HEX}",
                "type": "reasoning",
                "status": "completed",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "hm"}],
            },
            message(output_text("x")),
        ],
    ),
    (
        {"content": "x", "tool_calls": [call(0), call(1, arguments="")]},
        [message(output_text("x")), function_call(0, '{"a":1}'), function_call(1, "{}")],
    ),
]


@pytest.mark.parametrize(("said", "wanted"), OUTPUTS)
def test_output(said: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    """Words, thoughts and calls each have their item."""
    assert response(whole(**said))["output"] == wanted


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter"), (None, None)],
)
def test_incomplete(finish: str | None, reason: str | None) -> None:
    """An answer that was cut short is incomplete, and so is its message; of a broken one nobody says why."""
    said = response(whole(finish, content="x"))
    details = {"reason": reason} if reason is not None else None
    assert (said["status"], said["incomplete_details"]) == ("incomplete", details)
    assert said["output"] == [message(output_text("x"), status="incomplete")]


def test_logprobs() -> None:
    """Log probabilities stand with the text, whole and streamed."""
    odds = {"content": [{"token": "x", "logprob": -1.0, "bytes": [120], "top_logprobs": []}]}
    value = json.loads(whole(content="x"))
    value["choices"][0]["logprobs"] = odds
    assert response(json.dumps(value).encode())["output"][0]["content"][0]["logprobs"] == odds["content"]
    made = speech()
    event = json.loads(chunk(content="x"))
    event["choices"][0]["logprobs"] = odds
    out = made.event(json.dumps(event).encode()) + made.event(chunk(finish="stop")) + made.end()
    found = dict(events(out))
    assert found["response.output_text.delta"]["logprobs"] == odds["content"]
    assert found["response.output_text.done"]["logprobs"] == odds["content"]


def test_thoughts_as_the_summary_that_was_asked_for() -> None:
    """They stand where OpenAI's clients show them, whole and in a stream, and its events are OpenAI's."""
    said = response(whole(content="x", reasoning_content="hm"), reasoning={"summary": "auto"})
    thoughts = {"id": f"rs_{HEX}", "type": "reasoning", "status": "completed"}
    assert said["output"][0] == thoughts | {"summary": [{"type": "summary_text", "text": "hm"}]}
    assert said["reasoning"]["summary"] == "auto"
    made = speech(reasoning={"generate_summary": "concise"})
    out = made.event(chunk(reasoning_content="h")) + made.event(chunk(reasoning_content="m"))
    out += made.event(chunk(content="x")) + made.event(chunk(finish="stop")) + made.end()
    found = events(out)
    assert [name for name, _ in found if "reasoning" in name] == [
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
    ]
    assert all(data["summary_index"] == 0 for name, data in found if "reasoning" in name)
    assert found[-1][1]["response"]["output"] == said["output"]


def test_a_stream() -> None:
    """The events are OpenAI's, in its order, numbered without a gap."""
    made = speech()
    out = made.event(chunk(role="assistant", content=""))
    out += made.event(chunk(content="Hi")) + made.event(chunk(content="."))
    out += made.event(chunk(finish="stop")) + made.event(usage_chunk()) + made.end()
    found = events(out)
    assert [name for name, _ in found] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert all(name == data["type"] for name, data in found)
    assert [data["sequence_number"] for _, data in found] == list(range(10))
    assert found[0][1]["response"]["status"] == "in_progress"
    assert found[6][1]["text"] == "Hi."
    assert found[-1][1]["response"] == response(whole(content="Hi."))


def put_together(out: bytes) -> Any:
    """A stream as the response that its last event has; what was streamed must be what the items say."""
    items: dict[int, Any] = {}
    texts: dict[tuple[int, int], str] = {}
    arguments: dict[int, str] = {}
    last: Any = None
    for number, (name, data) in enumerate(events(out)):
        assert data["sequence_number"] == number
        last = data.get("response", last)
        index = data.get("output_index")
        if name == "response.output_item.added":
            assert index == len(items)
            items[index] = None
        elif name == "response.output_item.done":
            assert items[index] is None
            items[index] = data["item"]
        elif name == "response.function_call_arguments.delta":
            arguments[index] = arguments.get(index, "") + data["delta"]
        elif name == "response.function_call_arguments.done":
            assert data["arguments"] == arguments.get(index, "")
        elif name.endswith("_text.delta"):
            at = (index, data["content_index"])
            texts[at] = texts.get(at, "") + data["delta"]
        elif name.endswith("_text.done"):
            assert data["text"] == texts[index, data["content_index"]]
    assert [items[index] for index in range(len(items))] == last["output"]
    return last


@given(streamed())
def test_a_stream_is_the_whole(said: tuple[dict[str, Any], str, list[bytes]]) -> None:
    """However an answer is cut, and calls interleave, the stream makes the response that the whole makes."""
    answer, finish, chunks = said
    made = speech()
    out = b"".join(made.event(each) for each in chunks) + made.end()
    assert put_together(out) == response(whole(finish, **answer))


def test_calls_that_take_turns_come_one_after_the_other() -> None:
    """As OpenAI says them: clients take what comes of another item for a new one."""
    made, arguments = speech(), ('{"a": 1}', '{"b": 2}', "", '{"c": 3}')
    out = b"".join(
        made.event(chunk(tool_calls=[piece(n, id=f"call_{n}", name="f", arguments="")])) for n in range(4)
    )
    for at in range(0, 8, 2):
        turns = [piece(n, arguments=text[at : at + 2]) for n, text in enumerate(arguments) if text]
        out += b"".join(made.event(chunk(tool_calls=[each])) for each in turns)
    before = [data["output_index"] for name, data in events(out) if name.endswith("arguments.delta")]
    assert before == sorted(before), "none waits for the end"
    assert set(before) == {0, 1, 3}
    out += made.event(chunk(finish="tool_calls")) + made.end()
    called = [item["arguments"] for item in events(out)[-1][1]["response"]["output"]]
    assert called == ['{"a": 1}', '{"b": 2}', "{}", '{"c": 3}']


def test_a_stream_that_fails() -> None:
    """It ends with `response.failed`, with the error and what there was; nothing in it looks complete."""
    made = speech()
    out = made.event(chunk(content="Hi"))
    out += made.event(chunk(tool_calls=[piece(0, id="call_0", name="look_up", arguments='{"a"')]))
    body = json.dumps({"error": {"message": "no", "type": "upstream_error", "code": "stream_cut"}}).encode()
    out += made.error_event(body)
    name, data = events(out)[-1]
    assert name == "response.failed"
    said = data["response"]
    assert (said["status"], said["error"]["code"], said["error"]["message"]) == ("failed", "stream_cut", "no")
    assert said["output"] == [message(output_text("Hi")), function_call(0, '{"a"', status="incomplete")]
    assert "response.function_call_arguments.done" not in [name for name, _ in events(out)]
    assert [data["sequence_number"] for _, data in events(out)] == list(range(len(events(out))))


def test_a_text_that_fails_is_incomplete() -> None:
    """The message that was cut says so, with what had come of it."""
    made = speech()
    made.event(chunk(content="Hi"))
    ((_, data),) = events(made.error_event(b"{}"))
    assert data["response"]["output"] == [message(output_text("Hi"), status="incomplete")]


def test_words_after_a_call_are_a_second_message() -> None:
    """Words, a call, words: three items."""
    made = speech()
    made.event(chunk(content="a"))
    made.event(chunk(tool_calls=[piece(0, id="call_0", name="look_up", arguments="{}")]))
    made.event(chunk(content="b"))
    made.event(chunk(finish="stop"))
    output = dict(events(made.end()))["response.completed"]["response"]["output"]
    assert [each["type"] for each in output] == ["message", "function_call", "message"]
    assert len({each["id"] for each in output}) == 3


def test_history() -> None:
    """What later requests have of an answer: its words and calls, without what servers add."""
    value = json.loads(whole(content="x", tool_calls=[call(0)], annotations=[], audio=None))
    assert as_history(read_said(json.dumps(value).encode()), str) == {
        "role": "assistant",
        "content": "x",
        "tool_calls": [call(0)],
    }
    assert as_history(read_said(whole(tool_calls=[call(0)])), str)["content"] is None
    assert as_history(read_said(whole(content="", refusal="no")), str) == {
        "role": "assistant",
        "content": "",
        "refusal": "no",
    }


def test_a_call_is_kept_by_the_id_that_its_client_knows() -> None:
    """Two with one id, and one with none, have ids of ours: results name those."""
    calls = [call(0), call(0), call(1) | {"id": None}]
    made = speech()
    told = [item["call_id"] for item in json.loads(made.whole(whole(tool_calls=calls)))["output"]]
    kept = [each["id"] for each in as_history(read_said(whole(tool_calls=calls)), made.call_id)["tool_calls"]]
    assert kept == told
    assert len(set(told)) == 3


def test_not_kept() -> None:
    """A response that could not be kept says so in its last event."""
    made = speech()
    made.event(chunk(content="x"))
    made.kept = False
    assert dict(events(made.end()))["response.incomplete"]["response"]["store"] is False
