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


def web_address(url: str) -> SplitResult | None:
    """The parts of a URL of http or https with a host; None of anything else."""
    try:
        parts = urlsplit(url)
        told = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if told else None


def check_url(path: Path, url: str, wrong: Wrong) -> None:
    """The value is not repeated where it may hold a password."""
    parts = web_address(url)
    if parts is None:
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
        # Processes may be started in another folder, where a relative path would mean another file.
        raise wrong(path, f'{dotted(path)}: after "file:" comes an absolute path')
    return is_reference(value)


def check_secret(path: Path, value: str, wrong: Wrong) -> None:
    """The value says where a secret is. It is not repeated: it may be a secret that does not belong here."""
    if not check_reference(path, value, wrong):
        raise wrong(path, f'{dotted(path)} must not be written out; use "env:NAME" or "file:/PATH"')


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
        if _SECRET_HEADER.search(name):
            check_secret(where, value, wrong)
        elif not check_reference(where, value, wrong) and not (value.isprintable() and value.isascii()):
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
