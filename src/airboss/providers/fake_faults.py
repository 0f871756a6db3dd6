"""What the fake provider can do wrong, by name, and how a request asks for it.

A behaviour is written in one of two ways. As a line: `cut-reset;after=2` (a fault, then fields of
`Behaviour`). As JSON: `{"fault": "cut-reset", "after": 2}`. A request carries it in a header
(`x-fake-fault: LINE`), in its last user message (`fake:JSON` anywhere in the text), or in its model name
(`fake-LINE`), the first found counts. What a gateway rewrites can be scripted from outside instead: see
`fake_script`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from json import JSONDecodeError, JSONDecoder

import msgspec

from airboss.domain.errors import InvalidRequest

HEADER = "x-fake-fault"
MARKER = "fake:{"
MODEL_PREFIX = "fake-"

FAULTS: Mapping[str, str] = {
    "ok": "answers well",
    "429": "too many requests, with `Retry-After` (`retry_after`, default 1)",
    "429-no-retry-after": "too many requests, without `Retry-After`",
    "500": "internal error",
    "500-once": "internal error on the first such call, well from then on",
    "503": "unavailable; `retry_after` adds the header",
    "529": "overloaded, the status some providers made up",
    "status": "the error status in `status`, with `message` and `code`",
    "reset": "connection reset before the head",
    "close": "connection closed before the head",
    "silence": "reads the request and never answers (`for_s`: answers well after that long)",
    "late-head": "the head comes after `for_s` (default 2)",
    "late-first-token": "the head comes at once, the first token after `for_s` (default 2)",
    "drip-headers": "the head comes a few bytes at a time, `pause_s` apart (default 0.01)",
    "cut-reset": "connection reset after `after` tokens, or in the middle of a whole body",
    "cut-close": "connection closed there, without the terminating chunk",
    "cut-end": "the stream ends there with a terminating chunk and nothing else, as if it were whole",
    "stall": "goes quiet there and stays so (`for_s`: goes on after that long)",
    "malformed-event": "sends broken JSON there, then goes on",
    "malformed-chunk": "sends a broken chunk header there, then closes",
    "error-mid-stream": "sends an error event there, then ends the stream cleanly",
    "no-done": "leaves out `[DONE]`",
    "no-usage": "leaves out usage, asked for or not",
    "duplicate-final": "sends the event with the finish reason twice",
    "context-length": "400 context_length_exceeded",
    "content-filter": "400 content_filter",
    "content-filter-finish": "breaks off after `after` tokens with finish_reason content_filter",
    "refuse-prefill": "400 when the last message is the assistant's, well otherwise",
    "ignore-prefill": "begins again when the last message is the assistant's, as if that were not there",
    "outage": "resets every connection and refuses new ones for `for_s` seconds (none: until reset)",
    "html": "200 with an HTML page",
    "error-200": "200 with an error object; in a stream, as its only event",
    "wrong-content-type": "a good answer called text/plain",
    "redirect-307": "307 to `location` (default: the same path with ?redirected=1)",
    "redirect-308": "308 to `location`",
    "gzip": "compressed, asked for or not",
    "close-delimited": "HTTP/1.0, no length, the body ends with the connection",
    "byte-writes": "one byte a write, `pause_s` apart (default 0)",
    "utf8-split": "a long character's bytes come in two writes, `pause_s` apart (default 0.01)",
    "large-event": "one content event, or body, of `size_bytes` (default 1 MiB)",
    "sse-crlf": "events end with CRLF",
    "sse-comments": "comments, ids and retry fields between events",
    "interleaved-choices": "tokens of the n choices (default 2) come in turns, the last choice first",
    "tool-call": "answers with a call of the first tool offered",
    "tool-split": "as tool-call, two calls, their arguments in pieces that cut strings and escapes",
    "truncated-body": "content-length promises more than is sent; then closes",
    "close-keep-alive": "says keep-alive and closes right after the answer",
    "informational": "100 and 103 before the answer",
    "large-headers": "a head of `size_bytes` (default 100 KiB)",
    "echo-authorization": "401 whose message repeats the credentials it was given",
}
"""Every fault with one line on what it does. The names are stable."""


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one request is answered. Seconds are `_s`.

    What is said: `text` (with `when` only if the instructions contain that: the system messages, or all of a
    raw prompt), or one of `texts` (`yes|yes|no`: the request's digest chooses, so that the same request has
    the same one; asked for, their shares are its logprobs), or `words` words, or with `echo` the last user
    message, or a fixed sentence; an answer to an assistant prefix goes on where that ended,
    and a count in words that was begun goes on as any model would. `cached_tokens`,
    `reasoning_tokens` and, where a provider counts what it wrote to its cache, `written_tokens` go into
    usage. When: `delay_s` before the head, `first_token_s` before the first
    token, then `tokens_per_s` (None: at once). `first` is how many of the calls that ask for exactly this are
    treated so, the others are answered well (None: all). The rest belong to single faults, see `FAULTS`.
    """

    fault: str = "ok"
    text: str | None = None
    when: str | None = None
    texts: str | None = None
    words: int | None = None
    echo: bool = False
    cached_tokens: int = 0
    written_tokens: int = 0
    reasoning_tokens: int = 0
    delay_s: float = 0.0
    first_token_s: float = 0.0
    tokens_per_s: float | None = None
    first: int | None = None
    after: int = 3
    for_s: float | None = None
    pause_s: float | None = None
    retry_after: str | None = None
    status: int = 500
    message: str | None = None
    code: str | None = None
    location: str | None = None
    size_bytes: int | None = None


