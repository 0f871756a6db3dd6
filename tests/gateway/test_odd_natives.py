"""Odd answers and endings of providers that have words of their own, as each client hears them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airboss.domain.plan import Retry
from airboss.domain.release import ProviderKind
from airboss.governance.policies import policy_of
from tests.gateway.test_responses_native import ANSWER
from tests.support.gateway import PATIENT, PRICE, Gateway, deployment
from tests.support.said_upstream import SaidUpstream
from tests.support.spoken import error, error_in_stream, is_whole, say, streamed, text

KINDS: tuple[ProviderKind, ...] = ("openai", "anthropic", "gemini", "bedrock")
AWS_SECRET, TOKEN = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2VjEXAMPLETOKEN"
HALF = "Half \ud83d."


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker in front of it, as each kind, with and without a policy."""
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text(f"AKIAABCDEFGHIJKLMNOP:{AWS_SECRET}:{TOKEN}")
    usual: dict[str, Any] = {
        "aliases": (),
        "price": PRICE,
        "continuation": "off",
        "api_key_ref": f"file:{secret}",
        "region": "eu-west-1",
        "timeout": PATIENT,
    }
    plans = [deployment(upstream.url, name=kind, kind=kind, **usual) for kind in KINDS]
    plans += [
        deployment(upstream.url, name=f"{kind}-masks", kind=kind, policy=policy_of("mask", None), **usual)
        for kind in ("openai", "anthropic")
    ]
    patient = usual | {"retry": Retry(attempts=2)}
    plans.append(deployment(upstream.url, name="patient", kind="openai", **patient))
    with Gateway(tmp_path_factory.mktemp("natives"), *plans) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(upstream: SaidUpstream) -> None:
    """Nothing is told from before."""
    upstream.raw, upstream.events, upstream.body, upstream.done = None, [], {}, False
    upstream.status = 200
    upstream.seen.clear()


