"""Records with long bodies beside many short ones: what is read and made of them, a little at a time."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest

from airboss.domain.ports import JournalMove, RecordFilter
from airboss.store import duckdb_read, duckdb_search, searching
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.rows import PART_CHARS_MAX
from tests.store.samples import SEGMENT, call_id, record_json
from tests.store.test_contract_search import said, searched
from tests.store.test_duckdb_search import candidates

RECORDS = 5_200
LONG = range(2_100, 2_140)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBRecordLog]:
    """A log with less memory than its bodies take, and their words made."""
    log = DuckDBRecordLog(tmp_path_factory.mktemp("long") / "records.duckdb", memory_limit="96MB")
    words = random.Random(1)
    hay = " ".join(f"{words.getrandbits(32):x}" for _ in range(440_000))
    for start in range(0, RECORDS, 400):
        records = tuple(
            record_json(number, request=said(f"u{number}x " + (hay if number in LONG else "hay")))
            for number in range(start, min(start + 400, RECORDS))
        )
        log.apply(JournalMove(segment=SEGMENT, start=start, end=start + 400, records=records))
    while log.tidy():
        pass
    yield log
    log.close()


def test_words_of_long_bodies_are_made(long: DuckDBRecordLog) -> None:
    """However little memory there is: all blocks that are whole have theirs, each once."""
    with long._reading() as connection:
        assert duckdb_search.indexed(connection) == {0, 1, 2, 3}
        many, once = connection.execute(
            "select count(*), count(distinct (block, hash)) from words"
        ).fetchall()[0]
    assert many == once > 400_000
    assert candidates(long, "u2110x") == {2, 4, 5}
    assert searched(long, "u2110x") == [call_id(2_110)]


def test_long_bodies_are_listed_and_searched_page_by_page(long: DuckDBRecordLog) -> None:
    """Each page is as long as memory allows, and all of them together hold every record once."""
    where, ids = RecordFilter(), []
    while found := long.records(where, limit=1_000, bodies=True):
        ids += [each.id for each in found]
        where = RecordFilter(before=ids[-1])
    assert ids == [call_id(number) for number in reversed(range(RECORDS))]
    assert len(searched(long, "hay", limit=1_000)) == RECORDS - len(LONG)


def test_a_body_longer_than_a_step_has_all_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those too that stand where one step ends and the next begins, and none of what is sealed."""
    monkeypatch.setattr(duckdb_search, "PARTS_AT_ONCE", 64)
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    names = [f"word{number}w" for number in range(160_000)]
    sealed = msgspec.Raw(b'{"airboss_sealed":"1.k.' + b"secret " * 100_000 + b'"}')
    odd = {7: said(" ".join(names)), 8: sealed}
    assert len(bytes(odd[7])) > 3 * 64 * PART_CHARS_MAX
    records = tuple(record_json(number, request=odd.get(number, said("hay"))) for number in range(4_100))
    log.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=records))
    log._kept.forget(log._next_seq)
    assert sum(1 for _ in iter(log.tidy, False)) >= 4
    known = "select hash from words where block = 0"
    asked = f"select count(*) from (select unnest($1) as word) where (hash(word) & 4294967295) in ({known})"
    with log._reading() as connection:
        assert connection.execute(asked, [names]).fetchall() == [(len(names),)]
    assert candidates(log, "secret") == {4, 5}
    log.close()


def test_words_of_long_bodies_wait_for_no_other_blocks(tmp_path: Path) -> None:
    """Of short ones a few blocks are made together; to look through one block of long ones takes minutes."""
    for length, expected in ((2_000, set[int]()), (5 * PART_CHARS_MAX, {0})):
        log = DuckDBRecordLog(tmp_path / f"{length}.duckdb")
        for start in range(0, 1_100, 100):
            records = (
                record_json(each, request=said("hay " * (length // 4))) for each in range(start, start + 100)
            )
            log.apply(JournalMove(segment=SEGMENT, start=start, end=start + 100, records=tuple(records)))
        while log.tidy():
            pass
        with log._reading() as connection:
            assert duckdb_search.indexed(connection) == expected
        log.close()


def test_a_list_that_takes_long_to_read_ends_early(
    long: DuckDBRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what has been read by then: who asked does not wait for ever."""
    times = count(step=duckdb_read.LIST_S)
    monkeypatch.setattr(duckdb_read, "monotonic", lambda: next(times))
    found = long.records(RecordFilter(before=call_id(LONG.stop)), limit=100, bodies=True)
    assert 1 <= len(found) < len(LONG)
    assert json.loads(json.dumps(found[0].request))["messages"][0]["content"].startswith("u2139x ")


def test_a_body_without_the_words_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long ones are all looked at, and few hold what is looked for."""
    read: list[str | None] = []
    monkeypatch.setattr(searching, "body", read.append)
    assert not searching.holds(searching.read_search("needle"), '{"a":"hay"}', None)
    assert read == []
    searching.holds(searching.read_search("needle"), '{"a":"no Needle"}', None)
    assert read == ['{"a":"no Needle"}', None]
