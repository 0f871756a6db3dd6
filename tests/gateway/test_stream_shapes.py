"""Streams of odd shapes, read for clients of every dialect: a whole answer, or an error that says so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import msgspec
import pytest

from airboss.domain.plan import Timeouts
from airboss.governance.policies import policy_of
from tests.support.gateway import PRICE, Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import is_whole, streamed

Json = dict[str, Any]
ENTRANCES: dict[str, tuple[str, Json]] = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    "completions": ("/v1/completions", {"prompt": "hi"}),
    "responses": ("/v1/responses", {"input": "hi"}),
    "messages": ("/v1/messages", {"max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}),
}
USED = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
DONE = b"data: [DONE]\n\n"


def piece(text: str | None = None, finish: str | None = None, **more: Any) -> Json:
    """An event, with its text under the names of both routes."""
    said: Json = {} if text is None else {"delta": {"content": text}, "text": text}
    choice = {"index": 0, "delta": {}, "text": ""} | said | {"finish_reason": finish}
    return {"id": "u", "created": 1, "model": "up", "choices": [choice]} | more


def stream(*events: Json | bytes) -> bytes:
    """Events as they are sent."""
    return b"".join(e if isinstance(e, bytes) else b"data: %s\n\n" % json.dumps(e).encode() for e in events)


ONE, TWO, END = piece("One "), piece("two."), piece(finish="stop")
COUNTS: Json = {"id": "u", "choices": [], "usage": USED}
USUAL = stream(ONE, TWO, END, COUNTS, DONE)
WHOLE = json.dumps(
    {"id": "u", "object": "chat.completion", "created": 1, "model": "up", "usage": USED}
    | {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "One two."}}]}
).encode()
ODDLY = WHOLE.replace(b'"model": "up"', b'"model": "up", "odd": "\xff\xfe"')
NOT_UTF8 = b'data: {"id":"u","choices":[{"index":0,"delta":{"content":"\xff"},"text":"\xff"}]}\n\n'
BROKEN: Json = {"error": {"message": "boom", "type": "server_error", "code": None}}

WELL: dict[str, bytes] = {
    "as usual": USUAL,
    "usage in the middle": stream(ONE, piece("two.", usage=USED), END, DONE),
    "usage twice": stream(ONE, COUNTS, TWO, END, COUNTS, DONE),
    "usage that is null": stream(piece("One ", usage=None), piece("two.", usage=None), END, COUNTS, DONE),
    "no choices in between": stream(ONE, {"id": "u", "choices": []}, TWO, END, COUNTS, DONE),
    "no choices at first": stream({"id": "u", "choices": []}, ONE, TWO, END, COUNTS, DONE),
    "the end with a text": stream(ONE, piece("two.", "stop"), COUNTS, DONE),
    "no [DONE]": stream(ONE, TWO, END, COUNTS),
    "two of them": USUAL + DONE,
    "the end with a text, twice": stream(ONE, piece("two.", "stop"), piece("two.", "stop"), COUNTS, DONE),
    "broken after the reason": stream(ONE, TWO, COUNTS, END, b"data: {broken\n\n"),
    "[DONE] and a space": stream(ONE, TWO, END, COUNTS, b"data: [DONE] \n\n"),
    "bytes after [DONE]": USUAL + b"\xff\xfe\n\ndata: {broken\n\n",
    "an error after [DONE]": USUAL + stream(BROKEN),
    "[DONE] without its line end": USUAL.rstrip(),
    "the last event without its blank line": stream(ONE, TWO, COUNTS, END).rstrip(),
    "usage without its blank line": stream(ONE, TWO, END, COUNTS)[:-1],
    "that, with other line ends": stream(ONE, TWO, COUNTS, END).replace(b"\n", b"\r")[:-1],
    "a mark of the byte order": b"\xef\xbb\xbf" + USUAL,
    "no space, other line ends": USUAL.replace(b"data: ", b"data:").replace(b"\n", b"\r\n"),
    "names, ids and times": b"retry: 9\n\n" + USUAL.replace(b"data: {", b"event: message\nid: 1\ndata: {"),
    "comments": b": data: 1\n\n" + stream(ONE, b":\n\n", TWO, b": hi\n\n", END, COUNTS, DONE),
    "usage in fractions": stream(
        ONE, TWO, END, {"choices": [], "usage": {"prompt_tokens": 3.0, "completion_tokens": 2.0}}, DONE
    ),
    "errors of nothing": stream(
        piece("One ", error={}), piece("two.", error=""), piece(finish="stop", error=False), COUNTS, DONE
    ),
    "a message in pieces": USUAL.replace(b'"delta"', b'"message"'),
    "no index": USUAL.replace(b'"index": 0, ', b""),
    "an index that is null": USUAL.replace(b'"index": 0', b'"index": null'),
    "halves of a character": stream(
        ONE, piece("two.\ud83d"), piece("\ude00 \\ud83d", odd="\ud83d"), END, COUNTS, DONE
    ),
    "events of nothing": b"data:\n\n" + stream(ONE, b"data: \n\n", TWO, END, COUNTS, DONE),
    "whole": WHOLE,
    "whole, after a mark of the byte order": b"\xef\xbb\xbf" + WHOLE,
    "whole, with an error of nothing": WHOLE.replace(b"{", b'{"error": {}, ', 1),
    "whole, with odd members": WHOLE.replace(b'"index": 0', b'"index": null, "logprobs": []'),
    "whole, with usage in fractions": WHOLE.replace(b'_tokens": 3', b'_tokens": 3.0'),
}
UNTOLD = {
    "usage after [DONE]": stream(ONE, TWO, END, DONE, COUNTS),
    "nothing after the reason": stream(ONE, TWO, END),
}
ILL: dict[str, bytes] = {
    "cut": stream(ONE, TWO),
    "[DONE] without a reason": stream(ONE, TWO, DONE),
    "an error": stream(ONE, BROKEN),
    "an error beside choices": stream(ONE, piece("", "error") | BROKEN),
    "an error beside choices that end nothing": stream(ONE, piece("") | BROKEN, DONE),
    "an error beside no choices": stream(ONE, {"choices": None} | BROKEN, DONE),
    "an error and [DONE]": stream(ONE, BROKEN, DONE),
    "an error by its event": stream(ONE, b"event: error\n", BROKEN),
    "an error by its event alone": stream(ONE, b"event: error\n", {"message": "boom"}, DONE),
    "words by an event of error": stream(ONE, b"event:error\ndata: boom\n\n", TWO, END, DONE),
    "an error without its blank line": stream(ONE, BROKEN).rstrip(),
    "cut in its last event": stream(ONE, TWO, END).rstrip()[:-1],
    "cut in [DONE]": stream(ONE, TWO, b"data: [DON"),
    "an error of words": stream(ONE, {"error": "boom"}, DONE),
    "bytes before an event": stream(ONE, b"\0\0", TWO, END, DONE),
    "no UTF-8": stream(ONE, NOT_UTF8, TWO, END, DONE),
    "no UTF-8 where nobody reads": stream(ONE, b'data: {"odd":"\xff"}\n\n', b"data: [\n\n", TWO, DONE),
    "null": stream(ONE, b"data: null\n\n", TWO, END, DONE),
}


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker in front of it, with nobody to go on."""
    times = Timeouts(total_s=8.0, first_token_s=4.0, idle_s=4.0)
    plan = deployment(upstream.url, price=PRICE, continuation="off", timeout=times)
    policy = policy_of("mask", None)
    masked = msgspec.structs.replace(plan, name="masked", aliases=(), policy=policy)
    with Gateway(tmp_path_factory.mktemp("shapes") / "g", plan, masked) as running:
        yield running


