"""A request, and what its head must be to be read further. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import httptools
import msgspec

from airboss.domain.errors import ApiError, BodyTooLarge, HeadersTooLarge, InvalidRequest, UnsupportedMedia

if TYPE_CHECKING:
    from airboss.gateway.wire import Body

HEAD_BYTES_MAX = 64 * 1024
HEADER_BYTES_EXTRA = 32
FRAMING_BYTES_A_BODY_BYTE = 8
"""What chunks of one byte each cost; sizes, extensions and trailers may take so much, and a head's worth."""

ONCE_ONLY = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"x-api-key",
        b"content-type",
        b"content-encoding",
        b"x-airboss-metadata",
        b"x-airboss-timeout-s",
    }
)
"""Headers that say who calls, for whom, for how long, or what the body is: two of one could be read in two
ways."""


UNPACKED: Final = frozenset({b"identity", b""})
"""How a `content-encoding` says that a body is not packed: some clients and proxies send it empty."""
UNPACKED_BY_HANDLER = frozenset({"/v1/traces", "/v1/logs", "/v1/metrics"})
"""Paths whose handler reads compressed bodies, within bounds of its own."""


PEER: Final = b":peer"
"""Among headers the address that they came from; no header can be called so."""


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpRequest(msgspec.Struct):
    """A whole request. `url` is its target as sent, `path` the same without a query. Header names are lower
    case, the last of a repeated name wins; they are for reading, as the next request may share them. Trailers
    are not kept: what comes after the body says nothing about it."""

    method: str
    path: str
    url: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    keep_alive: bool
    http_1_0: bool
    received_at: float
    """`time.perf_counter()` when the last byte came."""
    read: Body | None = None
    """Its body, where that has been read already (`gateway.intake`)."""


def check_head(headers: Mapping[bytes, bytes], version: str, url: bytes = b"") -> int:
    """The length that a body is said to have, 0 if nothing is said. `headers` are those that llhttp has
    taken, names in lower case; `url` is the request's target. Raises InvalidRequest and UnsupportedMedia."""
    if version not in {"1.1", "1.0"}:
        raise InvalidRequest(f"HTTP/{version} is not spoken here; use HTTP/1.1", code="invalid_http")
    if b"host" not in headers and version == "1.1":
        raise InvalidRequest("the host header is missing", code="invalid_http")
    if b"transfer-encoding" in headers:
        _check_chunked(headers, version)
    encoding = headers.get(b"content-encoding")
    packed = encoding is not None and encoding.strip(b" \t").lower() not in UNPACKED
    if encoding is not None and packed and path_of(url) not in UNPACKED_BY_HANDLER:
        raise UnsupportedMedia(
            f"content-encoding {_shown(encoding.lower())} is not read here; send the body uncompressed"
        )
    return int(headers.get(b"content-length", b"0"))


def _check_chunked(headers: Mapping[bytes, bytes], version: str) -> None:
    """Refuse a body whose end two servers could see in two places."""
    if b"content-length" in headers:
        raise InvalidRequest(
            "content-length and transfer-encoding exclude each other; send one of them", code="invalid_http"
        )
    encoding = headers[b"transfer-encoding"]
    if encoding.lower() != b"chunked" or version != "1.1":
        raise InvalidRequest(
            f"transfer-encoding {_shown(encoding)} is not read here; send 'chunked' by HTTP/1.1, or a "
            "content-length",
            code="invalid_http",
        )


def head_bytes(url: bytes, headers: Mapping[bytes, bytes]) -> int:
    """How long a head is taken to be: many tiny headers cost more than their bytes, so each has more."""
    kept = sum(map(len, headers)) + sum(map(len, headers.values()))
    return len(url) + kept + len(headers) * HEADER_BYTES_EXTRA


def brings_body(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a body comes behind such a head."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0") != b""


def head_again(
    method: bytes, url: bytes, headers: Mapping[bytes, bytes], *, http_1_0: bool, told: bool
) -> bytes:
    """A head that was read, without the protocol that it offered to change to, which a server may ignore
    (RFC 9110, 7.8): Java's own client offers HTTP/2 in each. `told`: its sender was told to go on."""
    left_out = {b"upgrade", b"expect", PEER} if told else {b"upgrade", PEER}
    lines = [b"%s: %s\r\n" % (name, value) for name, value in headers.items() if name not in left_out]
    return b"%s %s HTTP/1.%d\r\n%s\r\n" % (method, url, not http_1_0, b"".join(lines))


def expects_continue(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the client sends the body once it is told to go on."""
    expect = headers.get(b"expect")
    return expect is not None and expect.strip(b" \t").lower() == b"100-continue"


def repeated_bytes(name: bytes, value: bytes) -> int:
    """What a header that comes again counts for: it takes the place of `value`. Raises InvalidRequest."""
    if name in ONCE_ONLY:
        raise InvalidRequest(f"header {name.decode()!r} was sent twice; send it once", code="invalid_http")
    return len(name) + len(value) + HEADER_BYTES_EXTRA


def check_size(size: int) -> None:
    """Refuse a head that is too large, or is so already before its end."""
    if size > HEAD_BYTES_MAX:
        raise HeadersTooLarge(
            f"the request's head is over {HEAD_BYTES_MAX} bytes; send fewer or shorter headers"
        )


def check_framing(framing_bytes: int, body_bytes: int) -> None:
    """Refuse what frames a body where it is far more than the body."""
    if framing_bytes > HEAD_BYTES_MAX + FRAMING_BYTES_A_BODY_BYTE * body_bytes:
        raise HeadersTooLarge(
            f"{framing_bytes} bytes of chunk sizes, extensions and trailers for {body_bytes} bytes of body; "
            "send larger chunks, without extensions and trailers"
        )


def too_much(size: int, most: int) -> BodyTooLarge:
    """What is said of a body of `size` bytes, or that many up to now."""
    return BodyTooLarge(
        f"the body is {size} bytes or more, the limit is {most}; send less, or raise max_body_bytes under "
        "[gateway]"
    )


def said_by(error: httptools.HttpParserError) -> ApiError:
    """What llhttp wraps of ours, which says more than its wrapper; without where it was raised, as that knows
    the connection."""
    cause = error.__context__
    if isinstance(cause, ApiError):
        return cause.with_traceback(None)
    return InvalidRequest(f"the request is not valid HTTP/1.1: {error}", code="invalid_http")


@lru_cache(maxsize=32)
def path_of(url: bytes) -> str:
    """The path of a request's target, "" if it has none that can be read."""
    try:
        path = httptools.parse_url(url).path
    except httptools.HttpParserInvalidURLError:
        return ""
    return path.decode("utf-8", "replace") if path else "/"


def _shown(value: bytes) -> str:
    return repr(value[:60].decode("latin-1"))
