"""The gateway in front of a real local engine: whole answers made of its streams, and slots given back."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.domain.plan import Timeouts
from airboss.governance.policies import policy_of
from tests.support.engine import shallow_weights
from tests.support.engine_process import SLOT_TOKENS, SLOTS, Engine, engine
from tests.support.gateway import KEY, Gateway, deployment, together
from tests.support.wait import until

ASK = [{"role": "user", "content": "Name three colours."}]
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
PERSON = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}, "name": {"type": "string"}},
    "required": ["age", "name"],
}
LONG = {"messages": [{"role": "user", "content": "Tell a long story."}], "ignore_eos": True}


TOTAL_S = 120.0
"""For a call: an engine beside a busy program is slow, and at the end of its time an answer is cut short."""


@pytest.fixture(scope="module")
def running() -> Iterator[Engine]:
    """An engine for what does not depend on its words, nor on the time that they take."""
    with engine(weights=shallow_weights()) as started:
        yield started


SLOW = 10
"""Layers of a model that is not done at once, and has read a long prompt within two seconds."""


@pytest.fixture(scope="module")
def slow() -> Iterator[Engine]:
    """An engine that takes its time."""
    with engine(weights=shallow_weights(SLOW)) as started:
        yield started


@pytest.fixture(scope="module")
def gateway(running: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker in front of it."""
    with Gateway(tmp_path_factory.mktemp("engine"), local(running)) as started:
        yield started


