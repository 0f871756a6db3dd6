"""How upstreams that do not speak OpenAI's chat dialect are spoken to: the seam. Pure.

Inside of the gateway a request is OpenAI's (`/chat/completions`), an answer is a `chat.completion`, and a
stream is `chat.completion.chunk` events with `[DONE]` after them. A dialect turns such a request into an
`Outgoing`; a `Reader`, a new one for each attempt, turns what comes back into that inner form, before
anything else looks at it. Retries, deadlines, screening, records and costs therefore know one form only.
Where an upstream speaks OpenAI's dialect there is no `Outgoing`, and nothing of this runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from airboss import __version__
from airboss.domain.errors import InvalidRequest

DONE = b"[DONE]"
"""The data of a stream's last event."""


class Reader(Protocol):
    """Reads one attempt's answer. What it returns has OpenAI's shape; each method may raise ApiError."""

    def whole(self, body: bytes) -> bytes:
        """A whole answer with status 200. An error object that came so is returned as OpenAI's."""

    def event(self, data: bytes) -> list[bytes]:
        """The data of the events that one event of the upstream's makes; DONE where it is the last."""

    def end(self) -> list[bytes]:
        """What remains to be said when the body has ended; nothing if the stream was cut."""

    def told(self) -> dict[str, Any] | None:
        """The usage as far as it has been told, as OpenAI's `usage`; None where that is read elsewhere."""

    def error(self, status: int, body: bytes) -> bytes:
        """An error answer, as `{"error": {message, type, code, param}}`."""


class Frames(Protocol):
    """Cuts a stream into events."""

    def feed(self, data: bytes) -> list[bytes]:
        """The events that `data` completes. Raises UpstreamFailed for one that is too large or broken."""

    @property
    def rest(self) -> bytes:
        """The bytes after the last whole event."""


Authorise = Callable[["Unsigned", str], Mapping[str, str]]
"""The headers that carry a secret, for a request."""


class Unsigned(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature covers. `path` is all of it, query included; `at` is seconds since 1970."""

    host: str
    path: str
    body: bytes
    at: float


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A request as an upstream wants it, and how its answer is read. `headers` replace those that are usual.

    `path` follows the base URL, query included. `reader` is given the second since 1970 that answers are
    stamped with; None where the answer is OpenAI's already. `streams` is whether a stream was asked for,
    `framing` how it is cut: server-sent events, or AWS's binary frames. `dropped` names what the dialect has
    no words for and was left out. `or_chat`: not every provider has the route, and chat does as well.
    """

    path: str
    body: bytes
    authorise: Authorise
    streams: bool
    reader: Callable[[int], Reader] | None = None
    framing: Literal["sse", "aws"] = "sse"
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"
    dropped: tuple[str, ...] = ()
    or_chat: bool = False


def bearer(_request: Unsigned, secret: str) -> Mapping[str, str]:
    """OpenAI's way."""
    return {"authorization": f"Bearer {secret}"}


def key_in(header: str) -> Authorise:
    """A header of its own for the key."""
    return lambda _request, secret: {header: secret}


def request_head(
    outgoing: Outgoing,
    *,
    host: str,
    base_path: str,
    secret: str | None,
    trace: Mapping[str, str] | None,
    at: float,
) -> bytes:
    """The head of the HTTP request, sent at `at`. Values have no line ends: config checked."""
    path = base_path + outgoing.path
    headers = {
        "host": host,
        "content-type": "application/json",
        "accept": "application/json, text/event-stream" if outgoing.framing == "sse" else "*/*",
        "accept-encoding": "identity",
        "user-agent": f"airboss/{__version__}",
        **dict(outgoing.headers),
    }
    if secret is not None:
        headers |= outgoing.authorise(Unsigned(host=host, path=path, body=outgoing.body, at=at), secret)
    if trace is not None:
        headers |= trace
    headers["content-length"] = str(len(outgoing.body))
    lines = [f"{outgoing.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Unsaid:
    """Collects what a request asks for and an upstream, called `upstream` to people, has no words for."""

    def __init__(self, upstream: str, *, drop: bool) -> None:
        self.upstream = upstream
        self._drop = drop
        self.dropped: list[str] = []
        self._noted: set[str] = set()

    def add(self, name: str, why: str | None = None) -> None:
        """Take note that `name` is left out. Raises InvalidRequest naming it where nothing may be dropped."""
        if not self._drop:
            raise InvalidRequest(
                f"{name!r} cannot be said to {self.upstream}"
                f"{f' ({why})' if why else ''}; leave it out, or set drop_unsupported = true on the provider",
                code="unsupported_by_provider",
                param=name,
            )
        self.note(name)

    def note(self, name: str) -> None:
        """Take note of what is left out in any case."""
        if name not in self._noted:
            self._noted.add(name)
            self.dropped.append(name)
