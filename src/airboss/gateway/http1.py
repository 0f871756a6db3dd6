"""HTTP/1.1 towards clients: bounded, pipelined in order, on asyncio protocols and llhttp.

Our own for the same reason as `providers.connection`. One `Connection` serves one request at a time. The
handler answers through it: in a coroutine, which is cancelled when the client goes, or by and by without one;
then it calls `over` when it has, and is told by `on_lost` when the client has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

import httptools
import msgspec

from airboss.domain.errors import ApiError, InvalidRequest, RequestTimeout
from airboss.gateway import client_bounds as bounds
from airboss.gateway.judge import defect
from airboss.gateway.known_head import KnownHead, known_head
from airboss.gateway.request_head import (
    CONTINUE,
    HttpRequest,
    brings_body,
    check_framing,
    check_head,
    check_size,
    expects_continue,
    head_again,
    head_bytes,
    path_of,
    repeated_bytes,
    said_by,
    too_much,
)
from airboss.gateway.server import STATUS_LINES, Server, tune

log = logging.getLogger("airboss.gateway")


class Connection(asyncio.Protocol):
    """One client connection."""

    # A dictionary of so many would lie in a dozen lines of the cache, which an event finds elsewhere again.
    __slots__ = (
        "_body", "_body_bytes", "_current", "_deadline", "_dropped_bytes", "_expects", "_has_read",
        "_headers", "_http_1_0", "_in_head", "_in_message", "_known", "_known_request", "_length", "_parser",
        "_paused_reading", "_peer", "_read_by", "_refused", "_sends_no_more", "_server", "_task", "_unparsed",
        "_unread_bytes", "_url", "_waiting", "_waiting_bytes", "began", "chunked", "finished", "intake",
        "loop", "on_lost", "on_writable", "transport", "writable",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        self._server = server
        self.loop, self.intake = server.loop, server.intake
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[HttpRequest] = deque()
        self._waiting_bytes = 0
        self._unparsed = b""
        """What was read behind what waits."""
        self._task: asyncio.Task[None] | None = None
        self._current: HttpRequest | None = None
        """The request being served."""
        self._deadline = time.monotonic() + bounds.HEAD_S_MAX
        self._has_read: asyncio.Future[None] | None = None
        """What waits until the client has read its answers, which is to be by `_read_by`."""
        self._read_by = 0.0
        self._refused = self._paused_reading = self._sends_no_more = False
        self.chunked = self.began = self.finished = False
        self.on_lost: Callable[[], None] | None = None
        self.on_writable: Callable[[bool], None] | None = None
        self.writable = True
        """Whether the client has not fallen behind."""
        self._in_message = self._in_head = self._http_1_0 = False
        self._expects = False
        """Whether the request that is read waits to be told to go on."""
        self._url = b""
        self._headers = self._peer = dict[bytes, bytes]()
        self._dropped_bytes = self._unread_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = self._length = 0
        self._known: KnownHead | None = None
        self._known_request = cast("HttpRequest", None)
        """The request that `_known` was the head of, without its body."""

    # -- what a handler calls

    def abort(self) -> None:
        """Cut the connection: what was asked for cannot be given."""
        self.transport.abort()

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Send a whole response. `headers` are lines, each ended by CRLF; length and connection are added."""
        request = self._current
        close = self._closes(request)
        self.began = self.finished = True
        closing = b"connection: close\r\n" if close else b""
        head = b"%s%scontent-length: %d\r\n%s\r\n" % (STATUS_LINES[status], headers, len(body), closing)
        whole = head if request is not None and request.method == "HEAD" else head + body
        self._server.outbox.write(self.transport, whole, self._unsent)
        if close:
            self._leave()

    def start_stream(self, status: int, headers: bytes, first: bytes) -> None:
        """Begin a response whose length is not known, with its first piece, which may be empty."""
        request = self._current
        self.began = True
        self.chunked = not (request is not None and request.http_1_0)
        framing = b"transfer-encoding: chunked\r\n" if self.chunked else b""
        close = b"connection: close\r\n" if self._closes(request) or not self.chunked else b""
        head = STATUS_LINES[status] + headers + framing + close + b"\r\n"
        if self.chunked and first:  # an empty chunk would be the end
            self._write(b"%s%x\r\n%s\r\n" % (head, len(first), first))
        else:
            self._write(head + first)

    def stream(self, data: bytes) -> None:
        """Send a piece of a streamed response; not empty."""
        self._write(b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data)

    def end_stream(self, last: bytes) -> None:
        """Send the last piece of a streamed response, which may be empty, and its end."""
        self.finished = True
        piece = b"%x\r\n%s\r\n" % (len(last), last) if last and self.chunked else last
        self._write(piece + b"0\r\n\r\n" if self.chunked else piece)
        if self._closes(self._current) or not self.chunked:
            self._leave()

    def _leave(self) -> None:
        """Close, once all that was written is out."""
        if self._refused and not self._sends_no_more:
            self._linger()  # what is still being sent would cut off the answer
        else:
            self._server.outbox.close(self.transport)

    def _linger(self) -> None:
        self._waiting.clear()
        self._server.outbox.flush()
        unread = self.transport.get_write_buffer_size()
        patience_s = self._server.patience_s(self._current, self._headers) if unread else bounds.LINGER_S
        self._deadline = time.monotonic() + patience_s
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()  # the client need not wait for the end of the lingering

    def _write(self, data: bytes) -> None:
        self._server.outbox.write(self.transport, data)

    def _closes(self, request: HttpRequest | None) -> bool:
        if request is None or not request.keep_alive or self._server.draining:
            return True
        return self._refused and not self._waiting

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the socket up, or turn the client away while draining."""
        self.transport = cast("asyncio.Transport", transport)
        self._peer = tune(self.transport)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Stop whatever works for this client."""
        self._server.connections.discard(self)
        self._waiting.clear()
        self._unparsed = b""
        task, self._task, self._current = self._task, None, None
        on_lost, self.on_lost = self.on_lost, None
        if task is not None:
            # Not before its first step: what it was to end would never end.
            self.loop.call_soon(task.cancel, "the client closed the connection")
        elif on_lost is not None:
            on_lost()
        # It has methods of ours, so that only the collector of cycles would free either.
        self._parser = cast("httptools.HttpRequestParser", None)

    def pause_writing(self) -> None:
        """The client reads slower than the upstream writes."""
        self.writable = False
        if self.on_writable is not None:
            self.on_writable(False)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.writable = True
        if self._has_read is not None and not self._has_read.done():
            self._has_read.set_result(None)
        if self.on_writable is not None:
            self.on_writable(True)

    def data_received(self, data: bytes) -> None:
        """Parse; whole requests are served in order."""
        if self._refused:
            return
        between = self._current is None and not self._in_message
        if between and self._known is not None:
            start = self._known.body_at(data)
            if start >= 0 and len(data) - start <= self._server.body_bytes_max:
                body, now = data[start:], time.perf_counter()
                request = msgspec.structs.replace(self._known_request, body=body, received_at=now)
                self._current = request
                self.intake.add(request, self)
                return
        taken = self._parse(data) if len(data) <= bounds.PIECE_BYTES else 0
        if taken < len(data):
            self._parse_in_pieces(data, taken)
        if between and not self._in_message:
            self._learn(data)

    def _parse_in_pieces(self, data: bytes, at: int = 0) -> None:
        """Parse from there as far as requests may wait, and keep the rest."""
        view = memoryview(data)
        while at < len(data) and not (self._refused or self._paused_reading):
            of_body = self._length - self._body_bytes if self._in_message and not self._in_head else 0
            at += self._parse(view[at : at + max(bounds.PIECE_BYTES, of_body)])
        self._unparsed = b"" if self._refused else data[at:]

    def _parse(self, data: bytes | memoryview) -> int:
        unfinished = self._headers if self._in_message else None
        was_in_head, body_bytes = self._in_head, self._body_bytes
        try:
            self._parser.feed_data(data)
            if self._in_message:
                same = self._headers is unfinished
                if same and not was_in_head:
                    # llhttp keeps a trailer until it ends: they are bounded.
                    self._unread_bytes += len(data) - (self._body_bytes - body_bytes)
                    check_framing(self._unread_bytes, self._body_bytes)
                else:
                    self._read_part(len(data), same_head=same)
        except httptools.HttpParserUpgrade as offered:
            self._stay()
            return cast("int", offered.args[0])
        except httptools.HttpParserError as error:
            self._refuse(said_by(error))
        except ApiError as error:
            self._refuse(error)
        return len(data)

    def _stay(self) -> None:
        """Read on as if no other protocol had been offered. Of a request with a body, which llhttp takes for
        that protocol, the head is read once more."""
        method, told = self._parser.get_method(), not self._expects
        if method == b"CONNECT":
            self._refuse(InvalidRequest("this server is no proxy; send it requests", code="invalid_http"))
            return
        self._parser = httptools.HttpRequestParser(self)
        if self._in_message:
            self._parse(head_again(method, self._url, self._headers, http_1_0=self._http_1_0, told=told))

    def eof_received(self) -> bool:
        """Answer what is whole, if soon: who has gone looks like who sends no more. TLS closes anyway."""
        if self._current is not None and self.transport.can_write_eof():
            self._refused = self._sends_no_more = True
            self.loop.call_later(bounds.HALF_CLOSED_S, self._gone)
            return True
        if self._in_message:
            self._refuse(InvalidRequest("the request ended before it was whole", code="invalid_http"))
        self._server.outbox.flush()
        return False

    def _gone(self) -> None:
        if self._current is not None:
            self.transport.abort()

    def _refuse(self, error: ApiError) -> None:
        """Answer what cannot be parsed further, then close. Requests before it are answered first."""
        if self._refused:
            return
        self._refused = True
        self._in_message = False
        self._body, self._unparsed = [], b""
        if self._current is not None:
            # Its answer carries `connection: close`, so what comes after is the client's loss, not ours.
            return
        self.began = self.finished = True
        self._write(self._server.last_response(error, path_of(self._url)))
        self._linger()

    def _unsent(self, error: ApiError) -> None:
        """A whole response may not be sent after all; nothing of it has been."""
        self.transport.write(self._server.last_response(error, path_of(self._url)))
        self.transport.close()

    # -- deadlines

    def check_deadline(self, now: float) -> None:
        """Refuse a sender that is too slow; close a connection that is idle, lingers or is not read."""
        if self._has_read is not None and now >= self._read_by:
            self.transport.abort()
        if self._current is not None or now < self._deadline:
            return
        if self._refused or not self._in_message:
            # An answer that nobody reads would keep a connection that is only closed for ever.
            unread = self._refused or self.transport.is_closing() or self.transport.get_write_buffer_size()
            self.transport.abort() if unread else self.transport.close()
        else:
            seen = head_bytes(self._url, self._headers) + self._body_bytes
            self._refuse(RequestTimeout(f"only {seen} bytes of the request came in time; send it faster"))

    def busy(self) -> bool:
        """Whether a request is being read or served."""
        return self._current is not None or self._in_message

    # -- llhttp

    def on_message_begin(self) -> None:
        """Start reading a request."""
        self._url = b""
        self._headers = self._peer.copy()
        self._dropped_bytes = self._unread_bytes = 0
        self._in_head, self._expects = True, False
        self._body, self._body_bytes = [], 0
        self._in_message = True

    def on_url(self, url: bytes) -> None:
        """Keep the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; refuse what could be read in two ways."""
        if not self._in_head:
            return  # a trailer
        name = name.lower()
        if name in self._headers:
            self._dropped_bytes += repeated_bytes(name, self._headers[name])
        self._headers[name] = value

    def _read_part(self, size: int, *, same_head: bool) -> None:
        """Note that a read of `size` bytes has left a request unfinished; its head began before, or in it."""
        if self._in_head and same_head:
            # A header that has not ended is llhttp's alone, so what it comes in counts.
            self._unread_bytes += size
        elif self._in_head:
            self._deadline = time.monotonic() + bounds.HEAD_S_MAX
        self._check_head()

    def _check_head(self) -> None:
        """Refuse a head that is too large; asked once a read and once a head, for what is read is bounded."""
        check_size(max(head_bytes(self._url, self._headers) + self._dropped_bytes, self._unread_bytes))

    def on_headers_complete(self) -> None:
        """Refuse early what will not be served."""
        self._check_head()
        self._in_head = False
        self._unread_bytes = 0
        headers = self._headers
        version = self._parser.get_http_version()
        self._http_1_0 = version == "1.0"
        length = check_head(headers, version, self._url)
        self._length = length
        if length > self._server.body_bytes_max:
            raise too_much(length, self._server.body_bytes_max)
        self._deadline = time.monotonic() + bounds.BODY_GRACE_S + length / bounds.BODY_RATE_MIN
        if expects_continue(headers):
            self._expects = self._current is not None  # whose answer comes first
            if not self._expects:
                self._write(CONTINUE)

    def on_body(self, data: bytes) -> None:
        """Keep a piece, within bounds."""
        before = self._body_bytes
        self._body_bytes += len(data)
        if self._body_bytes > self._server.body_bytes_max:
            raise too_much(self._body_bytes, self._server.body_bytes_max)
        if before <= bounds.STRANGER_BODY_BYTES_MAX < self._body_bytes:
            self._server.may_send(self._headers, path_of(self._url))
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Serve the request, or queue it behind the one being served."""
        if b"upgrade" in self._headers and self._parser.should_upgrade() and brings_body(self._headers):
            return  # it is still to come (`_stay`)
        self._in_message = False
        body, self._body = self._body, []
        request = HttpRequest(
            method=self._parser.get_method().decode("ascii", "replace"),
            path=path_of(self._url),
            url=self._url,
            headers=self._headers,
            body=body[0] if len(body) == 1 else b"".join(body),
            keep_alive=self._parser.should_keep_alive(),
            http_1_0=self._http_1_0,
            received_at=time.perf_counter(),
        )
        if self._current is None:
            self._current = request
            self.intake.add(request, self)
            return
        self._waiting.append(request)
        self._waiting_bytes += len(request.body)
        full = len(self._waiting) >= bounds.PIPELINE_MAX or self._waiting_bytes >= bounds.PIPELINE_BYTES_MAX
        if full and not self._paused_reading:
            self._server.may_send(request.headers, "/v1/")  # of a stranger no more is read
            self._paused_reading = True
            self.transport.pause_reading()

    # -- serving

    def _learn(self, data: bytes) -> None:
        """Keep the head of a request that was all of a read, for the next is likely to have the same."""
        request = self._current
        if request is None or self._waiting or not request.keep_alive or b"expect" in request.headers:
            return
        self._known = known_head(data, request.body)
        if self._known is not None:
            self._known_request = msgspec.structs.replace(request, body=b"", read=None)

    def begin(self) -> None:
        """Have the request that was read answered: the intake's turn has come to it."""
        request = self._current
        if request is None or self.transport.is_closing():
            return  # its client has gone
        if not self.writable:
            self._task = self.loop.create_task(self._begin_when_read(request))
            return
        self.began = self.finished = False
        try:
            answering = self._server.handler(self, request)
        except Exception as error:  # noqa: BLE001 - told and logged there
            self._failed(error, request)
            self.over()
        else:
            if answering is not None:
                self.run(answering)

    def run(self, answering: Awaitable[None]) -> None:
        """Have the request that is being served answered by a task."""
        self.on_lost = None
        self._task = self.loop.create_task(self._answer(answering))

    async def _answer(self, answering: Awaitable[None]) -> None:
        try:
            await answering
        except asyncio.CancelledError:
            self.transport.abort()
        except Exception as error:  # noqa: BLE001 - told and logged there
            self._failed(error, self._current)
        self._task = None
        self.over()

    def over(self) -> None:
        """The request has been answered, or never will be."""
        self.on_lost = self.on_writable = None
        if self._waiting and self.finished and not self.transport.is_closing():
            request = self._current = self._waiting.popleft()
            self._waiting_bytes -= len(request.body)
            self._read_on()
            self.intake.add(request, self)
            return
        if not self.finished:
            self.transport.abort()
        elif self._refused:
            self._leave()
        elif not self._in_message:
            self._deadline = time.monotonic() + bounds.KEEP_ALIVE_S
        elif self._expects:
            self._expects = False
            self._write(CONTINUE)
            self._deadline = time.monotonic() + bounds.BODY_GRACE_S + self._length / bounds.BODY_RATE_MIN
        self._current = None

    async def _begin_when_read(self, request: HttpRequest) -> None:
        if not self.writable:  # it may have read meanwhile
            await self.until_read()
        self._task = None
        self.intake.add(request, self)

    async def until_read(self) -> None:
        """Wait for a client that reads no answers: they would fill the memory. In vain it is cut off."""
        self._read_by = time.monotonic() + self._server.patience_s(self._current, self._headers)
        self._has_read = self.loop.create_future()
        await self._has_read
        self._has_read = None

    def _read_on(self) -> None:
        few = len(self._waiting) < bounds.PIPELINE_MAX // 2
        if self._paused_reading and few and self._waiting_bytes < bounds.PIPELINE_BYTES_MAX:
            self._paused_reading = False
            with contextlib.suppress(RuntimeError):
                self.transport.resume_reading()
                self._parse_in_pieces(self._unparsed)

    def _failed(self, error: Exception, request: HttpRequest | None) -> None:
        path = request.path if request is not None else ""
        if not isinstance(error, ApiError):
            log.error("unhandled", exc_info=error, extra={"path": path})
            error = defect()
        if self.began or self.transport.is_closing():
            # Half an answer is out: only a cut connection says that it is not whole.
            self.transport.abort()
            return
        headers, body = self._server.error_response(error, path)
        self.respond(error.http_status, headers, body)
