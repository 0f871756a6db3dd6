"""Feedback on its way from journals into the record log."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from airboss.controller.mover import DEAD_LETTERS, Mover
from airboss.controller.stray_feedback import EVERY_S, WAIT
from airboss.domain.record import Redacted
from airboss.store.duckdb import DuckDBRecordLog
from airboss.telemetry.journal import JournalWriter
from tests.controller.journals import FixedClock, StrictLog, closes, expected, left_over, opens, outcome
from tests.controller.test_mover_faults import POINTS, Killer, tick_until_killed
from tests.store.samples import call_id
from tests.store.test_contract_scores import score, score_id


def says(writer: JournalWriter, number: int, record: int, **fields: Any) -> None:
    """Write feedback `number` on a call."""
    writer.score(cast("Redacted", msgspec.json.encode(score(number, record, number / 10, **fields))))


def opinions(record_log: StrictLog | DuckDBRecordLog, *records: int) -> list[str]:
    """Ids of the scores that these calls have."""
    return [each.id for each in record_log.scores_of([call_id(number) for number in records])]


def letters(root: Path) -> list[dict[str, Any]]:
    """What was put away."""
    path = root / DEAD_LETTERS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait(clock: FixedClock) -> None:
    """Let the deadline of feedback pass."""
    clock.at += WAIT + timedelta(seconds=EVERY_S + 1)


def test_feedback_finds_its_call_in_whatever_order(tmp_path: Path) -> None:
    """Before the call's end, after it, and from another worker before the call has even begun."""
    record_log, clock = StrictLog(), FixedClock()
    mover = Mover(tmp_path, record_log, clock)
    first, second = JournalWriter(tmp_path, "0"), JournalWriter(tmp_path, "1")
    says(second, 1, 1)
    mover.tick()
    opens(first, 1)
    says(first, 2, 1)
    mover.tick()
    assert opinions(record_log, 1) == []
    closes(first, 1)
    says(first, 3, 1)
    mover.tick()
    assert opinions(record_log, 1) == [score_id(1), score_id(2), score_id(3)]
    for writer in (first, second):
        writer.stop()
    assert mover.drain().stray_feedback == 0
    assert left_over(tmp_path) == []


def test_feedback_without_a_record_is_put_away_after_a_while(tmp_path: Path) -> None:
    """Counted and kept for a person to look at, once; before its time it waits."""
    record_log, clock = StrictLog(), FixedClock()
    mover = Mover(tmp_path, record_log, clock)
    writer = JournalWriter(tmp_path, "0")
    opens(writer, 1, 2)
    closes(writer, 1)
    says(writer, 1, 99)
    says(writer, 2, 1, by="another")
    says(writer, 3, 2)
    assert mover.tick().stray_feedback == 0
    wait(clock)
    assert mover.tick().stray_feedback == 2
    wait(clock)
    assert mover.tick().stray_feedback == 2
    why = {letter["segment"]: letter["why"] for letter in letters(tmp_path)}
    assert why == {
        f"feedback/{score_id(1)}": "its record has not come",
        f"feedback/{score_id(2)}": "its record is another key's",
    }
    assert len(letters(tmp_path)) == 2
    # The call that was still open ends at last.
    closes(writer, 2)
    mover.tick()
    assert opinions(record_log, 1, 2) == [score_id(3)]
    writer.stop()


def test_feedback_waits_as_long_as_the_store_is_away(tmp_path: Path) -> None:
    """The deadline runs from the move, not from when the person spoke."""
    record_log, clock = StrictLog(), FixedClock()
    mover = Mover(tmp_path, record_log, clock)
    writer = JournalWriter(tmp_path, "0")
    says(writer, 1, 1)
    record_log.down = {"all"}
    mover.tick()
    wait(clock)
    mover.tick()
    record_log.down = set()
    mover.tick()
    opens(writer, 1)
    closes(writer, 1)
    assert mover.tick().stray_feedback == 0
    assert opinions(record_log, 1) == [score_id(1)]
    writer.stop()


def test_a_frame_that_is_no_feedback_is_a_dead_letter(tmp_path: Path) -> None:
    """And does not hold up the calls around it."""
    record_log = StrictLog()
    mover = Mover(tmp_path, record_log, FixedClock())
    writer = JournalWriter(tmp_path, "0")
    opens(writer, 1)
    writer.score(cast("Redacted", b'{"id":1}'))
    closes(writer, 1)
    assert mover.tick().corrupt_frames == 1
    assert outcome(record_log) == expected([1])
    writer.stop()


@pytest.mark.parametrize("point", [point for point in POINTS if point != "closed"])
def test_a_mover_killed_at_any_boundary_loses_and_doubles_no_feedback(tmp_path: Path, point: Any) -> None:
    """In a real store: at each passing of each boundary in turn, every opinion is there once."""
    nth, killer = 0, Killer(None)
    DuckDBRecordLog(tmp_path / "empty.duckdb").close()
    while nth == 0 or killer.struck:
        nth += 1
        root, killer = tmp_path / str(nth), Killer(point, nth)
        record_log = DuckDBRecordLog(Path(shutil.copy(tmp_path / "empty.duckdb", tmp_path / f"{nth}.duckdb")))
        try:
            writer = JournalWriter(root, "0", segment_bytes=900)
            for number in range(1, 6):
                opens(writer, number)
                says(writer, number, number)
                says(writer, 10 + number, number)
                closes(writer, number)
                tick_until_killed(Mover(root, record_log, FixedClock(), batch_frames=3, fault=killer))
            writer.stop()
            tick_until_killed(Mover(root, record_log, FixedClock(), batch_frames=3, fault=killer))
            Mover(root, record_log, FixedClock()).drain()
            given = [score_id(number) for number in (*range(1, 6), *range(11, 16))]
            assert opinions(record_log, *range(1, 6)) == given, nth
            assert left_over(root) == [], nth
        finally:
            record_log.close()
    assert nth > 1, f"{point} was never passed"