@pytest.fixture(scope="module")
def patient(slow: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker in front of that."""
    with Gateway(tmp_path_factory.mktemp("patient"), local(slow)) as started:
        yield started


@pytest.fixture(scope="module")
def hasty(slow: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker that has a second for a call."""
    times = Timeouts(total_s=1.0, first_token_s=1.0, idle_s=1.0)
    plans = [
        local(slow, timeout=times),
        local(slow, timeout=times, name="masks", aliases=(), policy=policy_of("mask", None)),
    ]
    with Gateway(tmp_path_factory.mktemp("hasty"), *plans) as started:
        yield started


def local(running: Engine, **changes: Any) -> Any:
    """A deployment of the engine's model, as a plan has it."""
    fields = {"kind": "local", "upstream_model": "tiny", "tools": False, "slot_tokens": SLOT_TOKENS}
    fields |= {"timeout": Timeouts(total_s=TOTAL_S)} | changes
    return deployment(f"{running.url}/v1", **fields)


def asked(gateway: Gateway, path: str, body: dict[str, Any]) -> httpx2.Response:
    """An answer by way of the gateway."""
    with gateway.client() as client:
        return client.post(path, json={"model": "gpt-4o"} | body, timeout=TOTAL_S)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": (CHAT, {"messages": ASK}),
    "several": (CHAT, {"messages": ASK, "n": 3}),
    "logprobs": (CHAT, {"messages": ASK, "logprobs": True, "top_logprobs": 3}),
    "several with logprobs": (CHAT, {"messages": ASK, "logprobs": True, "top_logprobs": 2, "n": 2}),
    "seed": (CHAT, {"messages": ASK, "temperature": 1, "seed": 7, "max_tokens": 30}),
    "stop": (CHAT, {"messages": ASK, "stop": ["and"], "max_tokens": 30}),
    "stop at once": (CHAT, {"messages": ASK, "stop": ["("]}),
    "end of text": (CHAT, {"messages": ASK, "max_tokens": 60, "logit_bias": {"2": 36}}),
    "schema": (
        CHAT,
        {
            "messages": ASK,
            "max_tokens": 60,
            "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}},
        },
    ),
    "schema, cut": (
        CHAT,
        {
            "messages": ASK,
            "max_tokens": 8,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"schema": {"const": '\u65e5😀😀\x01"\\'}},
            },
            "logprobs": True,
            "top_logprobs": 1,
        },
    ),
    "continued": (CHAT, {"messages": [*ASK, {"role": "assistant", "content": "1. Red 2."}]}),
    "text": (TEXT, {"prompt": "Hello"}),
    "text, several": (TEXT, {"prompt": "Hello", "n": 2, "logprobs": 2}),
    "text, a list": (TEXT, {"prompt": ["Hello", "", "a b c"]}),
    "text, a list of several": (TEXT, {"prompt": ["Hello", "Good bye"], "n": 2}),
    "text, tokens": (TEXT, {"prompt": [1, 2, 3]}),
    "text, nothing": (TEXT, {"prompt": ""}),
    "text, stop": (TEXT, {"prompt": "1 2 3 4 5", "stop": ["and"], "max_tokens": 30}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_whole_answer_is_the_engines_own(gateway: Gateway, running: Engine, case: str) -> None:
    """Asked for as a stream and put together, it has every member that the engine itself gives, in its
    order; only the usage of several answers is their sum, where the engine counts one."""
    path, body = CASES[case]
    body = {"temperature": 0, "max_tokens": 12, "cache_prompt": False} | body
    own = running.ask(path, body).json()
    ended = "stop" in case or case in {"end of text", "schema"}
    assert {each["finish_reason"] for each in own["choices"]} == {"stop" if ended else "length"}
    response = asked(gateway, path, body)
    assert response.headers["content-type"] == "application/json"
    mine = response.json()
    assert list(mine) == list(own)
    assert set(mine["timings"]) == set(own["timings"])
    assert mine["id"].startswith("chatcmpl-")
    assert len(mine["id"]) == len(own["id"])
    assert mine["created"] >= own["created"]
    assert json.dumps(mine["choices"]) == json.dumps(own["choices"])
    for name in ("model", "object", "system_fingerprint"):
        assert mine[name] == own[name]
    usage = mine["usage"]
    assert set(usage) == set(own["usage"])
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    if len(mine["choices"]) == 1:
        assert usage == own["usage"]
    else:
        assert usage["completion_tokens"] > own["usage"]["completion_tokens"]
        one_prompt = path == CHAT or isinstance(body["prompt"], str)
        assert (usage["prompt_tokens"] == own["usage"]["prompt_tokens"]) is one_prompt
    end = gateway.closed(response.headers["x-request-id"])
    assert end["response"] == mine
    assert (end["input_tokens"], end["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert not end["usage_estimated"]
    assert [attempt["error_type"] for attempt in end["attempts"]] == [None]


def test_what_is_not_set_may_be_null(gateway: Gateway) -> None:
    """Client libraries write members that are not set so."""
    unset = {
        "name": None,
        "refusal": None,
        "reasoning_content": None,
        "tool_call_id": None,
        "tool_calls": None,
    }
    said = [ASK[0] | unset, {"role": "assistant", "content": "Red."} | unset, ASK[0]]
    response = asked(gateway, CHAT, {"messages": said, "max_tokens": 2, "stop": None, "seed": None})
    assert response.status_code == 200, response.text


TOOL_TEMPLATE = (Path(__file__).parent / "tools.jinja").read_text()
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}


CALL = {"name": "weather", "arguments": json.dumps({"city": "Rome", "days": 1})}
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "Weather in Rome for 1 days?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c0", "type": "function", "function": CALL}],
    },
    {"role": "user", "content": "Weather in Paris for 5 days?"},
]
"""After which even a small model calls the tool. To read it takes most of the time."""


def test_tool_calls_are_the_engines_own(tmp_path: Path) -> None:
    """Calls that come in pieces are put together, cut or not, alone or several; with logprobs, which the
    engine refuses in a stream with tools, the answer is the engine's whole one."""
    asks: list[dict[str, Any]] = [
        {"max_tokens": 60},
        {"max_tokens": 17},
        {"max_tokens": 60, "n": 2},
        # The last digits of logprobs depend on how a prompt was read.
        {"max_tokens": 60, "logprobs": True, "top_logprobs": 1, "cache_prompt": False},
    ]
    with (
        engine(chat_template=TOOL_TEMPLATE) as running,
        Gateway(tmp_path / "gateway", local(running, tools=True)) as gateway,
    ):
        talked = {"messages": TALK, "tools": [TOOL], "temperature": 0}
        running.ask(CHAT, talked | {"max_tokens": 1, "n": 2})  # both slots have read the prompt
        for ask in asks:
            body = talked | ask
            own = running.ask(CHAT, body).json()
            mine = asked(gateway, CHAT, body).json()
            for answer in (own, mine):
                for choice in answer["choices"]:
                    (call,) = choice["message"]["tool_calls"]
                    assert len(call.pop("id")) == 32
            assert json.dumps(mine["choices"]) == json.dumps(own["choices"])


