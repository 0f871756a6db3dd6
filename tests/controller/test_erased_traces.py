"""Traces of the forgotten are remembered on the disk or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from airboss.controller.erased_traces import ErasedTraces
from tests.controller.houses import House
from tests.store.spans import TRACE, span


def test_what_could_not_be_written_is_written_the_next_time(tmp_path: Path) -> None:
    """A disk that takes nothing says so each time, and once it does, another process knows the trace."""
    house = House(tmp_path)
    path, clock = tmp_path / "traces.jsonl", house.clock
    traces, until = ErasedTraces(path, clock), clock.now()
    in_the_way = path.with_name(f"{path.name}.new")
    in_the_way.mkdir()
    for _ in range(2):
        with pytest.raises(OSError, match="traces"):
            traces.add([TRACE], until)
    in_the_way.rmdir()
    traces.add([TRACE], until)
    assert ErasedTraces(path, clock).covers(span(1, started_at=until))
    house.close()


def test_a_line_that_was_spoilt_costs_that_trace_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and the others are known."""
    house = House(tmp_path)
    path, clock = tmp_path / "traces.jsonl", house.clock
    until = clock.now()
    ErasedTraces(path, clock).add([TRACE], until)
    path.write_text("spoilt\n" + path.read_text())
    assert ErasedTraces(path, clock).covers(span(1, started_at=until))
    assert f"a line of {path} was edited" in caplog.text
    house.close()
