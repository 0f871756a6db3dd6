"""The databases that a ledger can be in, and the record logs that one contract holds for."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from airboss.domain.ports import RecordLog
from airboss.store.clickhouse import ClickHouseRecordLog
from airboss.store.client import StoreClient
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.memory import MemoryRecordLog
from airboss.store.service import serve
from tests.store.keys import sealed
from tests.store.ledgers import KINDS, url
from tests.support.clickhouse import House, house


@contextmanager
def served(record_log: RecordLog) -> Iterator[Path]:
    """`record_log` behind a unix socket, whose path this gives; closed at the end."""
    stop, ready = threading.Event(), threading.Event()
    with tempfile.TemporaryDirectory(prefix="ab-") as folder:  # tmp_path is too long for a socket
        path = Path(folder, "store.sock")
        thread = threading.Thread(
            target=serve, args=(record_log, path), kwargs={"stop": stop, "ready": ready.set}
        )
        thread.start()
        assert ready.wait(60)
        try:
            yield path
        finally:
            stop.set()
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def clickhouse() -> Iterator[House]:
    """A ClickHouse: chdb's engine, or the real one that AIRBOSS_TEST_CLICKHOUSE_URL names."""
    with house() as found:
        yield found


EMPTY = pytest.mark.parametrize("url", ["empty"], indirect=True)
"""For tests of how tables are made."""


@pytest.fixture(name="url")
def database(request: pytest.FixtureRequest, clickhouse: House) -> Iterator[str]:
    """A database of a ClickHouse with every table and no row; for a test that is EMPTY without tables."""
    empty = hasattr(request, "param")
    with clickhouse.database() if empty else clickhouse.emptied() as found:
        yield found


Open = Callable[[], ClickHouseRecordLog]


@pytest.fixture
def open_log(url: str) -> Iterator[Open]:
    """Opens logs on it, one after another, as processes would."""
    with ExitStack() as stack:

        def opened() -> ClickHouseRecordLog:
            log = ClickHouseRecordLog(url)
            stack.callback(log.close)
            return log

        yield opened


@pytest.fixture(scope="session")
def empty_duckdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every table and no row: to copy it takes a fifth of what it takes to make one."""
    path = tmp_path_factory.mktemp("empty") / "records.duckdb"
    DuckDBRecordLog(path).close()
    return path


PLAIN_LOGS = ("memory", "client", "clickhouse")
"""`client` is that of a DuckDB file: without a socket it is tried where it is sealed."""
SEALED_LOGS = ("sealed memory", "sealed duckdb", "sealed clickhouse")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What seals is the same over each log: where no words are stored it is tried over memory alone. A module
    with LOGS of its own is tried over these."""
    if "record_log" in metafunc.fixturenames:
        kinds = [*getattr(metafunc.module, "LOGS", (*PLAIN_LOGS, *SEALED_LOGS))]
        if metafunc.definition.get_closest_marker("words") is None:
            kinds = [each for each in kinds if each not in {"sealed duckdb", "sealed clickhouse"}]
        metafunc.parametrize("record_log", kinds, indirect=True)


@pytest.fixture
def record_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RecordLog]:
    """An empty log of each kind."""
    with log_of(request.param, request, tmp_path) as made:
        yield made


@contextmanager
def log_of(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RecordLog]:
    """An empty log of this kind, closed at the end."""
    if kind.startswith("sealed "):
        with log_of(kind.removeprefix("sealed "), request, tmp_path) as inner, sealed(inner, tmp_path) as log:
            yield log
        return
    file = tmp_path / "records.duckdb"
    if kind in {"duckdb", "client"}:
        shutil.copy(request.getfixturevalue("empty_duckdb"), file)
    if kind == "client":
        with served(DuckDBRecordLog(file)) as socket_path:
            client = StoreClient(socket_path)
            yield client
            client.close()
        return
    if kind == "clickhouse":
        with request.getfixturevalue("clickhouse").emptied() as url:
            made: RecordLog = ClickHouseRecordLog(url)
            yield made
            made.close()
        return
    made = MemoryRecordLog() if kind == "memory" else DuckDBRecordLog(file)
    yield made
    made.close()


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger's database with no row, of each kind."""
    return url(request.param, tmp_path)