def ask(
    gateway: Gateway,
    upstream: SaidUpstream,
    entrance: str,
    said: bytes,
    *,
    streams: bool,
    model: str = "gpt-4o",
) -> httpx2.Response:
    """A call that is answered so."""
    if entrance == "completions":
        said = said.replace(b'"message": {"content": "One two."}', b'"text": "One two."')
    upstream.body = said
    path, body = ENTRANCES[entrance]
    with gateway.client() as client:
        return client.post(path, json={"model": model, "stream": streams} | body)


def looks_whole(entrance: str, response: httpx2.Response, *, streams: bool) -> bool:
    """Whether a client takes an answer for whole."""
    if not streams:
        return response.status_code == 200
    if entrance in {"responses", "messages"}:
        return is_whole(entrance, response)
    assert response.text.count("[DONE]") <= 1
    return response.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("streams", [True, False], ids=["asked", "unasked"])
@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("shape", [*WELL, *UNTOLD])
def test_a_whole_answer_is_given(
    gateway: Gateway, upstream: SaidUpstream, shape: str, entrance: str, streams: bool
) -> None:
    """All of it, once, whether it was asked for as a stream or not; with the usage that was told."""
    said = WELL.get(shape) or UNTOLD[shape]
    response = ask(gateway, upstream, entrance, said, streams=streams)
    assert response.status_code == 200, response.text
    assert looks_whole(entrance, response, streams=streams), response.text
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["error_type"], end["finish_reason"]) == ("ok", None, "stop")
    assert end["usage_estimated"] == (shape in UNTOLD)
    assert shape in UNTOLD or (end["input_tokens"], end["output_tokens"]) == (3, 2)
    assert end["cost_usd"] > 0
    kept = json.dumps(end["response"])
    assert "One two." in kept
    assert "two.two." not in kept
    at = [response.text.find(word) for word in ("One", "two.")]
    assert 0 <= at[0] < at[1]


