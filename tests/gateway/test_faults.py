"""Whatever the upstream does, the client gets a whole answer or a clear error, and the record says which."""

from __future__ import annotations

import json
import socket
from functools import partial
from pathlib import Path

import httpx2
import pytest

from airboss.providers import o200k
from airboss.testing import FakeProvider, ScriptStep
from tests.support.gateway import KEY, SILENT, Gateway, asking, together
from tests.support.wait import until

CHAT = "/v1/chat/completions"
WHOLE = "The quick brown fox jumps over the lazy dog, twice."
OK = (200, None)

# Fault, then (status, code) of a whole answer and of a stream; a stream's status None: an error within it.
FAULTS: list[tuple[str, tuple[int | None, str | None], tuple[int | None, str | None]]] = [
    ("429", (429, "rate_limit_exceeded"), (429, "rate_limit_exceeded")),
    ("429-no-retry-after", (429, "rate_limit_exceeded"), (429, "rate_limit_exceeded")),
    ("500", (502, "upstream_error"), (502, "upstream_error")),
    ("503", (503, "upstream_unavailable"), (503, "upstream_unavailable")),
    ("529", (503, "upstream_unavailable"), (503, "upstream_unavailable")),
    ("reset", (502, "upstream_error"), (502, "upstream_error")),
    ("close", (502, "upstream_error"), (502, "upstream_error")),
    ("silence", (504, "timeout_total"), (504, "timeout_first_token")),
    ("late-first-token;for_s=0.2", OK, OK),
    ("late-head;for_s=0.2", OK, OK),
    ("drip-headers;pause_s=0.001", OK, OK),
    ("cut-reset", (502, "upstream_error"), (None, "upstream_error")),
    ("cut-close", (502, "upstream_error"), (None, "upstream_error")),
    ("cut-end", (502, "upstream_error"), (None, "stream_cut")),
    ("stall", (504, "timeout_total"), (None, "timeout_idle")),
    ("malformed-event", (502, "upstream_error"), (None, "upstream_error")),
    ("malformed-chunk", (502, "upstream_error"), (None, "upstream_error")),
    ("no-done", OK, OK),
    ("no-usage", OK, OK),
    ("duplicate-final", OK, OK),
    ("context-length", (400, "context_length_exceeded"), (400, "context_length_exceeded")),
    ("content-filter", (400, "content_filter"), (400, "content_filter")),
    ("html", (502, "upstream_error"), (502, "upstream_error")),
    ("wrong-content-type", OK, OK),
    ("redirect-307", (502, "upstream_error"), (502, "upstream_error")),
    ("redirect-308", (502, "upstream_error"), (502, "upstream_error")),
    ("gzip", OK, OK),
    ("close-delimited", OK, OK),
    ("byte-writes", OK, OK),
    ("utf8-split", OK, OK),
    ("sse-crlf", OK, OK),
    ("sse-comments", OK, OK),
    ("truncated-body", (502, "upstream_error"), OK),
    ("close-keep-alive", OK, OK),
    ("informational", OK, OK),
    ("large-headers", OK, OK),
    ("echo-authorization", (502, "upstream_auth"), (502, "upstream_auth")),
]


@pytest.fixture(scope="module")
def silent(shared_gateway: Gateway) -> dict[tuple[str, bool], httpx2.Response]:
    """The answers to calls whose time runs out, by fault and whether they are streams."""
    ask = partial(shared_gateway.chat, model="hasty-assistant")
    return together(
        {
            (fault, stream): partial(ask, asking(fault, WHOLE), stream=stream)
            for fault in SILENT
            for stream in (False, True)
        }
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("fault", "whole", "streamed"), FAULTS, ids=[f[0].partition(";")[0] for f in FAULTS])
def test_fault(  # noqa: PLR0917 - a row of the table
    request: pytest.FixtureRequest,
    gateway: Gateway,
    provider: FakeProvider,
    fault: str,
    whole: tuple[int | None, str | None],
    streamed: tuple[int | None, str | None],
    stream: bool,
) -> None:
    """A fault gives a whole answer or an error in OpenAI's shape, never a clean-looking part of an answer."""
    status, code = streamed if stream else whole
    if fault in SILENT:
        response = request.getfixturevalue("silent")[fault, stream]
    else:
        provider.script(ScriptStep(behaviour=f"{fault};text={WHOLE}", forever=True))  # one more may be sent
        response = gateway.chat(stream=stream)
    record_id = response.headers["x-request-id"]
    end = gateway.closed(record_id)
    assert response.status_code == (status or 200), response.text
    if code is None:
        assert _text(response, stream=stream).startswith(WHOLE[:20])
        assert end["status"] == "ok"
        assert len(end["attempts"]) == 1
        return
    if status is None:
        assert "[DONE]" not in response.text
        last = [event for event in response.text.split("\n\n") if event][-1]
        said = json.loads(last.removeprefix("data: "))["error"]
    else:
        said = response.json()["error"]
    assert set(said) == {"message", "type", "code", "param"}
    assert said["code"] == code, said
    assert (end["status"], end["error_type"]) == ("error", code)
    assert end["attempts"][-1]["error_type"] == code
    if fault == "429":
        assert response.headers["retry-after"] == "1"


