"""Every fault as a raw socket sees it."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable
from typing import Any

import httptools
import pytest

from airboss.providers.fake_faults import FAULTS
from airboss.providers.fake_plays import PLAYS
from airboss.testing import FakeProvider

QUIET_S = 0.15
PATIENCE_S = 30.0


class Wire:
    """What came over one connection for one request, and how it stood after.

    `end` is open, closed (FIN), reset or quiet (nothing more for QUIET_S before the answer was whole).
    `reads` are the pieces as they came with the seconds since the request.
    """

    def __init__(self) -> None:
        self.status = 0
        self.informational: list[int] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.whole = False
        self.framing_ok = True
        self.end = "quiet"
        self.reads: list[tuple[float, bytes]] = []
        self.headers_at = 0.0
        self._parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep it."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Keep the status."""
        self.status = self._parser.get_status_code()
        self.headers_at = time.monotonic()

    def on_body(self, body: bytes) -> None:
        """Keep it."""
        self.body += body

    def on_message_complete(self) -> None:
        """A head below 200 comes before another."""
        if self.status < 200:
            self.informational.append(self.status)
            self.headers.clear()
        else:
            self.whole = True

    def feed(self, data: bytes) -> None:
        """Parse, and remember if that failed."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.framing_ok = False

    def header(self, name: str) -> str | None:
        """The first header of that name, given in lower case."""
        return next((value.decode() for key, value in self.headers if key == name.encode()), None)

    @property
    def raw(self) -> bytes:
        """All that came."""
        return b"".join(data for _, data in self.reads)

    @property
    def json(self) -> Any:
        """The body read."""
        return json.loads(self.body)

    @property
    def events(self) -> list[bytes]:
        """The data of each event, whatever its line ends."""
        lines = self.body.replace(b"\r\n", b"\n").split(b"\n")
        return [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]

    def text(self, index: int = 0) -> str:
        """The content of a choice, put together again."""
        found = ""
        for event in self.events:
            choices = [] if event == b"[DONE]" else json.loads(event).get("choices", [])
            found += "".join(c["delta"].get("content") or "" for c in choices if c["index"] == index)
        return found

    @property
    def finishes(self) -> list[str]:
        """Every finish reason, in order."""
        chunks = [json.loads(event) for event in self.events if event != b"[DONE]"]
        return [c["finish_reason"] for one in chunks for c in one.get("choices", []) if c["finish_reason"]]


def request_bytes(body: dict[str, Any], headers: dict[str, str], path: str = "/v1/chat/completions") -> bytes:
    """A request as it is sent."""
    raw = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: fake", f"content-length: {len(raw)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


def call(
    provider: FakeProvider,
    line: str,
    *,
    stream: bool,
    path: str = "/v1/chat/completions",
    **fields: Any,
) -> Wire:
    """Send one request that asks for `line`, and watch until it is answered or the wire goes quiet."""
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "hello there"}],
        "stream": stream,
        **fields,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    headers = {"x-fake-fault": line, "authorization": "Bearer sk-secret-123"}
    wire = Wire()
    with socket.create_connection(("127.0.0.1", provider.port), timeout=PATIENCE_S) as peer:
        began = time.monotonic()
        peer.sendall(request_bytes(body, headers, path))
        peer.settimeout(QUIET_S if line in ("silence", "stall") else PATIENCE_S)
        while True:
            try:
                data = peer.recv(1 << 20)
            except TimeoutError:
                wire.end = "open" if wire.whole else "quiet"
                break
            except ConnectionResetError:
                wire.end = "reset"
                break
            if not data:
                wire.end = "closed"
                measured = wire.header("content-length") or wire.header("transfer-encoding")
                wire.whole = wire.whole or (wire.status > 0 and not measured)
                break
            wire.reads.append((time.monotonic() - began, data))
            wire.feed(data)
            if wire.whole:
                peer.settimeout(PATIENCE_S if line.startswith("close-") else 0.02)  # a close not announced
    return wire


def good_stream(wire: Wire, *, done: bool = True) -> bool:
    """The usual sentence, whole, however it came."""
    said = "The air boss launches, watches and recovers every aircraft on the deck of the carrier."
    return (
        wire.status == 200
        and wire.whole
        and wire.text() == said
        and wire.finishes == ["stop"]
        and (wire.events[-1] == b"[DONE]") == done
    )


def good_body(wire: Wire) -> bool:
    """The usual sentence in one body."""
    return (
        wire.status == 200 and wire.whole and wire.json["choices"][0]["message"]["content"].startswith("The")
    )


def good(wire: Wire) -> bool:
    """A whole answer that nobody could take exception to, on a connection that stays open."""
    is_stream = (wire.header("content-type") or "").startswith("text/event-stream")
    return wire.end == "open" and (good_stream(wire) if is_stream else good_body(wire))


def refused(status: int, code: str | None, retry_after: str | None = None) -> Callable[[Wire], bool]:
    """An error in OpenAI's shape."""

    def check(wire: Wire) -> bool:
        error = wire.json["error"]
        shape = sorted(error) == ["code", "message", "param", "type"] and error["code"] == code
        return wire.status == status and shape and wire.header("retry-after") == retry_after

    return check


