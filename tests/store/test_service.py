"""The store as a process: what it refuses, how it stops, and what a kill leaves."""

from __future__ import annotations

import os
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.domain.ports import JournalMove, RecordFilter
from airboss.store import service as service_module
from airboss.store.client import StoreClient
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.memory import MemoryRecordLog
from airboss.store.service import serve, tidy
from tests.store.conftest import served
from tests.store.samples import SEGMENT, call_id, move, record_json
from tests.support.wait import hold_still, until

ALL = RecordFilter()

STORE = """
import sys
from pathlib import Path
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.service import serve
serve(DuckDBRecordLog(Path(sys.argv[1])), Path(sys.argv[2]), ready=lambda: print("ready", flush=True))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="ab-") as name:
        yield Path(name)


def started(folder: Path) -> subprocess.Popen[str]:
    """A store process that accepts connections."""
    process = subprocess.Popen(
        [sys.executable, "-c", STORE, str(folder / "records.duckdb"), str(folder / "sock")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def answered(client: StoreClient) -> bool:
    """Whether a store that has no record is there."""
    try:
        return client.count(ALL) == 0
    except StoreUnavailable:
        return False


def raw(path: Path, message: bytes) -> bytes:
    """What the service answers to these bytes before it hangs up."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        connection.sendall(message)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
        return answer


def test_a_terminated_store_closes_its_file_and_its_socket(folder: Path) -> None:
    """SIGTERM: exit code 0, everything in the file, no write-ahead log, no socket left."""
    process = started(folder)
    client = StoreClient(folder / "sock")
    client.apply(move(1))
    process.terminate()
    assert process.wait(60) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["records.duckdb"]
    with pytest.raises(StoreUnavailable, match="airboss up"):
        client.count(ALL)
    client.close()
    record_log = DuckDBRecordLog(folder / "records.duckdb")
    assert record_log.count(ALL) == 1
    record_log.close()


