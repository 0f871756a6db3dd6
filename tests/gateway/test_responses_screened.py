"""Responses that pass to their provider under a policy that changes what is said: hosted tools and all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airboss.governance.policies import policy_of
from tests.gateway.test_dialect_screen import kept
from tests.support.gateway import Gateway, deployment
from tests.support.said_upstream import SaidUpstream, said_upstream
from tests.support.spoken import error, is_whole, say, streamed, text

Json = dict[str, Any]
MINE, THEIRS, MORE = "jane.doe@example.com", "bob@example.org", "ops@example.net"
ASKED: Json = {
    "instructions": f"Copy {MORE}",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": f"I am {MINE}", "new": [1e3]}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": json.dumps({"to": MINE})},
        {"type": "function_call_output", "call_id": "c1", "output": f"sent to {MINE}"},
        {"type": "computer_call_output", "call_id": "c2", "output": {"odd": f"saw {MORE}"}},
    ],
    "tools": [{"type": "web_search"}, {"type": "mcp", "server_label": f"of {MORE}"}],
}
MASKS = {MINE: "[EMAIL]", MORE: "[EMAIL]", THEIRS: "[EMAIL]"}
TOKENS = {MINE: "<EMAIL_1>", MORE: "<EMAIL_2>"}


def put(value: Any, words: dict[str, str]) -> Any:
    """A value with others in place of these."""
    said = json.dumps(value)
    for word, other in words.items():
        said = said.replace(word, other)
    return json.loads(said)


def answer(said: str, *, status: str = "completed") -> Json:
    """A response that says something in every way."""
    part = {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
    return {
        "id": "resp_theirs", "object": "response", "status": status, "model": "up-1",
        "instructions": put(ASKED["instructions"], MASKS),
        "output": [
            {"id": "ws", "type": "web_search_call", "status": "completed", "action": {"query": f"q {said}"}},
            {"id": "rs", "type": "reasoning", "summary": [{"type": "summary_text", "text": f"hm {said}"}]},
            {"id": "msg", "type": "message", "role": "assistant", "content": [part]},
            {"id": "fc", "type": "function_call", "call_id": "c9", "arguments": json.dumps({"a": said})},
        ],
        "usage": {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14},
    }  # fmt: skip


def events(said: str, cut: int) -> list[str]:
    """The same as a stream, its text cut at one place."""
    return events_of(answer(said), {1: f"hm {said}", 2: said, 3: json.dumps({"a": said})}, cut)


def events_of(whole: Json, texts: dict[int, str], cut: int) -> list[str]:
    """A response as a stream, the texts of its items cut at one place."""
    begun = whole | {"status": "in_progress", "output": []}
    found: list[Json] = [{"type": "response.created", "response": begun}]
    grows = {1: "reasoning_summary_text", 2: "output_text", 3: "function_call_arguments"}
    for index, item in enumerate(whole["output"]):
        found.append({"type": "response.output_item.added", "output_index": index, "item": item})
        if index in grows:
            grown = texts[index]
            at = {"item_id": item["id"], "output_index": index, "content_index": 0}
            name = f"response.{grows[index]}"
            found += [{"type": f"{name}.delta", **at, "delta": each} for each in (grown[:cut], grown[cut:])]
            found.append({"type": f"{name}.done", **at, "arguments" if index == 3 else "text": grown})
        found.append({"type": "response.output_item.done", "output_index": index, "item": item})
    found.append({"type": "response.completed", "response": whole})
    return [json.dumps(each | {"sequence_number": number}) for number, each in enumerate(found)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worker's folder."""
    return tmp_path_factory.mktemp("screened")


@pytest.fixture(scope="module")
def upstream() -> Iterator[SaidUpstream]:
    """An upstream that says what it is told."""
    with said_upstream() as running:
        running.done = False
        yield running


@pytest.fixture(scope="module")
def gateway(upstream: SaidUpstream, root: Path) -> Iterator[Gateway]:
    """A worker in front of it as OpenAI, under four policies."""
    plans = [
        deployment(upstream.url, name=each, aliases=(), kind="openai", policy=policy_of(each, None))
        for each in ("mask", "tokenize", "observe", "block")
    ]
    with Gateway(root, *plans) as running:
        yield running


def ask(gateway: Gateway, upstream: SaidUpstream, model: str, said: str, cut: int | None) -> Any:
    """The response object that the client gets, and the call's record: its request, and its end."""
    upstream.body, upstream.events = answer(said), [] if cut is None else events(said, cut)
    response = say(gateway, "responses", "", model=model, stream=cut is not None, **ASKED)
    assert upstream.paths[-1] == "/v1/responses", response.text
    if cut is None:
        made = response.json()
    else:
        assert is_whole("responses", response)
        heard = streamed(response)
        made = heard[-1][1]["response"]
        assert text("responses", response, stream=True) == made["output"][2]["content"][0]["text"]
        assert [data["sequence_number"] for _, data in heard] == list(range(len(heard)))
        calls = [data["delta"] for name, data in heard if name == "response.function_call_arguments.delta"]
        assert "".join(calls) == made["output"][3]["arguments"]
    record_id = response.headers["x-request-id"]
    return made, gateway.frames()[0][record_id]["request"], gateway.closed(record_id)