def cut(wire: Wire, end: str) -> bool:
    """Three tokens, no more, no ending."""
    return wire.end == end and not wire.whole and wire.text() == "The air boss" and not wire.finishes


def half(wire: Wire, end: str) -> bool:
    """Less of a body than its length promised."""
    return wire.end == end and not wire.whole and 0 < len(wire.body) < int(wire.header("content-length") or 0)


def slept(wire: Wire, first: float) -> bool:
    """Good, but nothing came before `first` seconds."""
    return good(wire) and wire.reads[0][0] >= first


def counted(wire: Wire) -> list[Any]:
    """Every usage in a stream."""
    return [json.loads(e)["usage"] for e in wire.events if e != b"[DONE]" and json.loads(e).get("usage")]


def tool_calls(wire: Wire) -> list[dict[str, Any]]:
    """Tool calls of a stream, put together again."""
    calls: dict[int, dict[str, Any]] = {}
    for event in wire.events[:-1]:
        for choice in json.loads(event)["choices"]:
            for part in choice["delta"].get("tool_calls", []):
                one = calls.setdefault(part["index"], {"arguments": "", "pieces": 0})
                one["name"] = part["function"].get("name", one.get("name"))
                one["arguments"] += part["function"]["arguments"]
                one["pieces"] += 1
    return [calls[index] for index in sorted(calls)]


CITIES = [{"city": 'Zürich "old" town', "days": 3}, {"city": "Nîmes\n", "days": 1}]