def test_nothing_before_the_end(patient: Gateway, slow: Engine) -> None:
    """The client of a whole answer gets no byte, not even of the head, before the answer is whole."""
    until(lambda: slow.busy() == 0)
    with leaving(patient, LONG | {"max_tokens": 300}) as raw:
        # The first words are said, and hundreds are still to come.
        until(lambda: slow.said() > 10)
        raw.setblocking(False)
        with pytest.raises(BlockingIOError):
            raw.recv(1)
        raw.settimeout(60)
        head, _, rest = raw.recv(65536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert f"content-length: {len(rest)}".encode() in head


class leaving(socket.socket):  # noqa: N801 - a context manager
    """A client that has sent a chat call and will go away: leaving the block resets its connection."""

    def __init__(self, gateway: Gateway, body: dict[str, Any]) -> None:
        super().__init__()
        self.connect(("127.0.0.1", gateway.port))
        data = json.dumps({"model": "gpt-4o"} | body).encode()
        self.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n"
            b"content-length: %d\r\n\r\n%s" % (KEY.encode(), len(data), data)
        )


def word_soup(seed: int) -> list[dict[str, Any]]:
    """A prompt of some 900 tokens that no slot has in its cache."""
    words = ["tree", "house", "sky", "red", "man", "blue", "sea"]
    text = " ".join(words[(seed * 31 + i * i) % len(words)] + str(seed) for i in range(280))
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("case", ["whole", "whole, in the prompt", "stream", "stream, in the prompt"])
def test_an_abandoned_call_frees_its_slot_beside_a_stream(patient: Gateway, slow: Engine, case: str) -> None:
    """Beside a running stream the slot of a call whose client has gone is free within a second, or after the
    piece of the prompt that is being read; the stream goes on. On a busy machine the gateway may be held up
    while the engine goes on: a slot that is late is looked at again."""
    assert any(freed_in_time(patient, slow, case, attempt) for attempt in range(8))


class Over(Exception):
    """The stream ended before a busy machine went on with the test, so that nothing was seen."""


def freed_in_time(gateway: Gateway, running: Engine, case: str, attempt: int) -> bool:
    """Begin a stream and a call beside it, and leave that."""
    until(lambda: running.busy() == 0)
    abandoned: dict[str, Any] = {"stream": case.startswith("stream"), "max_tokens": 300}
    if "prompt" in case:
        abandoned["messages"] = word_soup(len(case) + 100 * attempt)
    # What nobody reads here waits in buffers; a stream of this length fits in them.
    with suppress(Over), leaving(gateway, LONG | {"max_tokens": 600, "stream": True}):
        until(lambda: running.busy() == 1)
        with leaving(gateway, LONG | abandoned):
            until(lambda: len(seen(running)) == 2, every_s=0.02)
            if "prompt" not in case:
                until(lambda: min(seen(running)) > 3, every_s=0.02)
        left, before = time.monotonic(), max(seen(running))
        now: int = until(lambda: alone(running), every_s=0.02)
        took_s = time.monotonic() - left
        until(lambda: max(seen(running)) > now)
        # The stream gets a token after each of the prompt's eight pieces. Seconds would say less there: on a
        # busy machine a piece may take one.
        return now - before <= 4 if "prompt" in case else took_s < 1.0
    return False


def seen(running: Engine) -> list[int]:
    """How many tokens the stream has made, and the call beside it. Raises Over where neither is at work."""
    made = tokens(running)
    if not made:
        raise Over
    return made


def alone(running: Engine) -> int:
    """How many tokens the only slot at work has made; 0 where there are several."""
    made = seen(running)
    return made[0] if len(made) == 1 else 0