def test_a_store_ends_on_a_signal_that_comes_to_any_of_its_threads(folder: Path) -> None:
    """As after a stop, when the kernel may choose another one than Python's."""
    process = started(folder)
    threads = [int(each.name) for each in Path("/proc", str(process.pid), "task").iterdir()]
    os.kill(max(threads), signal.SIGTERM)
    assert process.wait(60) == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_store_killed_in_the_middle_of_a_move_takes_it_whole_or_not(folder: Path, seed: int) -> None:
    """After each kill the offset and the records agree, nothing acknowledged is gone, and moving goes on."""
    choose = random.Random(seed)
    client = StoreClient(folder / "sock")
    acknowledged = 0
    at = 0
    for _ in range(2):
        process = started(folder)
        killer = threading.Timer(choose.uniform(0.0, 0.25), process.kill)
        killer.start()
        try:
            at = client.offset(SEGMENT)
            assert at >= acknowledged
            assert client.count(ALL) == at / 100
            while True:
                acknowledged = at = client.apply(move(*range(at // 100, at // 100 + 150), start=at))
        except StoreUnavailable:
            process.wait(60)
    process = started(folder)
    held = client.offset(SEGMENT)
    assert held in {acknowledged, acknowledged + 15_000}, f"seed {seed}"
    found = client.records(ALL, limit=10_000, bodies=False)
    assert {each.id for each in found} == {call_id(number) for number in range(held // 100)}, f"seed {seed}"
    assert len(found) == held // 100
    client.close()
    process.terminate()
    assert process.wait(60) == 0


def test_a_client_finds_a_restarted_store_by_itself(folder: Path) -> None:
    """Connections kept from before the restart are replaced without an error."""
    process = started(folder)
    client = StoreClient(folder / "sock")
    client.apply(move(1))
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    process = started(folder)
    assert client.count(ALL) == 1
    client.close()
    process.terminate()
    process.wait(60)


def test_a_store_that_does_not_answer_is_unavailable(folder: Path) -> None:
    """The message names the socket, the time waited and what to do."""
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(folder / "sock"))
        deaf.listen()
        client = StoreClient(folder / "sock", timeout_s=0.05)
        with pytest.raises(StoreUnavailable, match=r"within 0\.05 s"):
            client.count(ALL)
        client.close()


def test_a_store_that_hangs_is_asked_by_one_thread_at_a_time(folder: Path) -> None:
    """The others are told at once, or whoever has a few threads would have none left for what needs no store;
    once it answers all ask again."""
    process = started(folder)
    client = StoreClient(folder / "sock", timeout_s=1.0)
    took: list[float] = []

    def ask() -> None:
        began = time.monotonic()
        with suppress(StoreUnavailable):
            client.count(ALL)
        took.append(time.monotonic() - began)

    def together(threads: int) -> list[float]:
        took.clear()
        asking = [threading.Thread(target=ask) for _ in range(threads)]
        for each in asking:
            each.start()
        for each in asking:
            each.join(60)
        return sorted(took)

    def hang() -> None:
        hold_still(process.pid)

    try:
        until(lambda: answered(client))
        hang()
        assert min(together(4)) >= 1.0  # nobody knows yet
        *others, probe = together(8)
        assert probe >= 1.0
        assert max(others) < 1.0
        process.send_signal(signal.SIGCONT)
        until(lambda: answered(client))
        hang()
        assert min(together(4)) >= 1.0  # it answered meanwhile
    finally:
        process.send_signal(signal.SIGCONT)
        client.close()
        process.kill()
        process.wait(60)


def test_a_store_that_hangs_up_is_unavailable(folder: Path) -> None:
    """Half an answer is none."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "sock"))
        listener.listen()

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"\x00\x00\x00\x09half")
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        client = StoreClient(folder / "sock")
        with pytest.raises(StoreUnavailable):
            client.count(ALL)
        thread.join(60)
        client.close()


def test_the_socket_is_for_its_user_only() -> None:
    """Nobody else on the machine can read records."""
    with served(MemoryRecordLog()) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "message",
    [
        b"\x00\x00\x00\x05hello",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x0f\x81\xa4type\xa8Shutdown",
        b"\x00\x00\x00\x0d\x81\xa4type\xa6Offset",
    ],
)
def test_a_question_that_is_none_is_refused(message: bytes) -> None:
    """With an answer that says so; then the service hangs up, and serves others as before."""
    with served(MemoryRecordLog()) as path:
        assert b"not a question of this store" in raw(path, message)
        client = StoreClient(path)
        assert client.count(ALL) == 0
        client.close()


def test_a_question_over_the_bound_is_not_read() -> None:
    """The service hangs up rather than make room for it."""
    with served(MemoryRecordLog()) as path:
        assert raw(path, b"\xff\xff\xff\xff") == b""


def test_limits_out_of_bounds_are_refused() -> None:
    """As wrong calls, not as a store that is down."""
    with served(MemoryRecordLog()) as path:
        client = StoreClient(path)
        for limit in (0, -1, 10_001):
            with pytest.raises(ValueError, match=str(limit)):
                client.records(ALL, limit=limit, bodies=False)
        client.close()


def test_a_defect_in_one_question_is_not_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """The one who asked is told, the log has the trace, and the next question is answered."""

    class Broken(MemoryRecordLog):
        def offset(self, segment: str) -> int:
            raise ZeroDivisionError(segment)

    with served(Broken()) as path:
        client = StoreClient(path)
        with pytest.raises(StoreUnavailable, match="ZeroDivisionError"):
            client.offset("a")
        assert client.count(ALL) == 0
        client.close()
    assert "ZeroDivisionError" in caplog.text


def test_more_connections_than_the_bound_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says so; when one goes, there is room again."""
    monkeypatch.setattr(service_module, "CONNECTIONS_MAX", 1)
    with served(MemoryRecordLog()) as path:
        first, second = StoreClient(path), StoreClient(path)
        assert first.count(ALL) == 0
        with pytest.raises(StoreUnavailable, match="1 connections"):
            second.count(ALL)
        first.close()
        until(lambda: answered(second))
        second.close()


def test_many_threads_share_one_client() -> None:
    """Each gets its own answers."""
    with served(MemoryRecordLog()) as path:
        client = StoreClient(path)
        client.apply(move(*range(20)))
        wrong: list[str] = []

        def ask(number: int) -> None:
            for _ in range(50):
                found = client.records(RecordFilter(id=call_id(number)), limit=1, bodies=False)
                if [each.id for each in found] != [call_id(number)]:
                    wrong.append(call_id(number))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        client.close()


def test_a_stale_socket_is_replaced_and_an_impossible_one_told(folder: Path) -> None:
    """What a killed store left does not hinder the next; a path that cannot be bound is a SetupError."""
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(folder / "sock"))
    with served(MemoryRecordLog()):
        pass
    process = started(folder)
    process.terminate()
    assert process.wait(60) == 0
    with pytest.raises(SetupError, match="cannot listen"):
        serve(MemoryRecordLog(), folder / ("x" * 200), stop=threading.Event())


def test_a_large_move_and_a_large_answer_pass(folder: Path) -> None:
    """Some tens of megabytes each way, in one message."""
    records = tuple(record_json(number, response=None) for number in range(300))
    padding = b" " * 100_000
    records = tuple(each[:-1] + padding + b"}" for each in records)
    with served(DuckDBRecordLog(folder / "records.duckdb")) as path:
        client = StoreClient(path)
        client.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=records))
        assert len(client.records(ALL, limit=10_000, bodies=True)) == 300
        client.close()


def test_tidying_does_not_rest_for_the_time_that_a_move_kept_it_waiting() -> None:
    """It rests as long as it worked."""
    began: list[float] = []
    ended: list[float] = []
    stop, move_ends = threading.Event(), threading.Event()

    class Busy(MemoryRecordLog):
        def tidy(self) -> bool:
            began.append(time.monotonic())
            move_ends.wait(1.0)
            ended.append(time.monotonic())
            if len(began) == 3:
                stop.set()
            return True

    tidy(Busy(), stop)
    assert min(then - end for end, then in zip(ended, began[1:], strict=False)) < 0.5


@pytest.mark.parametrize("why", [StoreUnavailable("ClickHouse is away"), OSError(5, "Input/output error")])
def test_a_log_that_is_away_is_told_in_a_line(why: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Not with a trace each time that it could not be tidied, as a defect is; and it is tried again."""
    stop, asked = threading.Event(), []

    class Away(MemoryRecordLog):
        def tidy(self) -> bool:
            asked.append(1)
            if len(asked) == 2:
                stop.set()
            raise why

    tidy(Away(), stop)
    said, _ = caplog.records
    assert f"could not be tidied ({why})" in said.getMessage()
    assert not said.exc_info