def response(said: str, **more: Any) -> dict[str, Any]:
    """A response of OpenAI's that says this."""
    part = {"type": "output_text", "text": said, "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
    made: dict[str, Any] = json.loads(ANSWER) | {"output": [message]} | more
    return made


def half(upstream: SaidUpstream, dialect: str, *, stream: bool) -> None:
    """Say half of a character, in the words of the client's own dialect."""
    if dialect == "responses":
        whole = response(HALF)
        events: list[Any] = [
            {"type": "response.created", "response": whole | {"output": [], "status": "in_progress"}},
            {"type": "response.output_text.delta", "output_index": 0, "delta": HALF},
            {"type": "response.completed", "response": whole},
        ]
    else:
        usage = {"input_tokens": 3, "output_tokens": 2}
        whole = {"id": "m", "type": "message", "model": "c", "content": [{"type": "text", "text": HALF}]}
        whole |= {"stop_reason": "end_turn", "usage": usage}
        events = [
            {"type": "message_start", "message": whole | {"content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": HALF}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
            {"type": "message_stop"},
        ]
    upstream.body, upstream.events = whole, [json.dumps(each) for each in events] if stream else []


@pytest.mark.parametrize("tail", ["", "-masks"], ids=["plain", "masks"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("dialect", "kind"), [("responses", "openai"), ("messages", "anthropic")])
def test_half_of_a_character_in_ones_own_dialect(  # noqa: PLR0917 - a row of the table
    gateway: Gateway, upstream: SaidUpstream, dialect: str, kind: str, stream: bool, tail: str
) -> None:
    """The client gets it as it came, or under a policy as U+FFFD; the record can be read."""
    half(upstream, dialect, stream=stream)
    answer = say(gateway, dialect, model=kind + tail, stream=stream)
    assert answer.status_code == 200, answer.text
    assert text(dialect, answer, stream=stream) == ("Half \ufffd." if tail else HALF)
    assert not stream or is_whole(dialect, answer)
    assert "Half \ufffd." in json.dumps(gateway.closed(answer.headers["x-request-id"]), ensure_ascii=False)


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("dialect", "kind"), [("responses", "openai"), ("messages", "anthropic")])
def test_a_mark_of_the_byte_order_before_a_whole_answer(
    gateway: Gateway, upstream: SaidUpstream, dialect: str, kind: str, status: int
) -> None:
    """Nobody has it: an answer is one, and an error says its words."""
    half(upstream, "messages" if kind == "anthropic" else "responses", stream=False)
    said = (
        upstream.body
        if status == 200
        else {"error": {"message": "Too odd.", "type": "invalid_request_error"}}
    )
    upstream.body, upstream.status = b"\xef\xbb\xbf" + json.dumps(said).encode(), status
    answer = say(gateway, dialect, model=kind)
    assert answer.status_code == status, answer.text
    if status == 200:
        assert text(dialect, answer, stream=False) == HALF
    else:
        assert error(dialect, answer)["message"] == "Too odd."


MARKED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "/v1/embeddings": ({"input": "x"}, {"data": [{"embedding": [0.5], "index": 0}]}),
    "/v1/responses/input_tokens": ({"input": "x"}, {"input_tokens": 7}),
    "/v1/images/generations": ({"prompt": "x"}, {"usage": {"input_tokens": 5, "output_tokens": 7}}),
}


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("path", MARKED)
def test_a_mark_of_the_byte_order_before_what_is_no_chat(
    gateway: Gateway, upstream: SaidUpstream, path: str, status: int
) -> None:
    """Nor has anybody that one: what it says of tokens and errors counts."""
    asked, said = MARKED[path]
    if status == 400:
        said = {"error": {"message": "Too odd.", "type": "invalid_request_error"}}
    upstream.body, upstream.status = b"\xef\xbb\xbf" + json.dumps(said).encode(), status
    with gateway.client() as client:
        answer = client.post(path, json={"model": "openai", **asked})
    assert answer.status_code == status, answer.text
    assert not answer.content.startswith(b"\xef")
    if status == 400:
        assert answer.json()["error"]["message"] == "Too odd."
    elif "usage" in said:
        assert "x-airboss-cost-usd" in answer.headers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_response_with_half_of_a_character_is_built_on(
    gateway: Gateway, upstream: SaidUpstream, stream: bool
) -> None:
    """It is kept, and the next that builds on it goes out and comes back."""
    half(upstream, "responses", stream=stream)
    first = say(gateway, "responses", model="openai", stream=stream)
    made = json.loads(ANSWER)["id"]
    assert made in first.text
    upstream.events, upstream.body = [], response(HALF, id="resp_2")
    second = say(gateway, "responses", model="openai", previous_response_id=made)
    assert second.status_code == 200, second.text
    assert second.json()["previous_response_id"] == made
    assert "Half \ufffd." in json.dumps(json.loads(upstream.seen[-1]), ensure_ascii=False)


@pytest.mark.parametrize("code", ["invalid_image_url", "bio_policy", "image_too_large"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_response_that_failed_by_its_request(
    gateway: Gateway, upstream: SaidUpstream, stream: bool, code: str
) -> None:
    """It is the caller's to mend: a 400 with OpenAI's code, asked once."""
    failed = response("", status="failed", output=[], error={"code": code, "message": "Not so."})
    upstream.body = failed
    if stream:
        upstream.events = [json.dumps({"type": "response.failed", "response": failed})]
    answer = say(gateway, "responses", model="patient", stream=stream)
    assert answer.status_code == 400, answer.text
    told = error("responses", answer)
    assert (told["code"], told["type"]) == (code, "invalid_request_error")
    assert len(upstream.seen) == 1
    assert gateway.closed(answer.headers["x-request-id"])["error_type"] == code


@pytest.mark.parametrize("name", ["response.completed", "response.incomplete"])
def test_an_end_without_its_response_is_none(gateway: Gateway, upstream: SaidUpstream, name: str) -> None:
    """A client would take it for the end: it hears that the stream broke off, and nothing else."""
    delta = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0}
    upstream.events = [
        json.dumps(each)
        for each in (
            {"type": "response.created", "response": response("", status="in_progress", output=[])},
            delta | {"delta": "Half"},
            {"type": name, "response": None},
        )
    ]
    answer = say(gateway, "responses", model="openai", stream=True)
    assert not is_whole("responses", answer)
    assert error_in_stream("responses", answer)["code"] == "stream_cut"
    assert text("responses", answer, stream=True) == "Half"


def gemini(*said: Any) -> list[str]:
    """Gemini's events: texts, then candidates as they are."""
    made = [
        each
        if isinstance(each, dict)
        else {"candidates": [{"content": {"parts": [{"text": each}]}}], "modelVersion": "g"}
        for each in said
    ]
    return [json.dumps(each) for each in made]


LAST = {
    "candidates": [{"content": {"parts": [{"text": "end."}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\n"


def as_stream(events: list[str], more: bytes = b"") -> bytes:
    """A stream that breaks before the end that it has promised."""
    return HEAD + b"".join(b"data: %s\n\n" % each.encode() for each in events) + more


@pytest.mark.parametrize(
    "more", [b"", b'data: {"cand', b"data: garbage\n\n"], ids=["breaks", "cut", "garbage"]
)
@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
def test_what_comes_of_gemini_behind_its_reason_to_stop(
    gateway: Gateway, upstream: SaidUpstream, dialect: str, more: bytes
) -> None:
    """The answer is whole, with the usage that was told with it."""
    upstream.raw = as_stream(gemini("An ", LAST), more)
    if dialect == "chat":
        answer = gateway.chat(model="gemini", stream=True)
        assert answer.text.endswith("data: [DONE]\n\n")
    else:
        answer = say(gateway, dialect, model="gemini", stream=True)
        assert is_whole(dialect, answer)
        assert text(dialect, answer, stream=True) == "An end."
    end = gateway.closed(answer.headers["x-request-id"])
    assert (end["status"], end["input_tokens"], end["output_tokens"]) == ("ok", 3, 2)
    assert not end["usage_estimated"]


@pytest.mark.parametrize("reason", [None, "MALFORMED_FUNCTION_CALL"])
def test_gemini_without_a_good_reason(gateway: Gateway, upstream: SaidUpstream, reason: str | None) -> None:
    """A stream that breaks without one, or whose answer is none, is no answer."""
    candidate = {"content": {"parts": [{"text": "end."}]}} | ({"finishReason": reason} if reason else {})
    upstream.raw = as_stream(gemini("An ", {"candidates": [candidate]}))
    answer = gateway.chat(model="gemini", stream=True)
    assert "[DONE]" not in answer.text
    assert gateway.closed(answer.headers["x-request-id"])["status"] == "error"


@pytest.mark.parametrize(
    "usage", [{"promptTokenCount": 3}, {"candidatesTokenCount": 2}, {"promptTokenCount": 10**19}]
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_gemini_that_miscounts(
    gateway: Gateway, upstream: SaidUpstream, stream: bool, usage: dict[str, int]
) -> None:
    """A count that is missing, or cannot be true, is ours, and the call has a cost."""
    upstream.body = LAST | {"usageMetadata": usage}
    upstream.events = gemini("An ", upstream.body) if stream else []
    end = gateway.closed(gateway.chat(model="gemini", stream=stream).headers["x-request-id"])
    assert (end["status"], end["usage_estimated"]) == ("ok", True)
    assert end["input_tokens"] > 0
    assert end["output_tokens"] > 0
    assert float(end["cost_usd"]) > 0


def test_gemini_that_thought_only(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Counts of nothing are left out there: nothing is estimated."""
    candidate = {"content": {"parts": []}, "finishReason": "MAX_TOKENS"}
    usage = {"promptTokenCount": 3, "thoughtsTokenCount": 7}
    upstream.body = {"candidates": [candidate], "usageMetadata": usage}
    end = gateway.closed(gateway.chat(model="gemini").headers["x-request-id"])
    assert (end["input_tokens"], end["output_tokens"], end["usage_estimated"]) == (3, 7, False)


@pytest.mark.parametrize(
    "usage", [{"inputTokens": 3}, {"outputTokens": 2}, {"inputTokens": -1, "outputTokens": 2}]
)
def test_bedrock_that_miscounts(gateway: Gateway, upstream: SaidUpstream, usage: dict[str, int]) -> None:
    """As Gemini's."""
    message = {"role": "assistant", "content": [{"text": "An end."}]}
    upstream.body = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage}
    end = gateway.closed(gateway.chat(model="bedrock").headers["x-request-id"])
    assert (end["status"], end["usage_estimated"]) == ("ok", True)
    assert end["input_tokens"] > 0
    assert end["output_tokens"] > 0


def overloaded() -> list[dict[str, Any]]:
    """Anthropic's stream, which breaks off for load."""
    start = {"id": "m", "type": "message", "model": "c", "content": [], "usage": {"input_tokens": 3}}
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "An "}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    ]


@pytest.mark.parametrize("model", ["anthropic", "gemini"])
def test_an_overload_within_a_stream_is_called_so(
    gateway: Gateway, upstream: SaidUpstream, model: str
) -> None:
    """An Anthropic client hears the type that it would have heard as a status."""
    upstream.events = [json.dumps(each) for each in overloaded()]
    if model == "gemini":
        upstream.events = gemini("An ", {"error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}})
    answer = say(gateway, "messages", model=model, stream=True)
    assert error_in_stream("messages", answer)["type"] == "overloaded_error"


def test_a_model_that_broke_off_is_asked_again(gateway: Gateway, upstream: SaidUpstream) -> None:
    """424 is what Bedrock and TGI say then."""
    upstream.status, upstream.body = 424, {"message": "The model broke off."}
    answer = gateway.chat(model="patient")
    assert answer.status_code == 502
    assert len(upstream.seen) == 2


@pytest.mark.parametrize("dialect", ["chat", "responses"])
def test_several_signed_thoughts(gateway: Gateway, upstream: SaidUpstream, dialect: str) -> None:
    """In a stream of chat they are numbered; the record, and Anthropic when it has them back, know none."""
    thoughts = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
    ]
    start = {"id": "m", "type": "message", "model": "c", "content": [], "usage": {"input_tokens": 3}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for at, block in enumerate((*thoughts, {"type": "tool_use", "id": "c1", "name": "f", "input": {}})):
        events.append({"type": "content_block_start", "index": at, "content_block": block})
        events.append({"type": "content_block_stop", "index": at})
    usage = {"output_tokens": 2}
    events += [{"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage}]
    events += [{"type": "message_stop"}]
    upstream.events = [json.dumps(each) for each in events]
    if dialect == "chat":
        answer = gateway.chat(model="anthropic", stream=True)
        lines = [json.loads(each[6:]) for each in answer.text.split("\n\n") if each.startswith("data: {")]
        deltas = [choice["delta"] for line in lines for choice in line["choices"]]
        told = [block for delta in deltas for block in delta.get("thinking_blocks", ())]
        assert [block["index"] for block in told] == [0, 1]
        end = gateway.closed(answer.headers["x-request-id"])
        kept = end["response"]["choices"][0]["message"]["thinking_blocks"]
        assert [block["type"] for block in kept] == [block["type"] for block in thoughts]
        assert not any("index" in block for block in kept)
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        turn = {"role": "assistant", "content": None, "thinking_blocks": told, "tool_calls": [call]}
        result = {"role": "tool", "tool_call_id": "c1", "content": "1"}
        gateway.chat(model="anthropic", messages=[{"role": "user", "content": "hi"}, turn, result])
    else:
        answer = say(gateway, dialect, model="anthropic", stream=True)
        made = streamed(answer)[-1][1]["response"]["id"]
        results = [{"type": "function_call_output", "call_id": "c1", "output": "1"}]
        say(gateway, dialect, results, model="anthropic", previous_response_id=made)
    blocks = json.loads(upstream.seen[-1])["messages"][1]["content"]
    assert [block["type"] for block in blocks] == ["thinking", "redacted_thinking", "tool_use"]
    assert not any("index" in block for block in blocks)


NATIVE = [("responses", "openai"), ("messages", "anthropic")]


@pytest.mark.parametrize("previous", [False, True], ids=["first", "goes on"])
def test_the_end_of_a_response_with_a_number_that_no_float_holds(
    gateway: Gateway, upstream: SaidUpstream, previous: bool
) -> None:
    """It is the end all the same, for the client as for the record."""
    half(upstream, "responses", stream=True)
    asked: dict[str, Any] = {"model": "openai", "stream": True}
    if previous:
        first = say(gateway, "responses", **asked)
        asked["previous_response_id"] = streamed(first)[-1][1]["response"]["id"]
    upstream.events[-1] = upstream.events[-1][:-1] + ', "sequence_number": 1e999}'
    answer = say(gateway, "responses", **asked)
    assert is_whole("responses", answer), answer.text
    last = streamed(answer)[-1][1]["response"]
    assert last["output"][0]["content"][0]["text"].startswith("Half ")
    assert gateway.closed(answer.headers["x-request-id"])["status"] == "ok"


@pytest.mark.parametrize(
    "said", [{"message": "Too \ud83d.", "code": 429}, "Too \ud83d."], ids=["object", "text"]
)
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize(("dialect", "kind"), NATIVE)
def test_an_error_without_a_type_in_a_stream(  # noqa: PLR0917 - a row of the table
    gateway: Gateway, upstream: SaidUpstream, dialect: str, kind: str, at: int, said: Any
) -> None:
    """A proxy before the provider says errors in OpenAI's words, whatever it stands before. It is one, with
    what it says, also where events follow it: clients take it for one."""
    half(upstream, dialect, stream=True)
    upstream.events.insert(at, json.dumps({"error": said}))
    answer = say(gateway, dialect, model=kind, stream=True)
    if answer.status_code == 200:
        assert not is_whole(dialect, answer)
        told = error_in_stream(dialect, answer)
    else:
        assert answer.status_code == (429 if isinstance(said, dict) else 502)
        told = error(dialect, answer)
    assert "Too \ufffd." in told["message"]
    assert '"error": ' not in answer.text  # as it came
    assert gateway.closed(answer.headers["x-request-id"])["status"] == "error"


@pytest.mark.parametrize(("dialect", "kind"), NATIVE)
def test_half_of_a_character_in_an_error_in_place_of_a_stream(
    gateway: Gateway, upstream: SaidUpstream, dialect: str, kind: str
) -> None:
    """Its words are told, as of any other error."""
    said = {"error": {"message": "Too \ud83d.", "type": "server_error", "code": "odd"}}
    upstream.raw = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + json.dumps(said).encode()
    answer = say(gateway, dialect, model=kind, stream=True)
    assert answer.status_code == 502
    assert "Too \ufffd." in error(dialect, answer)["message"]


def test_what_aws_shows_of_a_session(gateway: Gateway, upstream: SaidUpstream) -> None:
    """It tells what should have been signed, the session's token among it: nobody hears or keeps that."""
    signed = f"should have been 'POST\\n/model\\n\\nx-amz-security-token:{TOKEN}\\n' with {AWS_SECRET}"
    upstream.status, upstream.body = 403, {"message": f"The signature does not match. The String {signed}"}
    answer = gateway.chat(model="bedrock")
    assert answer.status_code == 502
    assert "The signature does not match" in answer.json()["error"]["message"]
    end = gateway.closed(answer.headers["x-request-id"])
    for seen in (answer.text, json.dumps(end), gateway.log):
        assert TOKEN not in seen
        assert AWS_SECRET not in seen


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_call_at_the_end_of_a_turn(gateway: Gateway, upstream: SaidUpstream, stream: bool) -> None:
    """A model that calls a tool and says that its turn has ended has stopped for the tool."""
    use = {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}
    usage = {"input_tokens": 3, "output_tokens": 2}
    whole = {"id": "m", "type": "message", "model": "c", "content": [use], "stop_reason": "end_turn"}
    upstream.body = whole | {"usage": usage}
    if stream:
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": whole | {"content": [], "usage": usage}},
            {"type": "content_block_start", "index": 0, "content_block": use},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
            {"type": "message_stop"},
        ]
        upstream.events = [json.dumps(each) for each in events]
    end = gateway.closed(gateway.chat(model="anthropic", stream=stream).headers["x-request-id"])
    assert end["finish_reason"] == "tool_calls"


def test_a_custom_tool_in_a_stream_of_chat(gateway: Gateway, upstream: SaidUpstream) -> None:
    """Its record has the call as a whole answer would have it."""
    call = {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "patch", "input": "*** "}}
    more = {"index": 0, "custom": {"input": "Begin"}}
    upstream.stream([{"tool_calls": [call]}, {"tool_calls": [more]}], "tool_calls")
    upstream.done = True
    end = gateway.closed(gateway.chat(model="openai", stream=True).headers["x-request-id"])
    expected = {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    assert end["response"]["choices"][0]["message"]["tool_calls"] == [expected]