def _text(response: httpx2.Response, *, stream: bool) -> str:
    if not stream:
        return str(response.json()["choices"][0]["message"]["content"])
    events = [e for e in response.text.replace("\r\n", "\n").split("\n\n") if "data:" in e]
    assert events[-1].strip() == "data: [DONE]"
    assert response.text.count("[DONE]") == 1
    datas = [
        line.removeprefix("data:").strip()
        for e in events[:-1]
        for line in e.split("\n")
        if line[:5] == "data:"
    ]
    choices = [c for data in datas for c in json.loads(data)["choices"]]
    return "".join(c["delta"].get("content") or "" for c in choices)


def test_error_object_with_200(gateway: Gateway, provider: FakeProvider) -> None:
    """An error that calls itself 200 is still an error."""
    for stream in (False, True):
        provider.script("error-200")
        response = gateway.chat(stream=stream)
        assert response.status_code >= 400, response.text
        assert response.json()["error"]["message"]


def test_error_event_in_a_stream(gateway: Gateway, provider: FakeProvider) -> None:
    """An error event after real output ends the stream in band, without `[DONE]`."""
    provider.script("error-mid-stream;words=20")
    response = gateway.chat(stream=True)
    assert response.status_code == 200
    assert '"error"' in response.text
    assert "[DONE]" not in response.text
    assert gateway.closed(response.headers["x-request-id"])["status"] == "error"


def test_content_filter_finish_passes(gateway: Gateway, provider: FakeProvider) -> None:
    """A provider's own filter is passed on with its reason."""
    provider.script("content-filter-finish;words=20")
    response = gateway.chat(stream=True)
    end = gateway.closed(response.headers["x-request-id"])
    assert (end["status"], end["finish_reason"]) == ("ok", "content_filter")


@pytest.mark.parametrize("stream", [False, True])
def test_choices_and_tools_are_put_together(gateway: Gateway, provider: FakeProvider, stream: bool) -> None:
    """Interleaved choices and split tool arguments reach client and record whole."""
    provider.script("interleaved-choices;words=12")
    response = gateway.chat(n=2, stream=stream)
    end = gateway.closed(response.headers["x-request-id"])
    assert [c["index"] for c in sorted(end["response"]["choices"], key=lambda c: c["index"])] == [0, 1]
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    provider.script("tool-split")
    response = gateway.chat(tools=[tool], stream=stream)
    end = gateway.closed(response.headers["x-request-id"])
    calls = end["response"]["choices"][0]["message"]["tool_calls"]
    assert len(calls) == 2
    for call in calls:
        assert call["function"]["name"] == "look_up"
        assert isinstance(json.loads(call["function"]["arguments"]), dict)


def test_large_event(gateway: Gateway, provider: FakeProvider) -> None:
    """A 1 MB event passes."""
    for stream in (False, True):
        provider.script("large-event")
        response = gateway.chat(stream=stream)
        assert gateway.closed(response.headers["x-request-id"])["output_chars"] >= 1024 * 1024 - 200


def test_missing_usage_is_estimated_and_marked(gateway: Gateway, provider: FakeProvider) -> None:
    """A provider that reports no usage leaves an estimate that says that it is one."""
    provider.script(f"no-usage;text={WHOLE}")
    end = gateway.closed(gateway.chat(stream=True).headers["x-request-id"])
    assert end["usage_estimated"]
    assert end["output_tokens"] == o200k.count(WHOLE)


