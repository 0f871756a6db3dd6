"""A response of OpenAI's, whole and as a stream, under a policy: no value passes, however it is cut."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airboss.domain.errors import UpstreamFailed
from airboss.governance.screening import Action, screen_text
from airboss.governance.screening_chat import Passed
from airboss.governance.screening_responses import CHANNELS_MAX, ITEMS_MAX, ResponsesScreen
from airboss.governance.screening_stream import HELD_BYTES_MAX
from tests.governance.test_screening_chat import VALUED, call_tokens
from tests.support.policies import one_action

Json = dict[str, Any]
MAIL, CARD = "jane.doe@example.com", "4111 1111 1111 1111"
SEALED = "gAAAAABo-" + "aB3_" * 40
TEXTS = {
    "output_text": ("message", "content", "text"),
    "refusal": ("message", "content", "refusal"),
    "reasoning_text": ("reasoning", "content", "text"),
    "reasoning_summary_text": ("reasoning", "summary", "text"),
}
FLAT = {
    "function_call_arguments": ("function_call", "arguments"),
    "mcp_call_arguments": ("mcp_call", "arguments"),
    "custom_tool_call_input": ("custom_tool_call", "input"),
    "code_interpreter_call_code": ("code_interpreter_call", "code"),
}


def item_of(kind: str, text: str, index: int) -> Json:
    """An item with one text."""
    if kind in FLAT:
        type_, member = FLAT[kind]
        return {
            "id": f"i_{index}",
            "type": type_,
            "status": "completed",
            "call_id": "c",
            "name": "f",
            member: text,
        }
    type_, where, member = TEXTS[kind]
    part: Json = {"type": "refusal" if kind == "refusal" else kind, member: text}
    if kind == "output_text":
        part |= {"annotations": [{"type": "url_citation", "url": f"https://e/?q={MAIL}", "title": MAIL}]}
        part |= {"logprobs": [{"token": "jane", "top_logprobs": []}]}
    return {
        "id": f"i_{index}",
        "type": type_,
        "status": "completed",
        "encrypted_content": SEALED,
        where: [part],
    }


def response_of(said: list[tuple[str, str]]) -> Json:
    """A whole response that says these texts, by kind."""
    items = [item_of(kind, text, index) for index, (kind, text) in enumerate(said)]
    return {
        "id": "resp_1", "object": "response", "status": "completed", "model": "m", "user": MAIL,
        "instructions": f"Mail {MAIL}",
        "tools": [{"type": "mcp", "parameters": {"tokens": {"type": "string"}}}],
        "output": [*items, {"id": "ws", "type": "web_search_call", "action": {"query": f"who is {MAIL}"}}],
        "usage": {"output_tokens": 3},
    }  # fmt: skip


def events_of(said: list[tuple[str, str]], source: random.Random, longest: int) -> Iterator[Json]:
    """The same as a stream, its texts cut and their events mixed."""
    whole = response_of(said)
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    queues: list[list[Json]] = []
    for index, (kind, text) in enumerate(said):
        at: Json = {"item_id": f"i_{index}", "output_index": index}
        at |= (
            {}
            if kind in FLAT
            else {"content_index": 0}
            if kind != "reasoning_summary_text"
            else {"summary_index": 0}
        )
        edges = [0]
        while edges[-1] < len(text):
            edges.append(min(len(text), edges[-1] + source.randint(1, longest)))
        item = whole["output"][index]
        # Some have the beginning of a text in what only begins it.
        queue: list[Json] = [{"type": "response.output_item.added", "output_index": index, "item": item}]
        for a, b in pairwise(edges):
            delta = {"type": f"response.{kind}.delta", **at, "delta": text[a:b], "obfuscation": "x" * 9}
            queue.append(delta | ({"logprobs": [{"token": text[a:b]}]} if kind == "output_text" else {}))
        member = FLAT[kind][1] if kind in FLAT else TEXTS[kind][2]
        if source.random() < 0.7:  # not all servers send it
            queue.append({"type": f"response.{kind.removesuffix('_delta')}.done", **at, member: text})
        queue.append({"type": "response.output_item.done", "output_index": index, "item": item})
        queues.append(queue)
    while queues:
        queue = source.choice(queues)
        yield queue.pop(0)
        queues = [each for each in queues if each]
    yield {"type": "response.output_item.done", "output_index": len(said), "item": whole["output"][-1]}
    yield {"type": "response.completed", "response": whole}


def streamed(screen: ResponsesScreen, events: Iterator[Json]) -> list[Passed]:
    """What a screen makes of a stream."""
    out: list[Passed] = []
    for number, event in enumerate(events):
        out += screen.event(json.dumps(event | {"sequence_number": number}).encode())
    return out + screen.end()


def put_together(events: list[Json]) -> dict[int, str]:
    """The texts that clients put together, by item."""
    said: dict[int, str] = defaultdict(str)
    for event in events:
        if event["type"].endswith(".delta"):
            said[event["output_index"]] += event["delta"]
    return dict(said)


def text_in(item: Json) -> str:
    """The text of an item."""
    parts = item.get("content") or item.get("summary")
    found = parts[0] if parts else item
    return next(
        str(found[name]) for name in ("text", "refusal", "arguments", "input", "code") if name in found
    )


KINDS = st.sampled_from([*TEXTS, *FLAT])
SAID = st.lists(
    st.tuples(KINDS, VALUED).map(
        lambda each: (each[0], json.dumps({"to": each[1]}) if each[0].endswith("arguments") else each[1])
    ),
    max_size=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    said=SAID,
    seed=st.integers(0, 2**32),
    longest=st.sampled_from([1, 3, 9, 200]),
    action=st.sampled_from(["mask", "tokenize"]),
)
def test_a_stream_is_the_whole(said: list[tuple[str, str]], seed: int, longest: int, action: Action) -> None:
    """However a stream is cut and mixed, its pieces, and all that repeats them, come to the whole, screened;
    for the record and for the client. What was found counts once."""
    policy = one_action(action)
    whole_screen = ResponsesScreen(policy, call_tokens())
    whole = whole_screen.whole(json.dumps(response_of(said)).encode())
    screen = ResponsesScreen(policy, call_tokens())
    out = streamed(screen, events_of(said, random.Random(seed), longest))
    for which in ("recorded", "given"):
        expected = json.loads(getattr(whole, which))
        events = [json.loads(getattr(each, which)) for each in out]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        texts = [text_in(item) for item in expected["output"][:-1]]
        assert put_together(events) == {n: text for n, text in enumerate(texts) if text}
        assert events[-1]["response"] == expected
        done = {e["output_index"]: e["item"] for e in events if e["type"] == "response.output_item.done"}
        assert [done[number] for number in range(len(done))] == expected["output"]
        for event in events:
            if event["type"] == "response.output_item.added":
                assert text_in(event["item"]) == ""
            if event["type"].endswith(".done") and "item" not in event:
                assert text_in(event) == texts[event["output_index"]]
        assert "obfuscation" not in json.dumps(events)
        assert expected["tools"] == response_of(said)["tools"]
    cut = ResponsesScreen(policy, call_tokens())
    streamed(cut, iter(list(events_of(said, random.Random(seed), longest))[:-1]))
    assert screen.findings == cut.findings == whole_screen.findings
    assert any(each.where == "response.output.action.query" for each in screen.findings)


@pytest.mark.parametrize("ids", [("i", "i", "i"), ("i_1", "i_2", "i_3")], ids=["one id", "ids that change"])
@pytest.mark.parametrize("kind", [*TEXTS, *FLAT])
def test_every_cut(kind: str, ids: tuple[str, str, str]) -> None:
    """One text in two pieces, at every place: never a part of a value, always the same; also where its server
    gives its item another id with every event."""
    text = f"From {MAIL}, card {CARD}!"
    text = json.dumps({"to": text}) if kind.endswith("arguments") else text
    masked = screen_text(one_action("mask"), text).text
    for place in range(1, len(text)):
        pieces: list[Json] = [{"delta": text[:place]}, {"delta": text[place:]}, {}]
        events = [
            {"type": f"response.{kind}.{'delta' if piece else 'done'}", "item_id": id_, "output_index": 0}
            | piece
            for id_, piece in zip(ids, pieces, strict=True)
        ]
        out = streamed(ResponsesScreen(one_action("mask")), iter(events))
        assert put_together([json.loads(each.recorded) for each in out]) == {0: masked}


def test_what_is_not_known_is_removed() -> None:
    """Pieces of a text of another kind, and members of events that hold text; what is no text stays."""
    screen = ResponsesScreen(one_action("mask"))
    events: list[Json] = [
        {"type": "response.new.delta", "delta": "jane.doe"},
        {
            "type": "response.new.piece",
            "output_index": 1,
            "words": "@example.com",
            "n": [1],
            "token_ids": [7],
        },
        {"type": MAIL, "n": 1},
        {"type": "response.web_search_call.searching", "item_id": "ws_1", "output_index": 2},
        {"type": "response.output_text.annotation.added", "annotation": {"title": MAIL}, MAIL: 1},
        {"type": "response.output_text.delta", "item_id": {"x": MAIL}, "output_index": 3, "delta": "a"},
        {"type": "response.output_text.done", "item_id": MAIL, "output_index": 3, "text": "a"},
    ]
    said = [json.loads(each.recorded) for each in streamed(screen, iter(events))]
    assert [event.pop("sequence_number") for event in said] == [0, 1, 2, 3, 4]
    assert said[3:] == [
        {"type": "response.output_text.delta", "output_index": 3, "delta": "a"},
        {"type": "response.output_text.done", "output_index": 3, "text": "a"},
    ]
    assert said[:3] == [
        {"type": "response.new.piece", "output_index": 1, "n": [1]},
        events[3],
        {"type": "response.output_text.annotation.added", "annotation": {"title": "[EMAIL]"}},
    ]


def test_how_many_alternatives_were_asked_for_stays() -> None:
    """A response's own `top_logprobs` is a number, which spells nothing: clients read it as one."""
    body = {"id": "r", "object": "response", "top_logprobs": 2, "output": []}
    said = json.loads(ResponsesScreen(one_action("mask"), None).whole(json.dumps(body).encode()).given)
    assert said["top_logprobs"] == 2
    body["top_logprobs"] = [{"token": "jane"}]
    said = json.loads(ResponsesScreen(one_action("mask"), None).whole(json.dumps(body).encode()).given)
    assert said["top_logprobs"] == []


