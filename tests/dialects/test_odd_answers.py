"""Whatever JSON an upstream says, both dialects say something, and nothing breaks but a broken call."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.dialects.chat_said import read_error_said, read_said
from airboss.dialects.responses_items import as_history
from airboss.domain.errors import UpstreamFailed
from airboss.providers.assembly import Assembly
from airboss.providers.compatible import read_reply
from tests.dialects.said import chunk, events, piece
from tests.dialects.test_messages_answer import put_together
from tests.dialects.test_messages_answer import speech as messages
from tests.dialects.test_responses_answer import speech as responses

WORDS = ["index", "delta", "message", "content", "text", "tool_calls", "function", "name", "arguments", "id"]
WORDS += [
    "choices",
    "usage",
    "finish_reason",
    "reasoning_content",
    "thinking_blocks",
    "logprobs",
    "error",
    "type",
]
WORDS += ["completion_tokens", "prompt_tokens", "prompt_tokens_details", "signature", "thinking", "code"]
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
shapes = st.recursive(
    leaves | st.sampled_from(["stop", "thinking", "redacted_thinking"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=20,
)
deltas = st.dictionaries(st.sampled_from(WORDS), shapes, max_size=4)
choice = st.fixed_dictionaries({}, optional={"index": shapes, "delta": deltas, "finish_reason": shapes})
pieces = st.fixed_dictionaries({}, optional={"choices": st.lists(choice, max_size=2), "usage": shapes})


@given(st.lists(pieces | shapes, max_size=5))
def test_streams(said: list[Any]) -> None:
    """A stream of anything ends in order, or fails as a broken one does."""
    for made, last in (
        (messages(), {"message_stop"}),
        (responses(), {"response.completed", "response.incomplete"}),
    ):
        out = b""
        with contextlib.suppress(UpstreamFailed):
            for each in said:
                out += made.event(json.dumps(each).encode())
            out += made.end()
            assert events(out)[-1][0] in last
        made.error_event(b"{}")


@pytest.mark.parametrize("index", [0, 1, 7])
def test_choices_that_are_counted_otherwise(index: int) -> None:
    """An only choice is the answer, whatever its number; of several the first is, and no other."""
    said = {"index": index, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    other = {"index": index + 1, "message": {"role": "assistant", "content": "no"}, "finish_reason": "length"}
    for choices in ([said], [said, other], [other, said]):
        answer = json.dumps({"model": "up", "choices": choices}).encode()
        told = json.loads(messages().whole(answer))
        assert (told["content"], told["stop_reason"]) == ([{"type": "text", "text": "yes"}], "end_turn")
        assert json.loads(responses().whole(answer))["output"][0]["content"][0]["text"] == "yes"
    for made in (messages(), responses()):
        out = b"".join(
            made.event(each)
            for each in (
                chunk(index=index, role="assistant", content="y"),
                chunk(index=index + 1, content="no"),
                chunk(index=index, content="es"),
                chunk(index=index + 1, finish="length"),
                chunk(index=index, finish="stop"),
            )
        )
        out += made.end()
        deltas = [event["delta"] for _, event in events(out) if event["type"].endswith("delta")]
        texts = [each if isinstance(each, str) else each.get("text", "") for each in deltas]
        assert "".join(texts) == "yes"
        assert b"max_tokens" not in out.split(b"event: message_delta")[-1]
        assert b"response.incomplete" not in out


CALLS: dict[str, list[tuple[int | None, str | None, str | None, str]]] = {
    "one index for all": [(0, "a", "f", '{"x":'), (0, None, None, "1}"), (0, "b", "g", "{}")],
    "one index for all, then another": [
        (0, "a", "f", '{"x":1}'),
        (0, "b", "g", "{}"),
        (1, "c", "h", "{}"),
    ],
    "one id for all": [(0, "a", "f", '{"x":1}'), (1, "a", "g", "{}")],
    "another id with every piece": [(0, "a", "f", '{"x":'), (0, "b", None, "1}"), (1, "c", "g", "{}")],
    "one index for all and no ids": [(0, None, "f", '{"x":'), (0, None, "f", "1}"), (0, None, "g", "{}")],
    "one index and one id for all": [(0, "a", "f", '{"x":1}'), (0, "a", "g", ""), (0, "a", None, "{}")],
    "no index and one id for all": [(None, "a", "f", '{"x":1}'), (None, "a", "g", "{}")],
    "indexes from one and no ids": [(1, None, "f", '{"x":1}'), (2, None, "g", "{}")],
    "the second first": [(1, "b", "f", '{"x":1}'), (0, "a", "g", "{}")],
    "a name with every piece": [(0, "a", "f", ""), (0, "a", "f", '{"x":1}'), (1, "b", "g", "{}")],
    "nothing to say": [(0, "a", "f", '{"x":1}'), (1, "b", "g", "")],
}


@pytest.mark.parametrize("case", CALLS)
def test_calls_are_told_apart(case: str) -> None:
    """However a server numbers and names them, each is there, with an id of its own and arguments."""
    chunks = [
        chunk(tool_calls=[piece(index, id=id_, name=name, arguments=arguments)])
        for index, id_, name, arguments in CALLS[case]
    ]
    chunks.append(chunk("tool_calls"))
    blocks: dict[int, list[str]] = {}
    ids = []
    made = messages()
    for name, event in events(b"".join(map(made.event, chunks)) + made.end()):
        if name == "content_block_start":
            blocks[event["index"]] = [event["content_block"]["name"]]
            ids.append(event["content_block"]["id"])
        elif name == "content_block_delta":
            blocks[event["index"]].append(event["delta"]["partial_json"])
    wanted = [("f", {"x": 1}), ("g", {})] + [("h", {})] * (len(blocks) - 2)
    assert [(name, json.loads("".join(text) or "{}")) for name, *text in blocks.values()] == wanted
    answer = responses()
    said = events(b"".join(map(answer.event, chunks)) + answer.end())
    items = said[-1][1]["response"]["output"]
    assert [(item["name"], json.loads(item["arguments"])) for item in items] == wanted
    for each in (ids, [item["call_id"] for item in items], [item["id"] for item in items]):
        assert len(set(each)) == len(wanted) == 2 + ("another" in case and "then" in case)
    deltas = dict[str, str]()
    for name, event in said:
        if name == "response.function_call_arguments.delta":
            deltas[event["item_id"]] = deltas.get(event["item_id"], "") + event["delta"]
    assert deltas == {item["id"]: item["arguments"] for item in items}


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize("finish", ["tool_calls", "length"])
def test_calls_are_kept_as_they_were_told(case: str, finish: str) -> None:
    """What is put together of a stream, to be kept, has each call as the client was told of it."""
    made, assembly = responses(), Assembly("chat")
    out = b""
    for index, id_, name, arguments in CALLS[case]:
        data = chunk(tool_calls=[piece(index, id=id_, name=name, arguments=arguments)])
        assembly.add(read_reply(data))
        out += made.event(data)
    assembly.add(read_reply(chunk(finish)))
    out += made.event(chunk(finish))
    answer = assembly.response()
    assert answer is not None
    response = json.loads(made.whole(answer))
    history = as_history(made.as_told(read_said(answer)), made.call_id)
    told = events(out + made.end())[-1][1]["response"]["output"]
    assert response["output"] == told
    assert [(each["id"], *each["function"].values()) for each in history["tool_calls"]] == [
        (each["call_id"], each["name"], each["arguments"]) for each in told
    ]


def test_words_amid_arguments_come_behind_them() -> None:
    """Blocks come one after another; nothing of either is lost."""
    chunks = [
        chunk(content="I look. "),
        chunk(tool_calls=[piece(0, id="a", name="f", arguments='{"x"')]),
        chunk(content="And "),
        chunk(content="again."),
        chunk(tool_calls=[piece(0, arguments=":1}")]),
        chunk(tool_calls=[piece(1, id="b", name="g", arguments="")]),
        chunk(content=" Done."),
        chunk("tool_calls"),
    ]
    made = messages()
    said: list[str] = []
    for name, event in events(b"".join(map(made.event, chunks)) + made.end()):
        if name == "content_block_start":
            said.append(event["content_block"].get("name", ""))
        elif name == "content_block_delta":
            said[-1] += event["delta"].get("text") or event["delta"].get("partial_json", "")
    assert said == ["I look. ", 'f{"x":1}', "And again. Done.", "g"]


def test_words_flow_past_a_call_without_arguments() -> None:
    """They come at once, and the call behind them, also where its arguments come after all."""
    for arguments, given_ in (("", []), ("{}", [piece(0, arguments="{}")])):
        made = messages()
        made.event(chunk(tool_calls=[piece(0, id="a", name="f", arguments="")]))
        for word in ("hello ", "world"):
            out = made.event(chunk(content=word))
            assert events(out)[-1][1]["delta"] == {"type": "text_delta", "text": word}
        out = b"".join(made.event(chunk(tool_calls=[each])) for each in given_) + made.end()
        deltas = [data["delta"] for name, data in events(out) if name == "content_block_delta"]
        assert "".join(each["partial_json"] for each in deltas) == arguments
        assert b'"name":"f"' in out


def test_thoughts_amid_arguments_come_behind_them() -> None:
    """A signed block waits like the words before it, and the call goes on."""
    signed = {"type": "thinking", "thinking": "T", "signature": "S"}
    hidden = {"type": "redacted_thinking", "data": "D"}
    made = messages()
    out = b"".join(
        map(
            made.event,
            [
                chunk(tool_calls=[piece(0, id="a", name="f", arguments='{"x"')]),
                chunk(content="w"),
                chunk(thinking_blocks=[signed, hidden]),
                chunk(tool_calls=[piece(0, arguments=":1}")]),
                chunk("tool_calls"),
            ],
        )
    )
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}
    assert put_together(out + made.end())["content"] == [call, {"type": "text", "text": "w"}, signed, hidden]


def test_held_pieces_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short they are, so many as would take much memory end the stream."""
    monkeypatch.setattr("airboss.dialects.messages_answer.CHARS_MAX", 10_000)
    for held in (chunk(content="w"), chunk(thinking_blocks=[{"type": "redacted_thinking"}])):
        made = messages()
        made.event(chunk(tool_calls=[piece(0, id="a", name="f", arguments='{"x"')]))
        with pytest.raises(UpstreamFailed, match="amid a tool call"):
            b"".join(map(made.event, [held] * 100))


@given(pieces | shapes)
def test_whole_answers(said: Any) -> None:
    """A whole answer of anything is an object of the dialect."""
    for made in (messages(), responses()):
        assert isinstance(json.loads(made.whole(json.dumps(said).encode())), dict)


@given(shapes)
def test_errors(said: Any) -> None:
    """An error of anything is an error."""
    body = json.dumps({"error": said}).encode()
    assert isinstance(read_error_said(body).message, str)
    assert json.loads(messages().error(500, body))["type"] == "error"