def tokens(running: Engine) -> list[int]:
    """How many tokens each slot at work has made."""
    slots = running.client.get("/slots").json()
    return [slot["next_token"][0]["n_decoded"] for slot in slots if slot["is_processing"]]


def test_each_call_has_a_connection_of_its_own(gateway: Gateway) -> None:
    """Calls right after each other are answered at the first attempt: the engine closes a connection within
    milliseconds of a stream's end, and would lose what is sent into that."""
    with gateway.client() as client:
        for number in range(30):
            body = {"model": "gpt-4o", "messages": ASK, "max_tokens": 1, "stream": bool(number % 2)}
            response = client.post(CHAT, json=body)
            assert response.status_code == 200
            attempts = gateway.closed(response.headers["x-request-id"])["attempts"]
            assert [attempt["error_type"] for attempt in attempts] == [None]


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_does_not_fit(gateway: Gateway, stream: bool) -> None:
    """Found by the engine or before it is asked, it is OpenAI's own error, with the number and a way out."""
    for content in ("word " * 1500, "word " * 60_000):
        response = gateway.chat(content, stream=stream)
        assert response.status_code == 400
        error = response.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "context_length_exceeded")
        assert "1024" in error["message"]
        assert "context_tokens or fewer slots" in error["message"]


def test_a_whole_answer_has_a_first_token_too(gateway: Gateway) -> None:
    """The record of an answer that the client got whole tells when its first token came."""
    answer = asked(gateway, CHAT, {"messages": ASK, "max_tokens": 200, "ignore_eos": True})
    closed = gateway.closed(answer.headers["x-request-id"])
    assert 0 < closed["ttft_ms"] < closed["latency_ms"] / 2


@pytest.mark.parametrize(("stream", "screened"), [(False, False), (True, False), (False, True)])
def test_which_stop_sequence_ended_it(gateway: Gateway, hasty: Gateway, stream: bool, screened: bool) -> None:
    """The engine knows, and Anthropic's clients are told so; nothing else that it tells with that, as the
    whole prompt, comes out."""
    worker = hasty if screened else gateway
    said = {"messages": ASK, "temperature": 0, "max_tokens": 12} | ({"model": "masks"} if screened else {})
    text = asked(worker, CHAT, said).json()["choices"][0]["message"]["content"]
    word = text[3:6]
    fields = {"stop_sequences": ["zzz", word], "stream": stream}
    answer = asked(worker, "/v1/messages", said | fields)
    told = last(answer, "stop_sequence") if stream else answer.json()
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", word)
    answer = asked(worker, "/v1/messages", said | fields | {"stop_sequences": ["zzz"], "max_tokens": 3})
    told = last(answer, "stop_sequence") if stream else answer.json()
    assert (told["stop_reason"], told["stop_sequence"]) == ("max_tokens", None)
    record = worker.closed(answer.headers["x-request-id"])
    for each in (answer.text, json.dumps(record)):
        assert "__verbose" not in each
        assert "im_start" not in each


def last(answer: httpx2.Response, name: str) -> dict[str, Any]:
    """The last object in a stream's events that has this member, and not as null."""
    found: list[dict[str, Any]] = []

    def look(value: Any) -> None:
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look(each)
        if isinstance(value, dict) and (value.get(name) is not None or "stop_reason" in value):
            found.append(value)

    for line in answer.text.splitlines():
        if line.startswith("data: {"):
            look(json.loads(line[6:]))
    return found[-1]


def test_progress_and_usage_stay_out_of_a_stream(gateway: Gateway) -> None:
    """A stream has neither the engine's progress nor a usage that nobody asked for; both are used inside."""
    response = gateway.chat("Name three colours.", stream=True, max_tokens=8, n=2, temperature=0)
    assert "prompt_progress" not in response.text
    assert '"usage"' not in response.text
    assert response.text.endswith("data: [DONE]\n\n")
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["output_tokens"], end["usage_estimated"]) == (16, False)
    assert end["input_tokens"] == 34