def test_a_text_that_never_ends() -> None:
    """A stream that says how it ended without its texts' ends has their rest before that; one that is cut
    has it when it is over."""
    pieces: list[Json] = [
        {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "delta": f"Mail {MAIL[:9]}"}
    ]
    last: Json = {"type": "response.incomplete", "response": {"id": "r", "output": []}}
    out = streamed(ResponsesScreen(one_action("mask")), iter([*pieces, last]))
    said = [json.loads(each.recorded) for each in out]
    assert put_together(said) == {0: f"Mail {MAIL[:9]}"}
    assert said[-1]["type"] == "response.incomplete"
    assert put_together(
        [json.loads(e.recorded) for e in streamed(ResponsesScreen(one_action("mask")), iter(pieces))]
    )


def test_more_than_can_be_held() -> None:
    """It ends the answer, with the reason."""
    piece = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "a" * (1 << 20)}
    screen = ResponsesScreen(one_action("mask"))
    with pytest.raises(UpstreamFailed, match="read whole"):
        streamed(screen, (piece for _ in range((HELD_BYTES_MAX >> 20) + 1)))
    many = (
        {"type": "response.output_text.delta", "output_index": n, "delta": "a"}
        for n in range(CHANNELS_MAX + 1)
    )
    with pytest.raises(UpstreamFailed, match="at the same time"):
        streamed(ResponsesScreen(one_action("mask")), many)