# fault line, what a stream shows, what a whole answer shows
TABLE: list[tuple[str, Callable[[Wire], bool], Callable[[Wire], bool]]] = [
    ("ok", good, good),
    *(
        (line, refused(status, code, after), refused(status, code, after))
        for line, status, code, after in [
            ("429", 429, "rate_limit_exceeded", "1"),
            ("429;retry_after=30", 429, "rate_limit_exceeded", "30"),
            ("429-no-retry-after", 429, "rate_limit_exceeded", None),
            ("500", 500, None, None),
            ("500-once;message=unlike the others", 500, None, None),
            ("503", 503, None, None),
            ("503;retry_after=2", 503, None, "2"),
            ("529", 529, None, None),
            ("status;status=418;code=teapot", 418, "teapot", None),
            ("context-length", 400, "context_length_exceeded", None),
            ("content-filter", 400, "content_filter", None),
        ]
    ),
    ("reset", lambda w: w.end == "reset" and not w.raw, lambda w: w.end == "reset" and not w.raw),
    ("close", lambda w: w.end == "closed" and not w.raw, lambda w: w.end == "closed" and not w.raw),
    ("silence", lambda w: w.end == "quiet" and not w.raw, lambda w: w.end == "quiet" and not w.raw),
    ("silence;for_s=0.05", lambda w: slept(w, 0.045), lambda w: slept(w, 0.045)),
    ("late-head;for_s=0.05", lambda w: slept(w, 0.045), lambda w: slept(w, 0.045)),
    (
        "late-first-token;for_s=0.1",
        lambda w: (
            good(w) and w.reads[1][0] >= 0.09 and b"The" not in w.reads[0][1] and b"The" in w.reads[1][1]
        ),
        lambda w: good(w) and w.reads[1][0] >= 0.09 and w.reads[1][1] == w.body,
    ),
    (
        "drip-headers;pause_s=0.005",
        lambda w: good(w) and len(w.reads) > 10 and w.reads[-1][0] > 0.02,
        lambda w: good(w) and len(w.reads) > 10 and w.reads[-1][0] > 0.02,
    ),
    ("cut-reset", lambda w: cut(w, "reset"), lambda w: half(w, "reset")),
    ("cut-close", lambda w: cut(w, "closed"), lambda w: half(w, "closed")),
    (
        "cut-end",
        lambda w: w.whole and w.end == "open" and w.text() == "The air boss" and not w.finishes,
        lambda w: w.whole and w.end == "open" and not w.body.endswith(b"}"),
    ),
    ("stall", lambda w: cut(w, "quiet"), lambda w: half(w, "quiet")),
    (
        "stall;for_s=0.1",
        lambda w: good(w) and w.reads[-1][0] >= 0.09,
        lambda w: good(w) and w.reads[-1][0] >= 0.09,
    ),
    (
        "malformed-event;after=1",
        lambda w: w.whole and w.events[2].startswith(b'{"id":"broken"') and w.events[-1] == b"[DONE]",
        lambda w: w.whole and w.body.startswith(b'{"id":"broken"') and not w.body.endswith(b"}"),
    ),
    (
        "malformed-chunk",
        lambda w: not w.framing_ok and not w.whole and w.text() == "The air boss" and w.end == "closed",
        lambda w: not w.framing_ok and not w.whole and w.end == "closed",
    ),
    (
        "error-mid-stream",
        lambda w: w.whole and "error" in json.loads(w.events[-1]) and len(w.events) == 5,
        lambda w: w.whole and "error" in w.json,
    ),
    ("no-done", lambda w: good_stream(w, done=False), good),
    (
        "no-usage",
        lambda w: good(w) and not counted(w),
        lambda w: good(w) and "usage" not in w.json,
    ),
    (
        "duplicate-final",
        lambda w: w.whole and w.finishes == ["stop", "stop"] and len(counted(w)) == 2,
        good,
    ),
    (
        "content-filter-finish;after=2",
        lambda w: w.whole and w.text() == "The air" and w.finishes == ["content_filter"],
        lambda w: w.json["choices"][0]["finish_reason"] == "content_filter",
    ),
    ("refuse-prefill", good, good),
    ("ignore-prefill", good, good),
    ("outage;for_s=0.05", lambda w: w.end == "reset" and not w.raw, lambda w: w.end == "reset" and not w.raw),
    *(
        (line, check, check)
        for line, check in [
            (
                "html",
                lambda w: (
                    w.status == 200
                    and (w.header("content-type") or "").startswith("text/html")
                    and w.body.startswith(b"<!doctype html>")
                ),
            ),
            (
                "redirect-307",
                lambda w: w.status == 307 and w.header("location") == "/v1/chat/completions?redirected=1",
            ),
            (
                "redirect-308;location=http://elsewhere/",
                lambda w: w.status == 308 and w.header("location") == "http://elsewhere/",
            ),
            (
                "informational",
                lambda w: w.informational == [100, 103] and good(w),
            ),
            (
                "large-headers",
                lambda w: good(w) and sum(len(k) + len(v) for k, v in w.headers) > 95 * 1024,
            ),
            (
                "echo-authorization",
                lambda w: w.status == 401 and "Bearer sk-secret-123" in w.json["error"]["message"],
            ),
        ]
    ),
    (
        "error-200",
        lambda w: w.status == 200 and w.whole and len(w.events) == 1 and "error" in json.loads(w.events[0]),
        lambda w: w.status == 200 and w.whole and list(w.json) == ["error"],
    ),
    (
        "wrong-content-type",
        lambda w: good_stream(w) and w.header("content-type") == "text/plain",
        lambda w: good_body(w) and w.header("content-type") == "text/plain",
    ),
    (
        "gzip",
        lambda w: w.header("content-encoding") == "gzip" and b"[DONE]" in zlib.decompress(w.body, 31),
        lambda w: w.header("content-encoding") == "gzip" and b"The air" in gzip.decompress(w.body),
    ),
    (
        "close-delimited",
        lambda w: good_stream(w) and w.raw.startswith(b"HTTP/1.0 ") and w.end == "closed",
        lambda w: good_body(w) and w.raw.startswith(b"HTTP/1.0 ") and w.header("content-length") is None,
    ),
    (
        "byte-writes;pause_s=0.0002",
        lambda w: good(w) and len(w.reads) > 100,
        lambda w: good(w) and len(w.reads) > 50,
    ),
    (
        "utf8-split;pause_s=0.1",
        lambda w: w.whole and w.text() == "Räder hoch: 🚀 startet, 飛行 beginnt." and len(w.reads) >= 3,
        lambda w: w.whole and "🚀" in w.json["choices"][0]["message"]["content"] and len(w.reads) >= 3,
    ),
    (
        "large-event",
        lambda w: w.whole and w.text() == "x" * 1024 * 1024,
        lambda w: w.whole and len(w.body) > 1024 * 1024,
    ),
    ("sse-crlf", lambda w: good(w) and w.body.count(b"\r\n\r\n") == len(w.events), good),
    ("sse-comments", lambda w: good(w) and w.body.count(b": ping\n") == len(w.events), good),
    (
        "interleaved-choices",
        lambda w: w.text(1) == w.text(0) + " #1" and [c["index"] for c in choices(w)[2:6]] == [1, 0, 1, 0],
        lambda w: [c["index"] for c in w.json["choices"]] == [0, 1],
    ),
    (
        "tool-call",
        lambda w: [json.loads(c["arguments"]) for c in tool_calls(w)] == CITIES[:1],
        lambda w: len(w.json["choices"][0]["message"]["tool_calls"]) == 1,
    ),
    (
        "tool-split",
        lambda w: (
            [json.loads(c["arguments"]) for c in tool_calls(w)] == CITIES and tool_calls(w)[0]["pieces"] > 9
        ),
        lambda w: (
            [json.loads(c["function"]["arguments"]) for c in w.json["choices"][0]["message"]["tool_calls"]]
            == CITIES
        ),
    ),
    (
        "truncated-body",
        lambda w: not w.whole and w.end == "closed" and w.events[-1] == b"[DONE]",
        lambda w: not w.whole and w.end == "closed" and w.body.endswith(b"}"),
    ),
    (
        "close-keep-alive",
        lambda w: good_stream(w) and w.end == "closed" and w.header("connection") is None,
        lambda w: good_body(w) and w.end == "closed" and w.header("connection") is None,
    ),
]


