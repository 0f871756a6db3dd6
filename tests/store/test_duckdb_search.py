"""The words that DuckDB's file keeps by blocks of records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airboss.domain.ports import JournalMove, RecordFilter
from airboss.store import duckdb_search
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.rows import PART_CHARS_MAX
from airboss.store.searching import ESCAPES, TOKEN, lowered, read_search
from tests.store.samples import SEGMENT, START, call_id, record_json
from tests.store.test_contract_search import TEXTS, WORDS, said, searched
from tests.store.test_erase import LATER

COUNT = 6_000
NEEDLES = {5: "needle", 2_100: "needle", 5_990: "needle"}


@pytest.fixture
def haystack(tmp_path: Path) -> Iterator[DuckDBRecordLog]:
    """Records of which few hold a needle, with their words made where there are whole blocks."""
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    records = tuple(
        record_json(number, user=f"u{number}", request=said(NEEDLES.get(number, "hay")), response=None)
        for number in range(COUNT)
    )
    log.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=records))
    while log.tidy():
        pass
    yield log
    log.close()


def candidates(log: DuckDBRecordLog, words: str) -> set[int]:
    """The blocks that are read for a search."""
    with log._reading() as connection:
        return duckdb_search._candidates(connection, read_search(words), 0, COUNT // 1024)


def test_few_blocks_are_read_for_a_rare_word(haystack: DuckDBRecordLog) -> None:
    """Those that hold it, and the newest records, whose block is not whole."""
    assert candidates(haystack, "needle") == {0, 2, 4, 5}
    assert candidates(haystack, "nowhere") == {4, 5}
    assert candidates(haystack, "needle hay") == {0, 2, 4, 5}
    assert searched(haystack, "needle") == [call_id(number) for number in (5_990, 2_100, 5)]


@given(st.text(alphabet='aZ9 \\\\ntu"./_é数00e9', max_size=40) | st.text(max_size=20))
@example("\u1680 \u3000")
def test_split_text_has_the_tokens_that_the_expression_finds(text: str) -> None:
    """Whatever stands between words, and wherever escapes meet."""
    spaced = lowered(text)
    for escape in ESCAPES:
        spaced = spaced.replace(escape, " ")
    found = duckdb_search._spaced(text).split(" ")  # as the statement does: some tokens are spaces to Python
    assert set(found) - {""} == set(TOKEN.findall(spaced))


def test_letters_are_made_small_as_the_database_makes_them() -> None:
    """Each, by itself and among others: a search asks the database for what Python has made small."""
    codes = [code for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
    asked = "select code, lower(chr(code)) from (select unnest(?::integer[]) as code)"
    with duckdb.connect() as connection:
        small = dict(connection.execute(asked, [codes]).fetchall())
        texts = ["\u039f\u0394\u039f\u03a3 \u03a3\u0391", "\u0130STANBUL", "STRASSE \u1e9e"]
        assert connection.execute("select lower(unnest(?))", [texts]).fetchall() == [
            (lowered(text),) for text in texts
        ]
    larger = {code: text for code, text in small.items() if text != chr(code)}
    assert len(larger) > 1_000
    assert {code: lowered(chr(code)) for code in larger} == larger


def test_more_words_than_are_held_at_once_are_found(
    haystack: DuckDBRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are put away in between, and each is there once."""
    with haystack._transaction() as connection:
        before = connection.execute("select * from words order by all").fetchall()
        monkeypatch.setattr(duckdb_search, "CHARS_AT_ONCE", 5_000)
        assert not duckdb_search.Making(connection, [0, 1, 2, 3]).step(connection, duckdb_search.Kept(0))
        assert connection.execute("select * from words order by all").fetchall() == before


def test_a_word_across_the_parts_of_a_body_is_a_blocks(tmp_path: Path) -> None:
    """Neither part has it whole."""
    log = DuckDBRecordLog(tmp_path / "cut.duckdb")
    begins = bytes(said("needle")).index(b"needle")
    hay = ("hay " * PART_CHARS_MAX)[: PART_CHARS_MAX - 4 - begins]
    cut = said(f"{hay[:-1]} needle")
    assert b"needle" not in bytes(cut)[:PART_CHARS_MAX] + b" " + bytes(cut)[PART_CHARS_MAX:]
    records = [record_json(number, request=said("hay"), response=None) for number in range(5_200)]
    records[2_100] = record_json(2_100, request=cut, response=None)
    log.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=tuple(records)))
    assert log.tidy()
    assert candidates(log, "needle") == {2, 4, 5}
    log.close()


def test_the_words_of_the_erased_leave(haystack: DuckDBRecordLog) -> None:
    """At once, with all of their block, which is made again without them."""
    haystack.erase({"u5": LATER})
    with haystack._reading() as connection:
        blocks = connection.execute("select distinct block from words order by block").fetchall()
    assert blocks == [(1,), (2,), (3,)]
    assert searched(haystack, "needle") == [call_id(5_990), call_id(2_100)]
    while haystack.tidy():
        pass
    assert candidates(haystack, "needle") == {2, 5}


def test_the_words_of_the_expired_leave(haystack: DuckDBRecordLog) -> None:
    """Bodies that are too old take their blocks' words along."""
    assert haystack.expire(bodies_before=START.replace(minute=30), records_before=None, limit=9_999) == 1_800
    while haystack.tidy():
        pass
    assert candidates(haystack, "needle") == {2, 5}
    assert searched(haystack, "needle", RecordFilter(user="u2100")) == [call_id(2_100)]


def test_words_of_another_engine_are_made_again(
    haystack: DuckDBRecordLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hashes may differ: until then all is read."""
    haystack.close()
    monkeypatch.setattr(duckdb_search, "ENGINE", "99.0")
    again = DuckDBRecordLog(tmp_path / "records.duckdb")
    assert candidates(again, "needle") == {0, 1, 2, 3, 4, 5}
    while again.tidy():
        pass
    assert candidates(again, "needle") == {0, 2, 4, 5}
    with again._reading() as connection:
        assert connection.execute("select count(*), count(distinct block) from word_blocks").fetchone() == (
            4,
            4,
        )
    again.close()


def test_a_search_that_takes_long_stops_and_goes_on(
    haystack: DuckDBRecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how far it has looked, also where nothing was found there."""
    monkeypatch.setattr(duckdb_search, "BUDGET_S", 0.0)
    found = haystack.search(RecordFilter(), "hay nowhere", limit=5, bodies=False)
    assert (found.records, found.looked_to is not None) == ((), True)
    assert searched(haystack, "needle") == [call_id(number) for number in (5_990, 2_100, 5)]


def test_no_spelling_of_a_word_is_missed_by_the_blocks(tmp_path: Path) -> None:
    """All that is found by reading is found by blocks too, however JSON was written."""
    log = DuckDBRecordLog(tmp_path / "spelt.duckdb")
    texts = [said(text, ascii_only=ascii_only) for text in TEXTS for ascii_only in (False, True)]
    records = [record_json(number, request=text, response=None) for number, text in enumerate(texts)]
    records += [
        record_json(number, request=said("hay"), response=None) for number in range(len(texts), 5_200)
    ]
    log.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=tuple(records)))
    before = {words: searched(log, words) for words, _ in WORDS}
    assert log.tidy()
    assert {words: searched(log, words) for words, _ in WORDS} == before
    assert candidates(log, "quoted") == candidates(log, "数据") == {0, 4, 5}
    log.close()