@pytest.mark.parametrize("ended", ["response.output_item.done", "response.output_text.done"])
def test_an_output_of_items_without_end(ended: str) -> None:
    """What is kept of each item is bounded, and where one says a place that is none, it is left out."""

    def events(number: int) -> Iterator[Json]:
        for n in range(number):
            at: Json = {"output_index": n, "content_index": 0}
            yield {"type": "response.output_text.delta", **at, "delta": "a"}
            yield {"type": ended, **at} | ({"item": {"id": "i"}} if "item" in ended else {"text": "a"})

    streamed(ResponsesScreen(one_action("mask")), events(ITEMS_MAX))
    with pytest.raises(UpstreamFailed, match="items in one answer"):
        streamed(ResponsesScreen(one_action("mask")), events(ITEMS_MAX + 1))
    odd: list[Json] = [
        {"type": "response.output_text.done", "output_index": index, "text": "a"}
        for index in ({"a": MAIL}, "1" * 1_000, -1, 1.5, None)
    ]
    said = streamed(ResponsesScreen(one_action("mask")), iter(odd))
    assert ["output_index" in json.loads(each.recorded) for each in said] == [False] * len(odd)


def test_an_item_done_twice_is_found_in_once() -> None:
    """The second time stands for the first."""
    screen = ResponsesScreen(one_action("mask"))
    item = {"id": "i", "type": "message", "content": [{"type": "output_text", "text": MAIL}]}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    streamed(screen, iter([done, done]))
    assert [found.count for found in screen.findings] == [1]