def choices(wire: Wire) -> list[Any]:
    """Every choice of every event, in order."""
    return [choice for event in wire.events[:-1] for choice in json.loads(event)["choices"]]


TIMED = ("drip-", "byte-writes", "utf8-split", "late-", "stall", "silence", "ok;words")
"""Faults that show in when their pieces come."""


def show(provider: FakeProvider, line: str, check: Callable[[Wire], bool], *, stream: bool) -> None:
    """The fault is on the wire. What reads late reads at once what came in pieces: on a busy machine that may
    have to be looked at again."""
    for _ in range(8 if line.startswith(TIMED) else 1):
        wire = call(provider, line, stream=stream)
        if check(wire):
            return
    raise AssertionError(f"{line}: {wire.end} after {wire.raw[:3000]!r}")


@pytest.mark.parametrize(("line", "check"), [(line, check) for line, check, _ in TABLE])
def test_a_stream_shows_its_fault(provider: FakeProvider, line: str, check: Callable[[Wire], bool]) -> None:
    """Asked for events, the fault is on the wire as the catalogue says."""
    show(provider, line, check, stream=True)


@pytest.mark.parametrize(("line", "check"), [(line, check) for line, _, check in TABLE])
def test_a_whole_answer_shows_its_fault(
    provider: FakeProvider, line: str, check: Callable[[Wire], bool]
) -> None:
    """Asked for one body, the fault is on the wire as the catalogue says."""
    show(provider, line, check, stream=False)


def test_every_fault_is_shown() -> None:
    """The catalogue, its players and the table above name the same faults."""
    assert set(PLAYS) == set(FAULTS) == {line.partition(";")[0] for line, _, _ in TABLE}


def test_a_prefill_is_refused_only_where_there_is_one(provider: FakeProvider) -> None:
    """`refuse-prefill` is a 400 when the assistant has the last word."""
    turns = [{"role": "user", "content": "go"}, {"role": "assistant", "content": "The air"}]
    wire = call(provider, "refuse-prefill", stream=True, messages=turns)
    assert wire.status == 400
    assert "prefill" in wire.json["error"]["message"]


def test_a_redirect_that_is_followed_is_answered(provider: FakeProvider) -> None:
    """The default location answers well, whatever the model or a script would do."""
    provider.script("500")
    wire = call(provider, "redirect-307", stream=False, path="/v1/chat/completions?redirected=1")
    assert good(wire)


def test_events_come_at_the_pace_asked_for(provider: FakeProvider) -> None:
    """`tokens_per_s` spaces tokens, and lateness does not add up."""
    words = [f"word{number}" for number in range(21)]

    def paced(wire: Wire) -> bool:
        return wire.text().split() == words and 1.0 <= wire.reads[-1][0] < 2.0 and len(wire.reads) > 10

    show(provider, "ok;words=21;tokens_per_s=20;first_token_s=0.05", paced, stream=True)


@pytest.mark.parametrize("line", ["cut-close;after=0", "cut-close;after=999"])
def test_a_cut_may_be_before_the_first_or_after_the_last_token(provider: FakeProvider, line: str) -> None:
    """`after` beyond the answer cuts behind its last token, and 0 before its first."""
    wire = call(provider, line, stream=True)
    assert wire.end == "closed"
    assert not wire.finishes
    assert len(wire.text().split()) == (0 if line.endswith("=0") else 15)