@pytest.mark.parametrize(("entrance", "streams"), [("responses", False), ("messages", False), ("chat", True)])
def test_a_member_that_is_no_utf8(
    gateway: Gateway, upstream: SaidUpstream, entrance: str, streams: bool
) -> None:
    """Where it says nothing to anybody it takes nothing away."""
    response = ask(gateway, upstream, entrance, ODDLY, streams=streams)
    assert response.status_code == 200
    assert "two." in response.text


@pytest.mark.parametrize("streams", [True, False], ids=["asked", "unasked"])
@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("shape", ILL)
def test_what_is_not_whole_never_looks_so(
    gateway: Gateway, upstream: SaidUpstream, shape: str, entrance: str, streams: bool
) -> None:
    """The client hears of it in its own words, and the record says the same, with what was said until
    then."""
    response = ask(gateway, upstream, entrance, ILL[shape], streams=streams)
    assert response.status_code == (200 if streams else 502), response.text
    assert not looks_whole(entrance, response, streams=streams)
    if streams and entrance in {"responses", "messages"}:
        last = streamed(response)[-1][0]
        assert last == {"responses": "response.failed", "messages": "error"}[entrance]
    else:
        words = response.text.rstrip().split("\n\n")[-1].removeprefix("data: ")
        assert json.loads(words)["error"]["message"]
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["finish_reason"]) == ("error", None)
    assert end["error_type"] in {"stream_cut", "upstream_error"}
    assert end["output_tokens"] > 0
    assert end["usage_estimated"]


def test_events_that_say_nothing_are_not_kept_without_end(gateway: Gateway, upstream: SaidUpstream) -> None:
    """A few are, for the client that gets them with the first output."""
    nothing = piece("", odd="x" * 64_000)
    for count, well in ((8, True), (80, False)):
        said = stream(*[nothing] * count, ONE, TWO, END, COUNTS, DONE)
        response = ask(gateway, upstream, "chat", said, streams=True)
        assert response.status_code == (200 if well else 502)
        assert well or "said nothing in them" in response.json()["error"]["message"]


def test_an_event_named_error_says_why(gateway: Gateway, upstream: SaidUpstream) -> None:
    """What the provider says in it reaches the client, whatever its shape, and its status the record."""
    for said, words in (
        ({"message": "queue is full", "code": 529}, "is overloaded (529): queue is full"),
        ({"detail": "queue is full"}, "queue is full"),
        (b"queue\ndata: is full", "queue\nis full"),
        (b'"queue is full"', "queue is full"),
        ({"error": {"msg": "queue is full"}}, "queue is full"),
        (b"x" * 5000, "x" * 200),
    ):
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        response = ask(
            gateway, upstream, "chat", stream(ONE, b"event: error\ndata: %s\n\n" % data), streams=True
        )
        last = json.loads(response.text.rstrip().split("data: ")[-1])["error"]["message"]
        assert words in last
        assert len(last) < 2100
        end = gateway.closed(response.headers["x-request-id"])
        assert end["error_type"] == ("upstream_unavailable" if b"529" in data else "upstream_error")


