"""What is read many times a second is remembered, and never a moment longer than it holds."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

from airboss.domain.ports import Placement
from airboss.store.ledger import SqlLedger
from airboss.store.ledger_part import LedgerPart
from airboss.store.ledger_scaling import ScalingRows


def placement(name: str) -> Placement:
    """An engine that shall run."""
    return Placement(
        id=name,
        model="m",
        url="http://127.0.0.1:1",
        engine="e",
        settings="{}",
        since=datetime(2026, 11, 29, tzinfo=UTC),
    )


def test_it_is_read_once_until_something_is_written(tmp_path: Path) -> None:
    """The same answer comes back, without a query, until another connection or this one has written."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ours, theirs = SqlLedger(url), SqlLedger(url)
    queries: list[str] = []

    def counted(part: LedgerPart) -> None:
        read = part._read

        def noted() -> object:
            queries.append("read")
            return read()

        part._read = noted  # type: ignore[method-assign,assignment]  # to count them

    counted(ours)
    assert ours.placements() == ours.placements() == ()
    assert len(queries) == 1
    theirs.place([placement("a")])
    assert [each.id for each in ours.placements()] == ["a"]
    ours.place([placement("b")])
    assert [each.id for each in ours.placements()] == ["a", "b"]
    assert len(queries) == 3
    for each in (ours, theirs):
        each.close()


def test_no_reader_is_ever_behind_a_write_that_has_returned(tmp_path: Path) -> None:
    """While others read all the time, what was written is read by whoever asks after it."""
    rows = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    stop = threading.Event()

    def read(part: ScalingRows) -> None:
        while not stop.is_set():
            part.placements()

    readers = [threading.Thread(target=read, args=(rows,), daemon=True) for _ in range(3)]
    for each in readers:
        each.start()
    try:
        for number in range(100):
            rows.place([placement(f"{number:03}")])
            assert len(rows.placements()) == number + 1
    finally:
        stop.set()
        for each in readers:
            each.join()
        rows.close()