@pytest.mark.parametrize("cut", [None, *range(1, len(THEIRS) + 6)])
def test_masked(gateway: Gateway, upstream: SaidUpstream, root: Path, cut: int | None) -> None:
    """What goes up, comes back, is recorded and is kept has no value; all else goes up as it was."""
    upstream.write_bytes = 1 << 20 if cut is None else cut
    made, opened, closed = ask(gateway, upstream, "mask", f"to {THEIRS}!", cut)
    body = json.loads(upstream.seen[-1])
    assert {name: body[name] for name in ASKED} == put(ASKED, MASKS)
    assert {name: opened[name] for name in ASKED} == put(ASKED, MASKS)
    assert made == closed["response"] == answer("to [EMAIL]!")
    found = {each["where"]: each["count"] for each in closed["policy"]}
    assert found.pop("request") == 2  # of a computer and of a server, which chat does not have
    assert sum(count for where, count in found.items() if where.startswith("request.")) == 4
    assert sum(count for where, count in found.items() if where.startswith("response.output")) == 4
    assert closed["status"] == "ok"
    with gateway.client() as client:
        assert client.get("/v1/responses/resp_theirs").json() == made
    assert not any(value in kept(root) for value in (MINE, THEIRS, MORE))


@pytest.mark.parametrize("cut", [None, *range(1, 16)])
def test_tokens(gateway: Gateway, upstream: SaidUpstream, root: Path, cut: int | None) -> None:
    """The client gets its own values back in every text; upstream, record and ledger have placeholders."""
    upstream.write_bytes = 1 << 20
    made, opened, closed = ask(gateway, upstream, "tokenize", "to <EMAIL_1>!", cut)
    body = json.loads(upstream.seen[-1])
    assert (
        {name: body[name] for name in ASKED} == {name: opened[name] for name in ASKED} == put(ASKED, TOKENS)
    )
    assert made == answer(f"to {MINE}!")
    assert closed["response"] == answer("to <EMAIL_1>!")
    assert not any(value in kept(root) for value in (MINE, MORE))


@pytest.mark.parametrize("cut", [None, 1, 7])
def test_counted(gateway: Gateway, upstream: SaidUpstream, cut: int | None) -> None:
    """Observing counts in the answer what masking masks, where that is, and changes nothing."""

    def found(closed: Json) -> list[tuple[str, int, str]]:
        return [(each["kind"], each["count"], each["where"]) for each in closed["policy"]]

    said = f"{THEIRS} to {MORE}"
    counted, _, observed = ask(gateway, upstream, "observe", said, cut)
    assert counted["output"] == answer(said)["output"]
    _, _, masked = ask(gateway, upstream, "mask", said, cut)
    in_answer = [each for each in found(masked) if each[2].startswith("response")]
    assert sum(count for _, count, _ in in_answer) >= 8
    assert [each for each in found(observed) if each[2].startswith("response")] == in_answer


def test_a_conversation_is_screened_anew(gateway: Gateway, upstream: SaidUpstream) -> None:
    """What was kept under no acting policy goes up under the policy of the call that builds on it."""
    made, _, _ = ask(gateway, upstream, "observe", f"to {THEIRS}!", None)
    upstream.body = answer("ok")
    again = say(gateway, "responses", "again", model="mask", previous_response_id=made["id"])
    assert again.json()["previous_response_id"] == made["id"]
    body = json.loads(upstream.seen[-1])
    assert "to [EMAIL]!" in json.dumps(body["input"])
    assert not any(value in json.dumps(body) for value in (MINE, THEIRS, MORE))


def test_a_stream_that_breaks_off(gateway: Gateway, upstream: SaidUpstream) -> None:
    """The client hears that it failed, after what of it is no value and no beginning of one; the record has
    the same."""
    upstream.write_bytes = 1 << 20
    whole = events(f"to {THEIRS} and dora@", len(f"to {THEIRS} and do"))
    cut = next(number for number, each in enumerate(whole) if '"delta": "ra@"' in each)
    upstream.events = whole[: cut + 1]
    response = say(gateway, "responses", "hi", model="mask", stream=True)
    assert streamed(response)[-1][0] == "response.failed"
    assert text("responses", response, stream=True) == "to [EMAIL] and "
    closed = gateway.closed(response.headers["x-request-id"])
    assert (closed["status"], "to [EMAIL] and " in json.dumps(closed["response"])) == ("error", True)
    assert THEIRS not in response.text + json.dumps(closed)