@pytest.mark.parametrize("choices", [piece("", "error")["choices"], piece("")["choices"], None])
def test_an_error_beside_choices_says_why(
    gateway: Gateway, upstream: SaidUpstream, choices: list[Json] | None
) -> None:
    """Also in a stream that nobody asked for (as OpenRouter's are)."""
    broken = {"error": {"message": "queue is full", "code": 529}, "choices": choices}
    response = ask(gateway, upstream, "chat", stream(ONE, broken), streams=False)
    assert "is overloaded (529): queue is full" in response.json()["error"]["message"]
    end = gateway.closed(response.headers["x-request-id"])
    assert end["error_type"] == "upstream_unavailable"


def framed(said: bytes, lines: bytes, sent: bytes) -> bytes:
    """A stream as HTTP has it."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%s\r\n%s" % (lines, sent % said)


LAST = stream(ONE, TWO, COUNTS, END).rstrip()
ENDS = {
    "chunked": (b"transfer-encoding: chunked\r\n", b"%x\r\n%%s\r\n0\r\n\r\n" % len(LAST), True),
    "no last chunk": (b"transfer-encoding: chunked\r\n", b"%x\r\n%%s\r\n" % len(LAST), False),
    "a chunk too short": (b"transfer-encoding: chunked\r\n", b"%x\r\n%%s" % (len(LAST) + 2), False),
    "all of its length": (b"content-length: %d\r\n" % len(LAST), b"%s", True),
    "less than its length": (b"content-length: %d\r\n" % (len(LAST) + 2), b"%s", False),
    "by the connection's end": (b"connection: close\r\n", b"%s", True),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("end", ENDS)
def test_a_last_event_counts_where_the_body_is_whole(
    gateway: Gateway, upstream: SaidUpstream, end: str, entrance: str
) -> None:
    """It says why the answer ended, without its blank line: a body that breaks off there is cut."""
    lines, sent, well = ENDS[end]
    upstream.raw = framed(LAST, lines, sent)
    try:
        response = ask(gateway, upstream, entrance, b"", streams=True)
    finally:
        upstream.raw = None
    assert looks_whole(entrance, response, streams=True) == well
    assert gateway.closed(response.headers["x-request-id"])["status"] == ("ok" if well else "error")


def call(*, name: str | None = None, **more: Any) -> Json:
    """A piece of a tool call; its arguments are among `more`."""
    function = {"arguments": more.pop("arguments")} if "arguments" in more else {}
    return {"function": function | ({} if name is None else {"name": name}), **more}


GET: Json = {"id": "c1", "type": "function", "function": {"name": "get", "arguments": '{"a":1}'}}
PUT: Json = {"id": "c2", "type": "function", "function": {"name": "put", "arguments": "{}"}}
CALLS: dict[str, list[Json]] = {
    "as usual": [
        call(index=0, id="c1", type="function", name="get", arguments=""),
        call(index=0, arguments='{"a":'),
        call(index=0, arguments="1}"),
        call(index=1, id="c2", type="function", name="put", arguments="{}"),
    ],
    "no index": [
        call(id="c1", name="get", arguments='{"a":'),
        call(arguments="1}"),
        call(id="c2", name="put", arguments="{}"),
    ],
    "an index that is null": [
        call(index=None, id="c1", name="get", arguments='{"a":'),
        call(index=None, id="c1", arguments="1}"),
        call(index=None, id="c2", name="put", arguments="{}"),
    ],
    "names and ids that are null or empty": [
        call(index=0, id="c1", name="get", arguments=None),
        call(index=0, id="", name="", type="", arguments='{"a":'),
        {"index": 0, "id": None, "function": {"name": None, "arguments": "1}"}},
        call(index=1, id="c2", name="put", arguments="{}"),
    ],
    "arguments before their name": [
        call(index=0, arguments='{"a":'),
        call(index=0, id="c1", type="function", name="get", arguments="1}"),
        call(index=1, id="c2", type="function", name="put", arguments="{}"),
    ],
    "arguments as an object": [
        call(index=0, id="c1", name="get", arguments={"a": 1}),
        call(index=1, id="c2", name="put", arguments={}),
    ],
}


@pytest.mark.parametrize("streams", [True, False], ids=["asked", "unasked"])
@pytest.mark.parametrize("entrance", ["chat", "responses", "messages"])
@pytest.mark.parametrize("shape", CALLS)
def test_tool_calls_are_put_together(
    gateway: Gateway, upstream: SaidUpstream, shape: str, entrance: str, streams: bool
) -> None:
    """Each once, with all of its arguments, for a client that asked for no stream as for one that did."""
    pieces = [piece() | {"choices": [{"index": 0, "delta": {"tool_calls": [each]}}]} for each in CALLS[shape]]
    said = stream(*pieces, piece(finish="tool_calls"), COUNTS, DONE)
    response = ask(gateway, upstream, entrance, said, streams=streams)
    assert response.status_code == 200, response.text
    assert looks_whole(entrance, response, streams=streams)
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["usage_estimated"]) == ("ok", False)
    recorded = end["response"]
    match entrance:
        case "chat":
            message = recorded["choices"][0]["message"]
            assert message["tool_calls"] == [GET, PUT]
            assert message["content"] is None
            assert streams or response.json()["choices"][0]["message"]["tool_calls"] == [GET, PUT]
        case "responses":
            calls = [each for each in recorded["output"] if each["type"] == "function_call"]
            assert [(each["call_id"], each["name"]) for each in calls] == [("c1", "get"), ("c2", "put")]
            assert [json.loads(each["arguments"]) for each in calls] == [{"a": 1}, {}]
        case _:
            used = [(each["id"], each["name"], each["input"]) for each in recorded["content"]]
            assert used == [("c1", "get", {"a": 1}), ("c2", "put", {})]


def test_a_whole_answer_streams_its_tool_calls(gateway: Gateway, upstream: SaidUpstream) -> None:
    """With the number of each, by which clients of streams put them together."""
    message = {"role": "assistant", "content": None, "tool_calls": [GET, PUT]}
    said = {"id": "u", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]}
    response = ask(gateway, upstream, "chat", json.dumps(said).encode(), streams=True)
    first = json.loads(response.text.partition("\n")[0].removeprefix("data: "))
    assert first["choices"][0]["delta"]["tool_calls"] == [{"index": 0, **GET}, {"index": 1, **PUT}]


PARTS = [
    piece() | {"choices": [{"delta": {"content": [{"type": "text", "text": t}]}}]} for t in ("One ", "two.")
]


def as_chat(said: bytes) -> bytes:
    """Without the text of a completion: a choice with both names would be one there."""
    return re.sub(rb', "text": "[^"]*"', b"", said)


MASKED = {name: as_chat(said) for name, said in WELL.items()}
MASKED["a content in parts"] = stream(*PARTS) + as_chat(stream(END, COUNTS, DONE))


@pytest.mark.parametrize("shape", MASKED)
def test_a_policy_reads_what_is_odd(gateway: Gateway, upstream: SaidUpstream, shape: str) -> None:
    """A stream that is screened says all that it says unscreened."""
    response = ask(gateway, upstream, "chat", MASKED[shape], streams=True, model="masked")
    assert looks_whole("chat", response, streams=True), response.text
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["output_tokens"], end["usage_estimated"]) == ("ok", 2, False)
    assert end["response"]["choices"][0]["message"]["content"].startswith("One two.")


@pytest.mark.parametrize("streams", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("line", [b"201 Created", b"203 Non-Authoritative Information", b"200"])
def test_an_answer_may_be_good_in_other_words(
    gateway: Gateway, upstream: SaidUpstream, line: bytes, streams: bool
) -> None:
    """Some frameworks answer every POST with 201; the client gets 200."""
    said = USUAL if streams else WHOLE
    upstream.raw = b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (line, len(said), said)
    try:
        response = ask(gateway, upstream, "chat", b"", streams=streams)
    finally:
        upstream.raw = None
    assert response.status_code == 200
    assert "two." in response.text
    assert gateway.closed(response.headers["x-request-id"])["status"] == "ok"
