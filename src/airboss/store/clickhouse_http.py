"""ClickHouse over HTTP: where it is, how statements are sent, and how values are written into them."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Final

import httpx2
import msgspec

from airboss.config.clickhouse import Server
from airboss.domain.errors import StoreUnavailable

CONNECT_S: Final = 5.0
ANSWER_S: Final = 60.0
HARD_S: Final = 1800.0
"""The longest that rewriting parts may take."""
GONE_S: Final = 20
"""So soon it is known that the server's machine, or the way to it, is gone, though no answer is due yet."""
_LOOKS: Final = {"TCP_KEEPIDLE": GONE_S // 2, "TCP_KEEPINTVL": GONE_S // 8, "TCP_KEEPCNT": 4}
_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *((socket.IPPROTO_TCP, getattr(socket, each), n) for each, n in _LOOKS.items() if hasattr(socket, each)),
)
_SETTINGS: Final = {
    "date_time_input_format": "best_effort",
    "deduplicate_blocks_in_dependent_materialized_views": "1",
    "insert_deduplicate": "1",
    "max_partitions_per_insert_block": "0",
    "max_query_size": "268435456",
    "mutations_sync": "2",
    "lightweight_deletes_sync": "2",
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_decimals": "1",
    "output_format_json_quote_denormals": "0",
    "prefer_column_name_to_alias": "1",
    "session_timezone": "UTC",
}
"""Sent with every statement. What a person deletes is deleted when the answer comes, on every replica."""
Ask = Callable[[str, Mapping[str, Any]], list[list[Any]]]
"""`ClickHouse.rows`, or what does more before it."""
_PLACE: Final = re.compile(r"\$([a-z_]+)")
COMMENT: Final = re.compile(r"^\s*--.*$", re.MULTILINE)


