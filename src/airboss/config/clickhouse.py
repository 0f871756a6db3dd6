"""Where a ClickHouse is: `[store] records`."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from airboss.config.wording import ESCAPES

PORT: Final = 8123
TLS_PORT: Final = 8443


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Where a ClickHouse is. With `cluster` every table is made on all nodes of that one, replicated."""

    url: str
    database: str
    user: str = "default"
    password: str = ""
    cluster: str | None = None


def read_url(url: str) -> Server:
    """The server that `clickhouse://USER:PASSWORD@HOST:PORT/DATABASE?secure=true&cluster=NAME` names; all
    but the host may be left out. Raises ValueError, without the password, for anything else."""
    form = f"it is not of the form clickhouse://USER:PASSWORD@HOST:PORT/DATABASE; {ESCAPES}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its words have what stands there
        raise ValueError(form) from None
    asked = parse_qs(parts.query, keep_blank_values=True)
    unknown = sorted(set(asked) - {"secure", "cluster"})
    secure = asked.get("secure", ["false"])[-1]
    cluster = asked.get("cluster", [None])[-1]
    database = unquote(parts.path.strip("/")) or "airboss"
    if (
        parts.scheme != "clickhouse"
        or not parts.hostname
        or "@" in f"{parts.hostname}{parts.path}{parts.query}"
    ):
        raise ValueError(form)
    if unknown:
        raise ValueError(f"{unknown[0]!r} is none of its options, which are secure and cluster")
    if secure not in {"true", "false"}:
        raise ValueError(f"secure is {secure!r}; it is true or false")
    for what, name in (("database", database), ("cluster", cluster)):
        if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
            raise ValueError(f"the {what} {name!r} is not a name of letters, digits and underscores")
    port = port or (TLS_PORT if secure == "true" else PORT)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Server(
        url=f"{'https' if secure == 'true' else 'http'}://{host}:{port}",
        database=database,
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        cluster=cluster,
    )
