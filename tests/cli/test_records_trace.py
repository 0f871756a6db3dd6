"""`airboss records --trace` on the data of a stopped Airboss, whatever it had come to."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from airboss.cli import show_trace
from airboss.domain.record import Redacted
from airboss.store.datadir import DataDir
from airboss.telemetry.journal import JournalWriter
from tests.cli.conftest import Run
from tests.cli.test_records_files import empty
from tests.store.samples import call_id
from tests.store.spans import TRACE, llm, span


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One that was killed before anything was moved: an agent's trace stands in its journal."""
    path = empty(tmp_path / "data")
    writer = JournalWriter(DataDir(path).journal_dir, "gateway-0")
    for each in (span(1, kind="agent"), llm(2, 1, user="ann"), span(3, 2, status="error"), llm(4, 1)):
        writer.span(Redacted(msgspec.json.encode(each)))
    writer.stop()
    return path


def test_a_stopped_one_shows_its_traces(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the journal, page by page; and the calls that it names are records then, at the first time of
    asking."""
    monkeypatch.setattr(show_trace, "PAGE", 2)
    code, out, err = run("records", "--trace", TRACE, "--data-dir", str(data))
    assert (code, err) == (0, "")
    head, *rows = [line.split() for line in out.splitlines()]
    assert (head[1], head[4:6]) == (TRACE, ["4", "spans"])
    assert head[8:] == ["36", "tokens", "$0.000246"]
    assert [row[5] for row in rows] == ["1", "2", "3", "4"]
    assert [row[-1] for row in rows] == ["agent", call_id(2), "error", call_id(4)]
    for number in (2, 4):
        code, out, err = run("records", "--id", call_id(number), "--json", "--data-dir", str(data))
        assert (code, json.loads(out)["trace_id"]) == (0, TRACE), err
    code, out, _ = run("records", "--trace", TRACE, "--json", "--data-dir", str(data))
    assert (code, len(json.loads(out)["rows"])) == (0, 4)


def test_calls_of_spans_are_there_when_first_asked_for(run: Run, data: Path) -> None:
    """Nothing that could tell of them otherwise is left, so nobody waits for it."""
    code, out, err = run("records", "--json", "--data-dir", str(data))
    assert (code, [json.loads(line)["id"] for line in out.splitlines()]) == (0, [call_id(4), call_id(2)]), err


def test_a_trace_that_is_not_there_is_told(run: Run, data: Path) -> None:
    """With the exit code of a no."""
    code, out, err = run("records", "--trace", "0" * 32, "--data-dir", str(data))
    assert (code, out) == (1, "")
    assert "no trace" in err