def checked(behaviour: Behaviour) -> Behaviour:
    """Return `behaviour`; raises InvalidRequest when a name or a number in it has no meaning."""
    if behaviour.fault not in FAULTS:
        near = difflib.get_close_matches(behaviour.fault, FAULTS, n=3, cutoff=0.3) or sorted(FAULTS)
        raise InvalidRequest(f"no fault is called {behaviour.fault!r}; the nearest are {', '.join(near)}")
    if not 0 <= (behaviour.words or 0) <= 1_000_000:
        raise InvalidRequest(f"words is {behaviour.words}; give 0 to 1000000")
    if not 0 <= (behaviour.size_bytes or 0) <= 64 * 1024 * 1024:
        raise InvalidRequest(f"size_bytes is {behaviour.size_bytes}; give at most 64 MiB")
    if behaviour.tokens_per_s is not None and behaviour.tokens_per_s <= 0:
        raise InvalidRequest(f"tokens_per_s is {behaviour.tokens_per_s}; give more than 0")
    if not 300 <= behaviour.status <= 599:
        raise InvalidRequest(f"status is {behaviour.status}; give 300 to 599")
    waits = (behaviour.delay_s, behaviour.first_token_s, behaviour.for_s or 0, behaviour.pause_s or 0)
    if min(waits) < 0 or behaviour.after < 0:
        raise InvalidRequest("seconds and `after` cannot be negative")
    if behaviour.fault == "500-once" and behaviour.first is None:
        return msgspec.structs.replace(behaviour, first=1)
    return behaviour


def from_line(line: str) -> Behaviour:
    """Read `FAULT[;field=value…]`. Raises InvalidRequest, naming what was not understood."""
    fault, *fields = (part.strip() for part in line.split(";"))
    values: dict[str, str] = {"fault": fault or "ok"}
    for field in filter(None, fields):
        name, equals, value = field.partition("=")
        if not equals:
            raise InvalidRequest(f"{field!r} in {line!r} is not name=value")
        values[name.strip()] = value.strip()
    return from_values(values)


def from_values(values: object) -> Behaviour:
    """Read a mapping of fields; numbers may be text. Raises InvalidRequest."""
    try:
        behaviour = msgspec.convert(values, Behaviour, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{values!r} is no behaviour: {error}") from error
    return checked(behaviour)


def from_text(text: str) -> Behaviour | None:
    """The behaviour that a message asks for with `fake:{…}`, or None. Raises InvalidRequest."""
    at = text.find(MARKER)
    if at < 0:
        return None
    try:
        values, _ = JSONDecoder().raw_decode(text, at + len(MARKER) - 1)
    except JSONDecodeError as error:
        raise InvalidRequest(f"what follows `fake:` in the message is no JSON object: {error}") from error
    return from_values(values)


def from_model(model: str) -> Behaviour | None:
    """The behaviour that a model name asks for with `fake-LINE`, or None.

    A name that begins so and goes on with no fault's name is any other model's: None.
    """
    if not model.startswith(MODEL_PREFIX):
        return None
    line = model.removeprefix(MODEL_PREFIX)
    return from_line(line) if line.partition(";")[0].strip() in FAULTS else None
