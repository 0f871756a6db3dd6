"""Words made of bodies that are still at hand are those that reading the file finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from airboss.domain.ports import JournalMove
from airboss.store import duckdb_search
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.rows import PART_CHARS_MAX
from airboss.store.sealed_marks import BODY
from tests.store.samples import SEGMENT, record_json
from tests.store.test_contract_search import TEXTS, said
from tests.store.test_duckdb_search import candidates
from tests.store.test_erase import LATER

MOVE = 700
"""Records of a move: no block is one's."""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DuckDBRecordLog]:
    """An empty log."""
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    yield log
    log.close()


def bodies(number: int) -> dict[str, msgspec.Raw | None]:
    """All kinds of bodies, in turn."""
    text = TEXTS[number % len(TEXTS)] + f" {number}q"
    long = "hay " * ((PART_CHARS_MAX - 56) // 4) + f"needle{number} "
    sealed = msgspec.Raw(BODY + b'"1.k.secret%d"}' % number)
    kinds: list[dict[str, msgspec.Raw | None]] = [
        {"request": said(text), "response": said(f"answer {number}a")},
        {"request": said(text, ascii_only=True), "response": None},
        {"request": None, "response": said(text)},
        {"request": None, "response": None},
        {"request": said(long[number % 7 :]), "response": said(text)},
        {"request": sealed, "response": said(f"never{number}")},
    ]
    return kinds[number % 6 if number % 50 else 4]


def fill(log: DuckDBRecordLog, count: int, first: int = 0) -> None:
    """Store so many records, some hundred at a time."""
    for start in range(first, first + count, MOVE):
        numbers = range(start, min(start + MOVE, first + count))
        records = tuple(record_json(number, user=f"u{number}", **bodies(number)) for number in numbers)
        log.apply(JournalMove(segment=SEGMENT, start=start, end=numbers.stop, records=records))


def words(log: DuckDBRecordLog) -> list[tuple[int, int]]:
    """What is in the file."""
    with log._reading() as connection:
        return connection.execute("select block, hash from words order by all").fetchall()


def test_words_are_the_same_as_of_what_is_read(log: DuckDBRecordLog) -> None:
    """Whole and in parts, sealed and not, however written."""
    fill(log, 5_200)
    assert sorted(log._kept._blocks) == [1, 2, 3, 4, 5]
    assert log.tidy()
    assert sorted(log._kept._blocks) == [4, 5]
    made = words(log)
    cut = [number for number in range(1_024, 4_095) if b"needle" in bytes(bodies(number)["request"] or b"")]
    assert all((number + 1) // 1_024 in candidates(log, f"needle{number}") for number in cut)
    with log._transaction() as connection:
        assert not duckdb_search.Making(connection, [0, 1, 2, 3]).step(connection, duckdb_search.Kept(0))
    assert {block for block, _ in made} == {0, 1, 2, 3}
    assert words(log) == made


def test_bodies_are_kept_within_bounds(log: DuckDBRecordLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond them is read when its words are made, and newer blocks are kept again."""
    monkeypatch.setattr(duckdb_search, "KEPT_CHARS_MAX", 2_000_000)
    fill(log, 3_071)
    assert sorted(log._kept._blocks) == [1]
    assert log._kept._chars <= 2_000_000
    fill(log, 1_500, first=3_071)
    assert log.tidy()
    fill(log, 5_000, first=4_571)
    assert max(log._kept._blocks) > 4
    assert log.tidy()
    assert log._kept._chars <= 2_000_000
    assert [candidates(log, f"{number}q") for number in (1_800, 2_400, 3_600)] == [{1}, {2}, {3}]


def test_words_of_the_erased_are_made_of_no_body_at_hand(log: DuckDBRecordLog) -> None:
    """An erasure comes between a record and its words."""
    fill(log, 5_200)
    erased = next(number for number in range(2_000, 2_010) if number % 6 == 0)
    log.erase({f"u{erased}": LATER})
    assert log._kept._blocks == {}
    assert log.tidy()
    assert 1 not in candidates(log, f"{erased}q")
    assert 1 in candidates(log, f"{erased + 2}q")


def test_bodies_of_a_move_that_failed_are_not_kept(log: DuckDBRecordLog) -> None:
    """Others are made of what is in the file."""
    fill(log, 2_100)
    records = (record_json(3_000, **bodies(0)), record_json(3_001, input_tokens=2**70, **bodies(0)))
    with pytest.raises(ValueError, match="cannot take"):
        log.apply(JournalMove(segment=SEGMENT, start=2_100, end=2_101, records=records))
    assert log._kept._blocks == {}
    fill(log, 3_100, first=2_100)
    assert log.tidy()
    assert candidates(log, "2096q") == {2, 4, 5}
