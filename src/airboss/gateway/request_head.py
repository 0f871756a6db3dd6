"""A request, and what its head must be to be read further. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import httptools
import msgspec

from airboss.domain.errors import InvalidRequest, UnsupportedMedia

if TYPE_CHECKING:
    from airboss.gateway.wire import Body

ONCE_ONLY = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"x-api-key",
        b"content-type",
        b"content-encoding",
    }
)
"""Headers that say who calls, or what the body is: two of one could be read in two ways."""


UNPACKED_BY_HANDLER = frozenset({"/v1/traces", "/v1/logs", "/v1/metrics"})
"""Paths whose handler reads compressed bodies, within bounds of its own."""


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
    packed = encoding is not None and encoding.lower() != b"identity"
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