def test_an_error_that_says_the_value_again(gateway: Gateway, upstream: SaidUpstream) -> None:
    """It is masked as ever."""
    failed = {
        "type": "response.failed",
        "response": {"error": {"code": "server_error", "message": f"no {THEIRS}"}},
    }
    upstream.events = [json.dumps(failed)]
    response = say(gateway, "responses", "hi", model="mask", stream=True)
    assert "no [EMAIL]" in error("responses", response)["message"]


CUT = "carol@example.com"


@pytest.mark.parametrize("cut", [None, *range(1, 24)])
def test_blocked(gateway: Gateway, upstream: SaidUpstream, root: Path, cut: int | None) -> None:
    """The request goes up as it was, and the answer is what came before the value: hosted tools, thoughts,
    and the beginning of the text; it is told as incomplete, in the record too."""
    upstream.write_bytes = 1 << 20 if cut is None else cut
    said, words = answer("ok"), f"Mail to {CUT}!"
    said["output"][2]["content"][0]["text"] = words
    upstream.body, upstream.events = said, []
    if cut is not None:
        upstream.events = events_of(said, {1: "hm ok", 2: words, 3: json.dumps({"a": "ok"})}, cut)
    response = say(
        gateway, "responses", "hi", model="block", stream=cut is not None, tools=[{"type": "web_search"}]
    )
    assert upstream.paths[-1] == "/v1/responses", response.text
    assert json.loads(upstream.seen[-1])["tools"] == [{"type": "web_search"}]
    made = response.json() if cut is None else streamed(response)[-1][1]["response"]
    if cut is not None:
        assert streamed(response)[-1][0] == "response.incomplete"
        assert text("responses", response, stream=True) == "Mail to "
    assert (made["status"], made["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
    assert [item["type"] for item in made["output"]] == ["web_search_call", "reasoning", "message"]
    assert made["output"][2]["content"][0]["text"] == "Mail to "
    closed = gateway.closed(response.headers["x-request-id"])
    assert (closed["status"], closed["response"]) == ("refused", made)
    assert [(each["kind"], each["action"]) for each in closed["policy"]] == [("email", "block")]
    assert CUT not in response.text + kept(root)


def test_a_blocked_value_where_chat_has_no_words(
    gateway: Gateway, upstream: SaidUpstream, root: Path
) -> None:
    """The request is refused, though chat would not have had it."""
    asked = len(upstream.seen)
    odd = [{"type": "computer_call_output", "call_id": "c", "output": {"odd": f"saw {CUT}"}}]
    response = say(gateway, "responses", odd, model="block")
    assert error("responses", response)["code"] == "content_policy"
    assert "email" in response.json()["error"]["message"]
    assert len(upstream.seen) == asked
    closed = gateway.closed(response.headers["x-request-id"])
    assert closed["status"] == "refused"
    assert [(each["kind"], each["action"]) for each in closed["policy"]] == [("email", "block")]
    assert CUT not in kept(root)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["mask", "tokenize", "block"])
def test_half_of_a_character(gateway: Gateway, upstream: SaidUpstream, model: str, stream: bool) -> None:
    """It counts as U+FFFD: a value beside it is found, and the answer ends as any other."""
    half = f"hi \ud83d {THEIRS if model != 'tokenize' else '<EMAIL_1>'}"
    whole = answer("hi") | {"output": [answer(half)["output"][2]]}
    at = {"item_id": "msg", "output_index": 0, "content_index": 0}
    begun = {"type": "response.created", "response": whole | {"output": []}}
    delta = {"type": "response.output_text.delta", **at, "delta": half}
    said = [begun, delta, {"type": "response.completed", "response": whole}]
    upstream.write_bytes = 1 << 20
    upstream.body, upstream.events = whole, [json.dumps(each) for each in said] if stream else []
    asked = {"input": f"I am {MINE}"} if model == "tokenize" else {"input": "hi"}
    response = say(gateway, "responses", "", model=model, stream=stream, **asked)
    assert response.status_code == 200, response.text
    rest = {"mask": "[EMAIL]", "tokenize": MINE, "block": ""}[model]
    made = streamed(response)[-1][1]["response"] if stream else response.json()
    assert made["output"][0]["content"][0]["text"] == f"hi \ufffd {rest}"
    assert text("responses", response, stream=stream) == f"hi \ufffd {rest}"
    assert made["status"] == ("incomplete" if model == "block" else "completed")
    closed = gateway.closed(response.headers["x-request-id"])
    assert closed["status"] == ("refused" if model == "block" else "ok")
    assert THEIRS not in json.dumps(closed)
    assert "hi \ufffd " in json.dumps(closed, ensure_ascii=False)