class ClickHouse:
    """Statements, one at a time or from several threads. Raises StoreUnavailable where the server does not
    answer or refuses, ValueError for values that cannot be written as text."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._http = httpx2.Client(
            base_url=server.url,
            headers={"X-ClickHouse-User": server.user, "X-ClickHouse-Key": server.password},
            timeout=httpx2.Timeout(ANSWER_S, connect=CONNECT_S),
            trust_env=False,
            transport=httpx2.HTTPTransport(
                verify=server.url.startswith("https"),  # to read the machine's certificates takes a while
                trust_env=False,
                socket_options=_ALIVE,
            ),
        )
        self._closed = False

    def rows(self, text: str, asked: Mapping[str, Any] | None = None) -> list[list[Any]]:
        """What a question gives; `$name` in it stands for `asked["name"]`."""
        statement = f"{filled(text, asked or {})}\nformat JSONCompactEachRow"
        lines = self._send(statement.encode(), {})
        return msgspec.json.decode(b"[" + b",".join(lines.split(b"\n")[:-1]) + b"]", type=list[list[Any]])

    def run(
        self, text: str, asked: Mapping[str, Any] | None = None, *, hard: bool = False, once: bool = False
    ) -> None:
        """Run a statement to its end; a `hard` one rewrites parts and may take long. What is to run `once` is
        not sent again where the connection breaks."""
        self._send(filled(text, asked or {}).encode(), {}, timeout_s=HARD_S if hard else ANSWER_S, once=once)

    def drop_database(self) -> None:
        """Drop the database with all that is in it."""
        name = self.server.database
        self._send(f"drop database if exists {name}{self.on_cluster} sync".encode(), {"database": "default"})

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], token: str) -> None:
        """Add rows; again under the same token adds nothing."""
        if not rows:
            return
        names = ", ".join(f'"{name}"' for name in columns)
        statement = f"insert into {table} ({names}) format JSONCompactEachRow"
        data = _encoder.encode_lines(rows)
        self._send(data, {"query": statement, "insert_deduplication_token": f"{token}:{table}"})

    def insert_new(self, table: str, columns: Mapping[str, str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Add the rows whose id, the first of the `columns` (types by name), is not there when the server
        comes to it: that may be after its answer was given up, and after others have brought them. The token
        is of the ids: what is made again may have other rows, of which none may be left out."""
        if not rows:
            return
        names = ", ".join(f'"{name}"' for name in columns)
        data = _encoder.encode_lines(rows).decode()
        token = hashlib.sha256(" ".join(row[0] for row in rows).encode()).hexdigest()
        statement = filled(
            f"insert into {table} ({names}) select {names} from format(JSONCompactEachRow, $types, $data)"  # noqa: S608 - fixed
            f" where id not in (select id from {table} where id in $ids)",
            {
                "types": ", ".join(f'"{name}" {kind}' for name, kind in columns.items()),
                "data": data,
                "ids": [row[0] for row in rows],
            },
        )
        self._send(statement.encode(), {"insert_deduplication_token": f"{token}:{table}"})

    def create_database(self) -> None:
        """Make the database where there is none."""
        name = self.server.database
        self._send(f"create database if not exists {name}{self.on_cluster}".encode(), {"database": "default"})

    def clock(self) -> float:
        """The server's time in seconds; it need not have the database yet."""
        asked = b"select toUnixTimestamp64Micro(now64(6)) format TSV"
        return int(self._send(asked, {"database": "default"})) / 1e6

    @property
    def on_cluster(self) -> str:
        """What a statement on tables says where there is a cluster."""
        return on_cluster(self.server)

    def close(self) -> None:
        """Hang up."""
        self._closed = True
        self._http.close()

    def _send(
        self, body: bytes, asked: Mapping[str, str], *, timeout_s: float = ANSWER_S, once: bool = False
    ) -> bytes:
        if self._closed:
            raise StoreUnavailable("this client of ClickHouse is closed")
        params = {"database": self.server.database, **_SETTINGS, **asked}
        timeout = httpx2.Timeout(timeout_s, connect=CONNECT_S)
        for last in (once, True):
            try:
                answer = self._http.post("/", params=params, content=body, timeout=timeout)
                break
            except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError) as error:
                # A kept connection that the server has closed meanwhile. Statements may be sent twice but for
                # those of a migration, which fill tables.
                if last:
                    raise self._unavailable(str(error)) from error
            except httpx2.HTTPError as error:
                raise self._unavailable(str(error) or type(error).__name__) from error
        if answer.status_code != httpx2.codes.OK:
            raise self._unavailable(answer.text.strip().split("\n")[0][:500])
        return answer.content

    def _unavailable(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"ClickHouse at {self.server.url} has not done what it was asked ({why}); records wait in the "
            "journal meanwhile, and none is lost: see that it runs and that [store] records is right"
        )


_encoder: Final = msgspec.json.Encoder(decimal_format="string")


@cache
def query(name: str) -> str:
    """The text of a named query in ClickHouse's dialect, without comments."""
    text = (resources.files("airboss.store") / "queries" / f"{name}.clickhouse.sql").read_text()
    return COMMENT.sub("", text).strip()


def filled(text: str, asked: Mapping[str, Any]) -> str:
    """A statement with its values. Raises ValueError for text that is no Unicode."""
    filled_in = _PLACE.sub(lambda place: literal(asked[place[1]]), text)
    filled_in.encode()  # a lone surrogate is the caller's mistake, and not the server's
    return filled_in


def literal(value: object) -> str:
    """A value as ClickHouse's SQL has it."""
    match value:
        case None:
            text = "null"
        case bool():
            text = str(value).lower()
        case int() | float():
            text = repr(value)
        case Decimal():
            text = f"toDecimal64('{value:f}', 12)"
        case datetime():
            text = f"toDateTime64('{stamp(value)}', 6, 'UTC')"
        case str():
            quoted = value.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")
            text = f"'{quoted}'"
        case Collection():
            text = f"[{', '.join(literal(each) for each in value)}]"
        case _:
            raise TypeError(f"{type(value).__name__} has no form in ClickHouse's SQL")
    return text


def stamp(moment: datetime) -> str:
    """A moment as columns of type DateTime64(6, 'UTC') take it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def moment(text: str) -> datetime:
    """What such a column gives."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def on_cluster(server: Server) -> str:
    """What a statement on tables says where there is a cluster."""
    return f" on cluster {server.cluster}" if server.cluster is not None else ""
