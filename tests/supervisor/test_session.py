"""What the supervisor writes down beside its children."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from airboss.domain.errors import SetupError
from airboss.domain.status import ProcessStatus
from airboss.store.stopping import ending
from airboss.supervisor import runfiles
from airboss.supervisor import session as session_file
from airboss.supervisor.process import Command
from airboss.supervisor.session import Session
from airboss.supervisor.supervisor import Health, Spec


@pytest.fixture(autouse=True)
def goes_on() -> Iterator[None]:
    """Who runs these sessions does not end with them."""
    yield
    ending.clear()


def test_a_full_disk_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where it cannot be written how things stand, what should run is known all the same: one warning without
    a trace, and another only after it went well."""
    run = tmp_path / "run"
    run.write_text("in the way")
    with socket.socket() as listener:
        session = Session(
            core=(),
            roster=cast("Any", None),  # no replicas: nobody asks it
            host=None,
            run_dir=run,
            listener=listener,
            on_line=lambda *_: None,
        )
        assert [asyncio.run(session._books()) for _ in range(3)] == [[], [], []]
        (told,) = caplog.records
        assert (told.levelname, told.exc_info) == ("WARNING", None)
        assert str(run) in told.getMessage()
        run.unlink()
        assert asyncio.run(session._books()) == []
        assert (run / "processes.json").read_text() == "[]"
        (run / "processes.json").unlink()
        run.rmdir()
        run.write_text("in the way again")
        asyncio.run(session._books())
        assert len(caplog.records) == 2


def test_who_hears_that_all_is_ready_can_read_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `airboss status` reads says it before anybody is told, however slow the disk is."""
    seen: list[str] = []
    write = runfiles.write_processes

    def slowly(run: Path, processes: Iterable[ProcessStatus]) -> None:
        threading.Event().wait(0.2)
        write(run, processes)

    monkeypatch.setattr(runfiles, "write_processes", slowly)

    async def well(_pid: int) -> Health:
        return "ok"

    def on_ready() -> None:
        seen.extend(each.state for each in runfiles.read_processes(tmp_path))
        session._stop.set()

    with socket.socket() as listener:
        command = Command(name="one", argv=(sys.executable, "-c", "import signal; signal.pause()"))
        session = Session(
            core=(Spec(command=command, probe=well),),
            roster=None,
            host=None,
            run_dir=tmp_path,
            listener=listener,
            on_line=lambda *_: None,
        )
        asyncio.run(session.run(on_ready))
    assert seen == ["ready"]


def test_what_cannot_be_asked_or_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And once more when it can again."""

    class Refused:
        """A roster whose ledger says no until it is told not to."""

        essential = frozenset[str]()
        no = True

        def keep(self) -> None:
            if self.no:
                raise SetupError("it is locked")

        def saw(self, _statuses: object) -> None:
            """Nothing follows."""

        def specs(self, *, essential: object) -> list[Any]:
            assert essential == self.essential
            return []

    refused, run_dir = cast("Any", Refused()), tmp_path / "run"
    run_dir.touch()  # a file is no folder to write into
    with socket.socket() as listener:
        session = Session(
            core=(), roster=refused, host=refused, run_dir=run_dir, listener=listener, on_line=lambda *_: None
        )

        async def body() -> None:
            for _ in range(3):
                assert await session._books() is None
            run_dir.unlink()
            refused.no = False
            assert await session._books() == []

        asyncio.run(body())
    about = ("how things stand is not written", "the ledger is not asked")
    assert [sum(each.startswith(what) for each in caplog.messages) for what in about] == [2, 2]
    assert sum("missed: 3" in each for each in caplog.messages) == 2


def test_a_ledger_that_hangs_keeps_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How things stand is written all the while, and the ledger asked once; then it is asked again."""
    monkeypatch.setattr(session_file, "SILENT_S", 0.05)
    answers, begun, asked = threading.Event(), threading.Event(), 0

    class Hangs:
        """A roster that waits for the ledger, and a host that has nothing to run."""

        essential = frozenset[str]()

        def keep(self) -> None:
            nonlocal asked
            asked += 1
            begun.set()
            answers.wait(60)

        def saw(self, _statuses: object) -> None:
            """Nothing follows."""

        def specs(self, *, essential: object) -> list[Any]:
            assert essential == self.essential
            return []

    (tmp_path / "run").mkdir()
    with socket.socket() as listener:
        hangs = cast("Any", Hangs())
        session = Session(
            core=(),
            roster=hangs,
            host=hangs,
            run_dir=tmp_path / "run",
            listener=listener,
            on_line=lambda *_: None,
        )

        async def body() -> None:
            written = tmp_path / "run" / "processes.json"
            for _ in range(3):
                assert await session._books() is None
                assert written.read_text() == "[]"
                written.unlink()
            assert await asyncio.to_thread(begun.wait, 60)
            assert asked == 1
            answers.set()
            monkeypatch.setattr(session_file, "SILENT_S", 10)
            assert await session._books() == []
            assert await session._books() == []
            assert asked == 2

        try:
            asyncio.run(body())
        finally:
            answers.set()
