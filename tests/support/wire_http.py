"""HTTP over a bare socket: what is sent is sent as it is, and what comes back is read strictly."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from dataclasses import dataclass, field
from typing import Any, Self

MARK = b"GET /healthz HTTP/1.1\r\nhost: mark\r\n\r\n"
"""A request whose answer nothing else looks like."""
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) [ -~]+")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9a-z-]+): ([ -~]*)")


class NotHttp(AssertionError):
    """What came is not what an HTTP server may send."""


@dataclass(frozen=True)
class Answer:
    """One whole response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether it says that the connection ends with it."""
        return self.headers.get("connection") == "close"

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class Wire:
    """One connection. `closed` is whether the server has ended it."""

    port: int
    timeout_s: float = 60.0
    closed: bool = False
    _got: bytearray = field(default_factory=bytearray)

    def __enter__(self) -> Self:
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=self.timeout_s)
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send, as far as the server lets us."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def answer(self, *, head: bool = False) -> Answer | None:
        """The next response, None at the end of the connection. `head` where it answers HEAD. Raises
        TimeoutError, and NotHttp for what is none."""
        line = self._line()
        if line is None:
            return None
        matched = _STATUS_LINE.fullmatch(line)
        if matched is None:
            raise NotHttp(line)
        headers: dict[str, str] = {}
        while line := self._line():
            named = _HEADER.fullmatch(line)
            if named is None or named[1].decode() in headers:
                raise NotHttp(line)
            headers[named[1].decode()] = named[2].decode()
        status = int(matched[1])
        return Answer(status, headers, b"" if head or status < 200 else self._body(headers))

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._line() or b"", 16):
                body += self._exactly(size)
                if self._line() != b"":
                    raise NotHttp("a chunk that does not end")
            if self._line() != b"":
                raise NotHttp("trailers")
            return body
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        while self._more():
            pass
        return self._exactly(len(self._got))

    def _line(self) -> bytes | None:
        while b"\r\n" not in self._got:
            if not self._more():
                if self._got:
                    raise NotHttp(bytes(self._got))
                return None
        line, _, rest = bytes(self._got).partition(b"\r\n")
        self._got = bytearray(rest)
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._got) < size:
            if not self._more():
                raise NotHttp(f"{len(self._got)} bytes of {size}")
        piece = bytes(self._got[:size])
        del self._got[:size]
        return piece

    def _more(self) -> bool:
        if not self.closed:
            try:
                piece = self.socket.recv(262_144)
            except ConnectionResetError:
                piece = b""
            self._got += piece
            self.closed = not piece
        return not self.closed

    def in_step(self, last: Answer) -> bool:
        """Whether the connection is as `last` left it: ended with nothing more said where that promised so,
        else ready for the next request, whose answer is the next to come."""
        self.send(MARK)
        if last.closes:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
            return not self._got and not self._more()
        answer = self.answer()
        return answer is None or (answer.status == 200 and answer.json() == {"status": "ok"})


def exchange(
    port: int, data: bytes, *, head: bool = False, timeout_s: float = 60.0, before: bytes = b""
) -> Answer:
    """The only answer to `data` on a connection of its own, which is in step or closed after it. `before` is
    a good request that is answered there first."""
    with Wire(port, timeout_s) as wire:
        if before:
            wire.send(before)
            first = wire.answer()
            assert first is not None, "no answer to the first"
            assert first.status == 200, first
        wire.send(data)
        answer = wire.answer(head=head)
        while answer is not None and answer.status == 100:
            answer = wire.answer(head=head)
        assert answer is not None, "no answer"
        assert wire.in_step(answer), f"out of step after {answer}"
        return answer


def check_error(answer: Answer, *, anthropic: bool = False) -> None:
    """An error is of the caller's making, has the house's shape and an id, and shows none of our insides."""
    assert 400 <= answer.status < 500, answer
    assert answer.headers["content-type"].startswith("application/json"), answer
    assert _ID.fullmatch(answer.headers["x-request-id"]), answer
    said = answer.json()
    if anthropic:
        assert set(said) == {"type", "error"}, said
        assert said["type"] == "error"
    else:
        assert set(said) == {"error"}, said
    error = said["error"]
    assert set(error) == {"message", "type", "code", "param"}, said
    assert isinstance(error["message"], str)
    assert 10 < len(error["message"]) <= 2_000, said
    for inside in ("Traceback", "/src/", "site-packages", ".py", "object at 0x"):
        assert inside not in error["message"], said