def test_retries_are_attempts_of_one_record(gateway: Gateway, provider: FakeProvider) -> None:
    """A call that fares better the second time is one call with two attempts."""
    provider.script("500", ScriptStep(behaviour="reset"), "ok")
    response = gateway.chat(model="patient")
    assert response.status_code == 200
    end = gateway.closed(response.headers["x-request-id"])
    assert [a["error_type"] for a in end["attempts"]] == ["upstream_error", "connection_stale", None]
    assert provider.stats().requests == 3


def test_a_caller_mistake_is_never_retried(gateway: Gateway, provider: FakeProvider) -> None:
    """A 400 is the caller's to mend: it is asked once."""
    provider.script(ScriptStep(behaviour="context-length", forever=True))
    assert gateway.chat(model="patient").status_code == 400
    assert provider.stats().requests == 1


def test_nothing_is_tried_again_after_the_first_token(gateway: Gateway, provider: FakeProvider) -> None:
    """Once the client has real output, a break is told, not repeated."""
    provider.script("cut-reset;words=20", "ok")
    response = gateway.chat(model="patient", stream=True)
    assert "[DONE]" not in response.text
    assert provider.stats().requests == 1


def test_a_retry_happens_before_the_first_token(gateway: Gateway, provider: FakeProvider) -> None:
    """A stream that breaks before any real output is tried again, unseen."""
    provider.script("cut-reset;words=20;after=0", "ok")
    response = gateway.chat(model="patient", stream=True)
    assert response.text.endswith("data: [DONE]\n\n")
    assert provider.stats().requests == 2


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_upstream_is_cancelled_when_the_client_goes(
    gateway: Gateway,
    provider: FakeProvider,
    stream: bool,
) -> None:
    """At once, though it would answer for 40 s yet, and the record says cancelled."""
    provider.script("ok;words=2000;tokens_per_s=50")
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    if stream:
        with gateway.client() as client, client.stream("POST", CHAT, json=body) as response:
            next(response.iter_lines())
    else:
        gateway.leave(CHAT, body, once=lambda: provider.stats().in_flight == 1)
    until(lambda: provider.stats().cancelled == 1)
    opened, _ = gateway.frames()
    end = gateway.closed(max(opened))
    assert (end["status"], end["error_type"]) == ("cancelled", "client_disconnected")
    if stream:
        assert end["usage_estimated"]
        assert end["output_chars"] > 0


def test_a_slow_reader_is_waited_for_without_hoarding(gateway: Gateway, provider: FakeProvider) -> None:
    """A client that reads nothing makes the upstream wait; what it has not read does not pile up with us."""
    rss_before = _rss(gateway.process.pid)
    provider.script("large-event;size_bytes=60000000")
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "stream": False})
    with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
        raw.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}".encode()
        )
        until(lambda: provider.stats().answered == 1)
    until(lambda: _rss(gateway.process.pid) < rss_before + 250_000_000)
    answer = gateway.chat()
    assert answer.status_code == 200, answer.text


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_secrets_stay_out(gateway: Gateway, provider: FakeProvider) -> None:
    """Neither the provider's key nor the caller's reaches answer, journal, log or metrics."""
    secret = "sk-provider-secret-0123456789"
    provider.script("echo-authorization")
    refused = gateway.chat()
    assert refused.status_code == 502
    assert secret not in refused.text
    escaped = "".join(f"\\u{ord(c):04x}" for c in secret)
    raw = (
        b'{"model":"gpt-4o","user":"%s","messages":'
        b'[{"role":"user","content":"my key is %s, %s, %s preset-secret"}]}'
        % (KEY.encode(), KEY.encode(), secret.encode(), escaped.encode())
    )
    with gateway.client() as client:
        response = client.post("/v1/chat/completions", content=raw)
    assert response.status_code == 200
    opened, _ = gateway.frames()
    seen = opened[response.headers["x-request-id"]]
    assert "[REDACTED]" in seen["request"]["messages"][0]["content"]
    everything = gateway.journal_bytes() + gateway.log.encode() + httpx2.get(f"{gateway.url}/metrics").content
    for hidden in (secret, escaped, KEY, "preset-secret"):
        assert hidden.encode() not in everything
