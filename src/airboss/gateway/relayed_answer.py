"""How the answer of a route that is passed on is taken in: as it comes, whatever it is."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from airboss.domain.errors import ApiError, UpstreamFailed, UpstreamRefused
from airboss.domain.record import ClosedCall
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.relayed import not_offered
from airboss.gateway.spoken import Client
from airboss.gateway.sse import Splitter, event_data, unmarked
from airboss.gateway.wire import RelayedBody, error_event
from airboss.providers.compatible import (
    MESSAGE_CHARS,
    Reply,
    as_api_error,
    error_in,
    name_in,
    read_error,
    read_event,
    retry_after_s,
)
from airboss.providers.connection import Headers
from airboss.providers.cut import cut
from airboss.providers.usage import PromptDetails, Tokens, Usage

KEPT_BYTES_MAX: Final = 64 * 1024
"""An answer of up to so much is sent whole, and kept for its record where it is JSON."""
ERROR_BYTES_MAX: Final = 1024 * 1024
"""Of an error that is read."""
JSON: Final = b"application/json"
EVENT_STREAM: Final = b"text/event-stream"
DONE: Final = b"[DONE]"
KIND_CHARS_MAX: Final = 100
"""Of a content type that a record tells."""
_SHOWN: Final = (b"content-disposition", b"content-language")
"""Headers of an answer, besides its type, that the client gets."""
HEAD_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of an answer of which only its length is told."""
HTML: Final = re.compile(rb"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
"""How a page begins that no model made: of a proxy's, or a login."""
_CLEAN: Final = re.compile(rb"[^\x20-\x7e]")
_USAGE: Final = re.compile(rb'(?<!\\)"usage"\s*:\s*(?={)')
_USAGE_BYTES_MAX: Final = 4096
_PIECES: Final = (".delta", ".partial_image")
"""How the types of events end that others come after."""
_GOOD: Final = frozenset({200, 201, 202, 204})
_SURE: Final = frozenset({400, 404, 405, 409, 410, 413, 415, 422})
"""What a provider says of a request, passed on with its status."""


class _Input(msgspec.Struct):
    cached_tokens: Tokens = 0


class _Usage(msgspec.Struct):
    """Usage as audio and images tell it, as vLLM does of a transcription, and in `total_tokens` alone what
    ranks and writes nothing; what is not counted in tokens tells none."""

    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    total_tokens: Tokens | None = None
    input_tokens_details: _Input | None = None


class _Told(msgspec.Struct):
    usage: _Usage | None = None


_told = msgspec.json.Decoder(_Told)
_used = msgspec.json.Decoder(_Usage)
_raw = json.JSONDecoder()


class RelayedAnswer(WholeAnswer):
    """Passes an answer on. It is whole while it is short; else the client has its head with the first piece
    over KEPT_BYTES_MAX, or at once where it is a stream of events; its end waits for the record."""

    def __init__(
        self,
        provider: str,
        client: Client,
        *,
        path: str,
        makes: bool,
        kept: bool,
        attribution: Callable[[], bytes],
    ) -> None:
        """`makes`: a model makes the answer, so that what it says of errors and of usage is the call's. A
        batch tells those of its own calls, whoever looks at it. `kept`: it may look like anything."""
        super().__init__(provider)
        self._makes = makes
        self._kept = kept
        self._client = client
        self._path = path
        self._attribution = attribution
        self._first, self._tail = b"", bytearray()
        """Of JSON and of events, where usage is told: behind pictures of megabytes, or before documents."""
        self._told_error = False
        """Whether the client has read the error that the answer ends in."""
        self.events = False
        """Whether it is a stream of events, in which an error can be told."""
        self.headless = False
        """Whether the client gets no body, but only how long it is: to a HEAD."""
        self._counted = False
        # Nothing here is counted by us: sound has no words, and a form is no prompt.
        self.reply = Reply(usage=Usage(prompt_tokens=0, completion_tokens=0))

    def head(self, status: int, headers: Headers) -> None:
        """Keep the head; its status is the client's to know."""
        super().head(status, headers)
        self.status = status
        self.flows = self._good and self._kind().startswith(EVENT_STREAM)

    @property
    def _good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def _status(self) -> int:
        return self.status if self.status in _GOOD else 200

    def _kind(self) -> bytes:
        return self.headers.get(b"content-type", b"application/octet-stream")

    def _take(self, data: bytes) -> None:
        if not self._good:
            if self._size < ERROR_BYTES_MAX:
                self._size += len(data)
                self._pieces.append(data)
            return
        self.progress_at = time.perf_counter()
        if self.first_output_at is None:
            self.first_output_at = self.progress_at
            self.events = self._kind().startswith(EVENT_STREAM)
        self._size += len(data)
        if self.events or self._kind().startswith(JSON):
            self._tail += data
            if len(self._tail) > 2 * KEPT_BYTES_MAX:
                del self._tail[:-KEPT_BYTES_MAX]
        if self.committed:
            self._client.stream(data)
            return
        self._pieces.append(data)
        if self.headless and self._size > HEAD_BYTES_MAX:
            raise UpstreamFailed(
                f"provider {self.provider!r} answers with over {HEAD_BYTES_MAX} bytes; send a GET"
            )
        if (self._size > KEPT_BYTES_MAX or self.events) and not self.headless:
            first = self._joined()
            self._check_page(first)
            self._pieces.clear()
            self._first = first[:KEPT_BYTES_MAX] if self._tail else b""
            self.committed = self.flows = True
            self._client.start_stream(self._status, self._head(), first)
            self._heed(self._client)

    def _joined(self) -> bytes:
        """What has come; what a model says in JSON without a mark of the byte order."""
        said = self._makes and self._kind().startswith(JSON)
        return unmarked(self._pieces) if said else b"".join(self._pieces)

    def _head(self) -> bytes:
        lines = [b"content-type: %s\r\n" % _CLEAN.sub(b"", self._kind())]
        lines += [
            b"%s: %s\r\n" % (name, _CLEAN.sub(b"", self.headers[name]))
            for name in _SHOWN
            if name in self.headers
        ]
        return b"".join(lines) + self._attribution()

    def _end(self) -> None:
        if not self._good:
            raise self._said_no(unmarked(self._pieces))
        if self._inflate is not None and not self._inflate.whole and not self._tail.rstrip().endswith(DONE):
            # Others tell by what they say; of this nobody here could.
            raise UpstreamFailed(
                f"provider {self.provider!r} ended its compressed answer before its end", code="stream_cut"
            )
        whole = self._joined()
        usage = None
        if not self._kept and not self.events:
            self._check_whole(whole)
        if self._makes:
            self._judge(whole)
            usage = self._usage(whole)
        self._counted = usage is not None
        self._take_in(whole, Reply(usage=usage or Usage(prompt_tokens=0, completion_tokens=0)))

    def _take_in(self, content: bytes, reply: Reply) -> None:
        self.reply = reply
        self.content = self._to_keep(content)
        self._pieces = [content]
        self.first_output_at = self.first_output_at or time.perf_counter()
        self._succeed()

    def _usage(self, whole: bytes) -> Usage | None:
        """What it used, where it says so in tokens."""
        if self.committed:
            return _usage_in(bytes(self._tail)) or _usage_in(self._first)
        try:
            told = _told.decode(whole).usage if self._kind().startswith(JSON) else None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        return _as_usage(told) if told is not None else None

    def _check_whole(self, whole: bytes) -> None:
        """Raise UpstreamFailed where this is no answer, or not all of it."""
        if self._is_cut(whole):
            raise self._cut()
        if not self.committed:
            self._check_page(whole)

    def _check_page(self, first: bytes) -> None:
        if not self._kept and HTML.match(first):
            raise UpstreamFailed(f"provider {self.provider!r} answered with a page of HTML")

    def _judge(self, whole: bytes) -> None:
        """Raise ApiError where the answer ends in an error, or a stream of events before its end."""
        if self.events or self._kind().startswith(EVENT_STREAM):
            said = self._last_event()
        else:
            said = whole if not self.committed and self._kind().startswith(JSON) else None
        if said is None or not _is_json(said):
            return
        try:
            failed = read_event(said).says_error
        except UpstreamFailed:  # a list, say
            return
        if failed:
            self._told_error = self.committed
            raise error_in(self.provider, said)
        if self.events and _type_in(said).endswith(_PIECES):
            raise self._cut()

    def _last_event(self) -> bytes | None:
        """The data of the last event that says something; None where that is longer than what is kept. Raises
        UpstreamFailed where there is none, or it breaks off."""
        kept = len(self._tail) == self._size
        split = Splitter()
        events = split.feed(bytes(self._tail))
        rest, ending = split.rest, split.ending()
        if ending:
            events.append(rest + ending)
        elif event_data(rest) is not None or not (kept or events or rest.rstrip().endswith(b"}")):
            raise self._cut()
        for event in reversed(events if kept else events[1:]):
            data = event_data(event)
            if data and data != DONE:
                return data
        if kept:
            raise self._cut()
        return None

    def _is_cut(self, whole: bytes) -> bool:
        """Whether it is nothing, or says that it is JSON and breaks off; of a long one its end tells. Other
        words may be called so too, and what was done may be told with nothing."""
        if not self._makes and not self._size and not (self.status == 200 and self._kind().startswith(JSON)):
            return False
        if not self._kind().startswith(JSON):
            return not self._size and not self._kind().startswith(b"text/")  # of silence nothing was said
        if self.committed:
            return self._first.lstrip()[:1] in {b"{", b""} and self._tail.rstrip()[-1:] != b"}"
        said = whole.lstrip()
        return not said or (said[:1] == b"{" and not _is_json(said) and not _is_object(said))

    def _cut(self) -> UpstreamFailed:
        return UpstreamFailed(
            f"provider {self.provider!r} ended its answer after {self._size} bytes, before its end",
            code="stream_cut",
        )

    def _to_keep(self, whole: bytes) -> bytes:
        """What the record has: JSON that is short, else what kind of thing it was and how long."""
        short = not self.committed and len(whole) <= KEPT_BYTES_MAX
        if short and self._kind().startswith(JSON) and _is_json(whole):
            return whole
        kind = self._kind().decode("latin-1")
        if len(kind) > KIND_CHARS_MAX:  # half of it might be half of a key
            kind = f"over {KIND_CHARS_MAX} characters"
        told: dict[str, Any] = {"content_type": kind, "bytes": self._size}
        return msgspec.json.encode(told)

    def _said_no(self, body: bytes) -> ApiError:
        status = self.status or 502
        if 300 <= status < 400:
            return self._refusal(body)
        said = read_error(body)
        if status not in _SURE:
            return as_api_error(self.provider, status, said, retry_after_s=retry_after_s(self.headers))
        message = cut(said.message, MESSAGE_CHARS) if isinstance(said.message, str) else "no message"
        if status in {404, 405} and not isinstance(said.type, str):
            return not_offered(self._path, f"provider {self.provider!r} answered {status} ({message})")
        return UpstreamRefused(
            message,
            upstream_status=status,
            error_type=name_in(said.type),
            code=name_in(said.code) or ("not_found" if status == 404 else None),
            param=said.param if isinstance(said.param, str) else None,
        )

    def deliver(self, closed: ClosedCall) -> None:
        """Give the client the rest, or the whole of it."""
        if self.committed:
            self._client.end_stream(b"")
            return
        head = self._head()
        if closed.cost_usd is not None:
            head += b"x-airboss-cost-usd: %s\r\n" % format(closed.cost_usd, "f").encode()
        self._client.respond(self._status, head, self._delivered)

    @property
    def _delivered(self) -> bytes:
        """The whole body that the client gets."""
        return self._pieces[0]

    def deliver_error(self, error: ApiError) -> None:
        """End what the client has the beginning of. Raises `error` where that cannot be said: in the midst of
        a picture only a cut connection tells that it is not whole."""
        if not self.events:
            raise error
        self._client.end_stream(b"" if self._told_error else error_event(error))

    def priced(self, closed: ClosedCall, body: RelayedBody) -> ClosedCall:
        """The record's end: nobody knows what a call costs whose provider has told no tokens of it."""
        if self._counted or body.free or self.first_output_at is None:
            return closed
        attempts = tuple(msgspec.structs.replace(each, cost_usd=None) for each in closed.attempts)
        return msgspec.structs.replace(closed, cost_usd=None, attempts=attempts)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True


def _is_object(text: bytes) -> bool:
    """Whether somebody reads it as JSON, though it is none: with numbers that are none, or halves of
    characters."""
    try:
        json.loads(text.decode("utf-8", "replace"), strict=False)
    except json.JSONDecodeError:
        return False
    except (ValueError, RecursionError):
        pass
    return True


def _type_in(event: bytes) -> str:
    said = msgspec.json.decode(event).get("type")
    return said if isinstance(said, str) else ""


def _usage_in(part: bytes) -> Usage | None:
    """What an answer used, where a part of it says so in tokens; the last counts."""
    found = list(_USAGE.finditer(part))
    if not found:
        return None
    said = part[found[-1].end() :][:_USAGE_BYTES_MAX].decode("utf-8", "replace")
    try:
        return _as_usage(_used.decode(said[: _raw.raw_decode(said)[1]]))
    except (ValueError, RecursionError, msgspec.DecodeError):
        return None


def _as_usage(told: _Usage) -> Usage | None:
    output = told.completion_tokens if told.output_tokens is None else told.output_tokens
    if output is None:
        total = told.total_tokens
        return Usage(prompt_tokens=total, completion_tokens=0) if total is not None else None
    details = told.input_tokens_details
    prompt = told.prompt_tokens if told.input_tokens is None else told.input_tokens
    return Usage(
        prompt_tokens=max(0, (told.total_tokens or 0) - output) if prompt is None else prompt,
        completion_tokens=output,
        prompt_tokens_details=PromptDetails(cached_tokens=details.cached_tokens if details else 0),
    )
