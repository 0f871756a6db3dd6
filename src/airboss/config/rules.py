"""Rules that settings of several kinds share."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from airboss.config.wording import Path, Wrong, dotted, nearest, quoted


def check_known(path: Path, name: str, known: Mapping[str, object], noun: str, wrong: Wrong) -> None:
    """`name` must be one of `known`."""
    if name not in known:
        raise wrong(path, f"{dotted(path)}: there is no {noun} {quoted(name)}; {nearest(name, known)}")


def check_range(path: Path, value: object, least: float, most: float, wrong: Wrong) -> None:
    """`value` is a number or None; None is never out of range."""
    if value is not None and not least <= value <= most:  # type: ignore[operator]  # int, float or Decimal
        raise wrong(path, f"{dotted(path)} is {value}; expected {least:,} to {most:,}")


def check_url(path: Path, url: str, wrong: Wrong) -> None:
    """The value is not repeated where it may hold a password."""
    try:
        parts: SplitResult | None = urlsplit(url)
        port = parts.port if parts else None
    except ValueError:
        parts, port = None, None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise wrong(
            path, f'{dotted(path)} is {quoted(url)}; expected "https://HOST/v1" or "http://HOST:PORT/v1"'
        )
    if parts.username or parts.password:
        raise wrong(path, f"{dotted(path)} holds a user or password; put the secret in api_key")
    if parts.query or parts.fragment or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise wrong(path, f"{dotted(path)} is {quoted(url)}; nothing may follow its path")
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise wrong(path, f"{dotted(path)} is {quoted(url)}; leave out /chat/completions")


def is_reference(value: str) -> bool:
    """Whether a setting says where a secret is rather than being it."""
    return value.startswith(("env:", "file:"))


def check_reference(path: Path, value: str, wrong: Wrong) -> bool:
    """Whether the value says where a secret is, `env:NAME` or `file:/PATH`; one that is written wrongly is an
    error."""
    if value.startswith("env:") and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value[4:]):
        raise wrong(path, f'{dotted(path)}: after "env:" comes the name of an environment variable')
    if value.startswith("file:") and not value[5:].startswith("/"):
        raise wrong(path, f'{dotted(path)}: after "file:" comes an absolute path')
    return is_reference(value)


HEADERS_MAX: Final = 16
OUR_HEADERS: Final = frozenset({
    "accept", "accept-encoding", "authorization", "connection", "content-encoding", "content-length",
    "content-type", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer", "traceparent",
    "tracestate", "transfer-encoding", "upgrade", "user-agent",
})  # fmt: skip
_SECRET_HEADER: Final = re.compile(r"(?i)auth|cookie|key|password|secret|token")


def check_headers(path: Path, headers: Mapping[str, str], wrong: Wrong) -> None:
    """Names and values that headers may have; what authorizes must be a reference."""
    for name, value in headers.items():
        where = (*path, name)
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name):
            raise wrong(where, f"{dotted(path)} has {quoted(name)}, which is no header's name")
        if check_reference(where, value, wrong):
            continue
        if _SECRET_HEADER.search(name):
            # Its value is not repeated: it is a secret that does not belong here.
            raise wrong(where, f'{dotted(where)} must not be written out; use "env:NAME" or "file:/PATH"')
        if not value.isprintable() or not value.isascii():
            raise wrong(where, f"{dotted(where)} holds characters that no header has")


def check_sent_along(path: Path, headers: Mapping[str, str], wrong: Wrong) -> None:
    """The same of those that go to a provider beside Airboss's own."""
    check_headers(path, headers, wrong)
    names = [name.lower() for name in headers]
    if len(names) > HEADERS_MAX or len(set(names)) < len(names):
        raise wrong(path, f"{dotted(path)} has {len(names)}; give at most {HEADERS_MAX}, each once")
    for name in names:
        if name in OUR_HEADERS:
            said = "the secret goes into api_key" if name == "authorization" else "Airboss writes that itself"
            raise wrong(path, f"{dotted(path)} has {quoted(name)}: {said}; take it out")


def on_this_machine(url: str) -> bool:
    """Whether a URL is http on this machine, where nobody listens in."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
