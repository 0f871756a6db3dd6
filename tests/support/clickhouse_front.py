"""A ClickHouse server for tests: chdb's engine, spoken to over HTTP as ClickHouse is.

Run by an interpreter that has `chdb-core` and `lz4`; it has nothing of ours, so that a client cannot be
served by its own mistakes. Usage: clickhouse_front.py FOLDER [PORT [SETTING=VALUE …]]. Prints its port; ends
when its standard input closes.

What ClickHouse's HTTP interface does and this does: `GET /ping`; a statement in the URL's `query`, in the
body, or begun in the one and gone on with in the other; `INSERT … FORMAT X` with data after it; `database`,
`default_format`, `param_NAME` and settings as other names in the URL; chunked and packed bodies; errors as a
status with the code in `X-ClickHouse-Exception-Code`. One statement runs at a time.
"""

from __future__ import annotations

import gzip
import os
import re
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import lz4.frame  # type: ignore[import-not-found]  # the other environment's
from chdb.state.sqlitelike import Connection  # type: ignore[import-not-found]  # the other environment's

SERVER = {
    "max_server_memory_usage": 1_500_000_000,
    # By itself it takes no more cores for a question than it has GiB free: with the bound above always one.
    "max_threads_min_free_memory_per_thread": 0,
    # It looks at its own memory twenty times a second, also where nobody asks it anything for minutes.
    "memory_worker_period_ms": 1_000,
    # A change of rows is done part by part in the background, which rests up to a second and more in between.
    "background_processing_pool_thread_sleep_seconds": 0.05,
    "background_processing_pool_thread_sleep_seconds_random_part": 0.01,
    "background_processing_pool_task_sleep_seconds_when_no_work_random_part": 0.01,
}
NOT_SETTINGS = frozenset(
    {"query", "database", "default_format", "query_id", "session_id", "user", "password", "compress"}
    | {"client_protocol_version", "wait_end_of_query", "enable_http_compression", "session_timeout"}
    | {"send_progress_in_http_headers", "http_headers_progress_interval_ms", "role", "quota_key"}
    | {"cancel_http_readonly_queries_on_client_close"}
)
INSERT = re.compile(rb"\s*(insert\s+into\s.*?)\s+format\s+(\w+)\s*\n(.*)", re.IGNORECASE | re.DOTALL)
FORMAT = re.compile(rb"\bformat\s+(\w+)\s*;?\s*$", re.IGNORECASE)
STATUS = {60: 404, 81: 404, 516: 403, 497: 403}


class Engine:
    """The one connection of this process."""

    def __init__(self, folder: str, settings: list[str]) -> None:
        self._connection = Connection(f"{folder}?{urlencode(SERVER)}")
        for each in settings:
            self._connection.query(f"SET {each}")
        self._lock = threading.Lock()
        self._used = ""
        self._set: dict[str, str] = {}

    def answer(self, statement: bytes, asked: dict[str, str]) -> bytes:
        """What a statement gives, with these names of the URL."""
        inserted = INSERT.fullmatch(statement)
        found = None if inserted else FORMAT.search(statement)
        form = found[1].decode() if found else asked.get("default_format", "TabSeparated")
        statement = statement[: found.start()] if found else statement
        params = {name[6:]: value for name, value in asked.items() if name.startswith("param_")}
        settings = {
            name: value
            for name, value in asked.items()
            if name not in NOT_SETTINGS and not name.startswith("param_")
        }
        with self._lock:
            self._have(settings)
            self._use(asked.get("database", "default"))
            if inserted:
                self._insert(*(part for part in inserted.groups()))
                return b""
            if statement.lstrip()[:4].lower() == b"drop":
                self._used = ""
            return bytes(self._connection.query(statement.decode(), form, params or None).bytes())

    def _use(self, database: str) -> None:
        """Have statements mean this database. One that a statement may have dropped is asked for again."""
        if database != self._used:
            self._connection.query(f"USE `{database}`")
            self._used = database

    def _insert(self, into: bytes, form: bytes, data: bytes) -> None:
        """Data of any format, which need not be text: chdb reads them from a file in memory."""
        file = os.memfd_create("data")
        try:
            os.write(file, data)
            os.lseek(file, 0, os.SEEK_SET)
            self._connection.query(
                f"{into.decode()} from infile '/proc/self/fd/{file}' format {form.decode()}"
            )
        finally:
            os.close(file)

    def _have(self, settings: dict[str, str]) -> None:
        """Bring the connection's settings to these: a statement for each that differs."""
        for name in self._set.keys() - settings.keys():
            self._connection.query(f"SET {name} = DEFAULT")
            del self._set[name]
        for name, value in settings.items():
            if self._set.get(name) != value:
                quoted = value.replace("\\", "\\\\").replace("'", "\\'")
                self._connection.query(f"SET {name} = '{quoted}'")
                self._set[name] = value


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    engine: Engine

    def log_message(self, *_given: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """A ping, or a question."""
        self.do_POST()

    def do_POST(self) -> None:
        """A statement."""
        url = urlsplit(self.path)
        asked = dict(parse_qsl(url.query, keep_blank_values=True))
        body = self._body()
        if url.path == "/ping":
            self._reply(200, b"Ok.\n")
            return
        parts = [asked.get("query", "").encode(), body]
        try:
            answer = self.engine.answer(b"\n".join(part for part in parts if part), asked)
        except Exception as error:  # noqa: BLE001 - told to the client, whatever it is
            found = re.search(r"Code: (\d+)", str(error))
            code = int(found[1]) if found else 1001
            self._reply(STATUS.get(code, 400), str(error).encode(), code=code)
        else:
            self._reply(200, answer)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            pieces = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(pieces)
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        packing = self.headers.get("content-encoding", "")
        return {"gzip": gzip.decompress, "lz4": lz4.frame.decompress}.get(packing, bytes)(body)

    def _reply(self, status: int, body: bytes, *, code: int | None = None) -> None:
        self.send_response(status)
        if code is not None:
            self.send_header("X-ClickHouse-Exception-Code", str(code))
        self.send_header("X-ClickHouse-Server-Display-Name", "chdb")
        self.send_header("X-ClickHouse-Timezone", "UTC")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until standard input closes: whoever started this is gone then."""
    os.environ["TZ"] = "UTC"
    Handler.engine = Engine(sys.argv[1], sys.argv[3:])
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