@pytest.mark.parametrize(
    "asks",
    [
        {"messages": ASK},
        {"messages": ASK, "n": 2, "max_tokens": 10**9},
        {"prompt": "Once", "max_tokens": 2**31 - 1},
        {"messages": [{"role": "user", "content": "Mail ann@example.org"}], "model": "masks"},
    ],
)
def test_more_than_there_is_time_for(slow: Engine, hasty: Gateway, asks: dict[str, Any]) -> None:
    """What has been said when the call's time is over is the answer: it ends by its length, with its usage,
    and the engine is free again."""
    told: dict[bool, dict[str, Any]] = {
        False: {"ignore_eos": True},
        True: {"ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}},
    }
    path = TEXT if "prompt" in asks else CHAT
    # Whole and streamed at once: each takes all of its time.
    answers = together({stream: partial(asked, hasty, path, each | asks) for stream, each in told.items()})
    for stream, answer in answers.items():
        ends_by_its_length(hasty, answer, count=asks.get("n", 1), stream=stream)
    until(lambda: not slow.busy(), timeout_s=10)


@pytest.mark.parametrize("stream", [False, True])
def test_less_time_than_there_would_be(slow: Engine, patient: Gateway, *, stream: bool) -> None:
    """A client that says how long its call may take has by then what was said, as where the deployment says
    it."""
    body = {"model": "gpt-4o", "messages": ASK, "ignore_eos": True, "stream": stream}
    body |= {"stream_options": {"include_usage": True}} if stream else {}
    with patient.client() as client:
        answer = client.post(CHAT, json=body, headers={"x-airboss-timeout-s": "1"}, timeout=TOTAL_S)
    ends_by_its_length(patient, answer, count=1, stream=stream)
    until(lambda: not slow.busy(), timeout_s=10)


def ends_by_its_length(hasty: Gateway, answer: httpx2.Response, *, count: int, stream: bool) -> None:
    """An answer of so many that was cut, and its record, say so, and the usage is the engine's."""
    assert answer.status_code == 200, answer.text
    closed = hasty.closed(answer.headers["x-request-id"])
    assert (closed["status"], closed["finish_reason"], closed["usage_estimated"]) == ("ok", "length", False)
    assert [attempt["error_type"] for attempt in closed["attempts"]] == [None]
    if stream:
        assert answer.text.endswith("data: [DONE]\n\n")
        events = [json.loads(each[6:]) for each in answer.text.split("\n\n")[:-2] if each]
        reasons = [c["finish_reason"] for e in events for c in e["choices"] if c["finish_reason"]]
        used = [event["usage"] for event in events if event.get("usage")]  # of each answer its own
        usage = used[0] | {"completion_tokens": sum(each["completion_tokens"] for each in used)}
    else:
        reasons = [choice["finish_reason"] for choice in answer.json()["choices"]]
        usage = answer.json()["usage"]
        said = [choice.get("text") or choice["message"]["content"] for choice in answer.json()["choices"]]
        assert all(said)
    assert reasons == ["length"] * count
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (
        closed["input_tokens"],
        closed["output_tokens"],
    )
    assert 0 < usage["completion_tokens"] < SLOT_TOKENS * count


def test_no_time_for_a_beginning(slow: Engine, hasty: Gateway) -> None:
    """A call that has waited for a slot all the time has no answer, and says so."""
    blocking = LONG | {"max_tokens": 900, "n": 4, "stream": True}
    with slow.client.stream("POST", CHAT, json=blocking) as stream:
        assert stream.status_code == 200
        until(lambda: slow.busy() == SLOTS)
        answer = asked(hasty, CHAT, {"messages": ASK})
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout_total")


def test_a_dying_engine_is_an_ordinary_error(tmp_path: Path) -> None:
    """An engine killed in the middle of a whole answer gives an error with a status, and no piece of it."""
    with (
        engine(weights=shallow_weights(SLOW)) as running,
        Gateway(tmp_path / "gateway", local(running)) as gateway,
        leaving(gateway, LONG | {"max_tokens": 400}) as raw,
    ):
        until(lambda: min(tokens(running), default=0) > 3)
        running.process.kill()
        raw.settimeout(60)
        assert raw.recv(65536).startswith(b"HTTP/1.1 502 ")
