"""What the supervisor writes down beside its children."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, cast

import pytest

from airboss.supervisor.session import Session


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
        assert [session._books() for _ in range(3)] == [[], [], []]
        (told,) = caplog.records
        assert (told.levelname, told.exc_info) == ("WARNING", None)
        assert str(run) in told.getMessage()
        run.unlink()
        assert session._books() == []
        assert (run / "processes.json").read_text() == "[]"
        (run / "processes.json").unlink()
        run.rmdir()
        run.write_text("in the way again")
        session._books()
        assert len(caplog.records) == 2