@pytest.mark.parametrize(
    "odd", [[MAIL], {MAIL: 1}, {"a": MAIL}, [[MAIL]], [{"id": MAIL}], {"id": {"id": [MAIL]}}]
)
@pytest.mark.parametrize("name", ["id", "call_id", "type"])
def test_an_identifier_that_is_none_is_read(name: str, odd: Any) -> None:
    """Where a list or an object stands for an identifier, what is in it is text like any other."""
    for value in ({name: odd}, {"output": [{name: odd}]}, {"output": [{"type": "message", name: odd}]}):
        passed = ResponsesScreen(one_action("mask")).whole(json.dumps(value).encode())
        assert MAIL not in passed.recorded.decode()
        event = {"type": "response.completed", "response": value}
        out = streamed(ResponsesScreen(one_action("mask")), iter([event]))
        assert not any(MAIL in each.recorded.decode() for each in out)


BLOCK = one_action("block")


def said_alone(said: list[tuple[str, str]], seed: int, longest: int) -> tuple[Json, list[Json]]:
    """A response without other values than those of its texts, whole and as a stream."""
    whole = response_of(said)
    whole["output"].pop()  # its query is a value
    whole["instructions"] = "Be brief."
    for item in whole["output"]:
        item.get("content", [{}])[0].pop("annotations", None)
    events = [
        each
        for each in events_of(said, random.Random(seed), longest)
        if each.get("output_index") != len(said)
    ]
    for event in events:
        if "response" in event:
            event["response"] = whole | ({"output": []} if event["type"] == "response.created" else {})
        if "item" in event:
            event["item"] = whole["output"][event["output_index"]]
    return whole, events


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(said=SAID, seed=st.integers(0, 2**32), longest=st.sampled_from([1, 3, 9, 200]))
def test_what_is_blocked_never_goes_out(said: list[tuple[str, str]], seed: int, longest: int) -> None:
    """However a stream is cut and mixed: of each text goes out what comes before its first value, of JSON all
    or nothing, and it ends as one that was cut. The whole has no more either."""
    whole, events = said_alone(said, seed, longest)
    screen = ResponsesScreen(BLOCK)
    out = [json.loads(each.given) for each in streamed(screen, iter(events))]
    blocked, may = [], []
    for kind, text in said:
        whole_text = kind.endswith("arguments")
        passed = screen_text(BLOCK, json.loads(text)["to"] if whole_text else text)
        blocked.append(passed.blocked)
        may.append(("" if passed.blocked else text) if whole_text else passed.text)
    assert screen.blocked == any(blocked)
    assert all(may[index].startswith(text) for index, text in put_together(out).items())
    last = out[-1]
    assert last["type"] == ("response.incomplete" if screen.blocked else "response.completed")
    other = ResponsesScreen(BLOCK)
    cut = json.loads(other.whole(json.dumps(whole).encode()).given)
    assert other.blocked == screen.blocked
    for made in (last["response"], cut):
        assert made["status"] == ("incomplete" if screen.blocked else "completed")
        assert (made.get("incomplete_details") == {"reason": "content_filter"}) == screen.blocked
        for item in made["output"]:
            assert may[int(item["id"].removeprefix("i_"))].startswith(text_in(item))
    assert bool(screen.findings) == bool(other.findings) == screen.blocked
    if screen.blocked:
        assert screen.event(b'{"type":"response.output_text.delta","delta":"more"}') == screen.end() == []


@pytest.mark.parametrize("kind", [*TEXTS, *FLAT])
def test_a_blocked_text_cut_everywhere(kind: str) -> None:
    """In two pieces, at every place: the same goes out, and the last event has it once more."""
    text = json.dumps({"to": MAIL}) if kind.endswith("arguments") else f"From me: {MAIL}, {CARD}!"
    item = item_of(kind, text, 0) | {"status": "in_progress"}
    item.get("content", [{}])[0].pop("annotations", None)
    added = {"type": "response.output_item.added", "output_index": 0, "item": item}
    begun = {"type": "response.created", "response": {"id": "r", "object": "response", "output": []}}
    at = {"item_id": "i", "output_index": 0}
    for place in range(1, len(text)):
        pieces = [
            {"type": f"response.{kind}.delta", **at, "delta": each} for each in (text[:place], text[place:])
        ]
        screen = ResponsesScreen(BLOCK)
        ended = {"type": f"response.{kind}.done", **at}
        said = [json.loads(each.given) for each in streamed(screen, iter([begun, added, *pieces, ended]))]
        expected = "" if kind.endswith("arguments") else "From me: "
        assert put_together(said) == ({0: expected} if expected else {})
        assert [event["sequence_number"] for event in said] == list(range(len(said)))
        last = said[-1]
        assert (last["type"], last["response"]["id"]) == ("response.incomplete", "r")
        assert text_in(last["response"]["output"][0]) == expected
        assert last["response"]["output"][0]["status"] == "incomplete"
        assert [(each.kind, each.action, each.count) for each in screen.findings] == [("email", "block", 1)]


def test_a_value_that_only_the_end_has_is_blocked() -> None:
    """A text that did not come in pieces, an item, the last response, or what it says of its request."""
    item = item_of("output_text", f"to {MAIL}", 0)
    blocked: list[list[Json]] = [
        [{"type": "response.output_text.done", "output_index": 0, "text": f"to {MAIL}"}],
        [{"type": "response.content_part.done", "output_index": 0, "part": item["content"][0]}],
        [{"type": "response.output_item.done", "output_index": 0, "item": item}],
        [{"type": "response.completed", "response": {"id": "r", "output": [item]}}],
        [{"type": "response.created", "response": {"id": "r", "tools": [{"name": MAIL}]}}],
        [{"type": "response.output_text.annotation.added", "annotation": {"title": MAIL}}],
    ]
    for events in blocked:
        screen = ResponsesScreen(BLOCK)
        said = [json.loads(each.given) for each in streamed(screen, iter(events))]
        assert [event["type"] for event in said] == ["response.incomplete"]
        assert MAIL not in json.dumps(said)
        assert [found.kind for found in screen.findings] == ["email"]


@pytest.mark.parametrize("action", ["mask", "block", "tokenize"])
def test_half_of_a_character(action: Action) -> None:
    """It counts as U+FFFD, and costs no text, no event and no answer."""
    text = "<EMAIL_1>" if action == "tokenize" else MAIL
    item = item_of("output_text", f"hi \ud83d {text}", 0)
    item["content"][0].pop("annotations")
    at = {"item_id": "i", "output_index": 0, "content_index": 0}
    begun = {"type": "response.created", "response": {"id": "r", "object": "response", "output": []}}
    whole = {"id": "r", "object": "response", "status": "completed", "output": [item]}
    delta = {"type": "response.output_text.delta", **at, "delta": item["content"][0]["text"]}
    rest = {"tokenize": MAIL, "mask": "[EMAIL]", "block": ""}[action]
    screen = ResponsesScreen(one_action(action), call_tokens())
    passed = screen.whole(json.dumps(whole).encode())
    assert text_in(json.loads(passed.given)["output"][0]) == f"hi \ufffd {rest}"
    screen = ResponsesScreen(one_action(action), call_tokens())
    events = iter([begun, delta, {"type": "response.completed", "response": whole}])
    said = [json.loads(each.given) for each in streamed(screen, events)]
    assert put_together(said) == {0: f"hi \ufffd {rest}"}
    ended = "response.incomplete" if action == "block" else "response.completed"
    assert (said[-1]["type"], text_in(said[-1]["response"]["output"][0])) == (ended, f"hi \ufffd {rest}")
    assert screen.blocked == (action == "block")


@pytest.mark.parametrize("name", ["id", "call_id", "type"])
@pytest.mark.parametrize("where", ["content", "summary"])
def test_what_a_part_is_called_is_blocked(where: str, name: str) -> None:
    """What is an identifier of an item is none of a part."""
    part = {"type": "output_text", "text": "hi", name: MAIL}
    before = {"type": "output_text", "text": "before"}
    item = {"id": "i", "type": "message", "role": "assistant", where: [before, part]}
    screen = ResponsesScreen(BLOCK)
    passed = screen.whole(json.dumps({"id": "r", "object": "response", "output": [item]}).encode())
    assert screen.blocked
    assert MAIL not in passed.given.decode()
    (cut,) = json.loads(passed.given)["output"]
    kept = [before] if name == "type" else [before, {"type": "output_text", "text": "hi"}]
    assert cut == item | {where: kept, "status": "incomplete"}  # and no list that it had not
