"""Words looked for in bodies, in every record log."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from airboss.domain.ports import JournalMove, RecordFilter, RecordLog
from tests.store.conftest import PLAIN_LOGS
from tests.store.samples import SEGMENT, START, call_id, move, record_json

ALL = RecordFilter()
LOGS = PLAIN_LOGS
"""What is sealed is not searched."""


def said(text: str, *, ascii_only: bool = False) -> msgspec.Raw:
    """A body that holds this text, as one client or another writes JSON."""
    body = {"model": "small", "messages": [{"role": "user", "content": text}]}
    return msgspec.Raw(json.dumps(body, ensure_ascii=ascii_only).encode())


def searched(record_log: RecordLog, words: str, where: RecordFilter = ALL, limit: int = 100) -> list[str]:
    """The ids that a search finds, asked on to its end."""
    ids: list[str] = []
    for _ in range(100):
        found = record_log.search(where, words, limit=limit, bodies=False)
        assert len(found.records) <= limit
        ids += [each.id for each in found.records]
        if found.looked_to is None:
            return ids
        where = msgspec.structs.replace(where, before=found.looked_to)
    raise AssertionError("a search without end")


TEXTS = [
    "Where is my order 4711?",
    "line one\nworld and\ttabs, C:\\new\\table",
    "Café Ölmühle, naïve",
    "数据库里的记录",
    "gpt-4o and c++ and don't",
    "Москва слезам не верит",
    "the \u201cquoted\u201d word",
    "nothing of that kind",
    "ทำไมพัสดุยังไม่มา, ຂອບໃຈຫຼາຍ, တန်ဖိုးထားပါ, សូមអរគុណ",
]
WORDS: list[tuple[str, list[int]]] = [
    ("order", [0]),
    ("ORDER 4711", [0]),
    ("orde", []),
    ("4711 nothing", []),
    ("world", [1]),
    ("nworld", []),
    ("new table", [1]),
    ('"line one world"', [1]),
    ('"world one"', []),
    ("café", [2]),
    ("CAFÉ", [2]),
    ("caf", []),
    ("naïve ölmühle", [2]),
    ("数据", [3]),
    ("据数", []),
    ("gpt-4o", [4]),
    ("c++", [4]),
    ("don't", [4]),
    ("москва", [5]),
    ("москв", []),
    ("quoted", [6]),
    ("role", []),
    ("hello-world", []),
    ("พัสดุ", [8]),
    ("ไม่มา ໃຈ ဖိုး អរគុណ", [8]),
    ("ดุพัส", []),
    ("nothing พัสดุ", []),
]


@pytest.mark.parametrize("ascii_only", [False, True])
def test_words_are_found_in_bodies(record_log: RecordLog, *, ascii_only: bool) -> None:
    """Whole words in any case, in texts and not in names of fields, however JSON was written."""
    for number, text in enumerate(TEXTS):
        there = said(text, ascii_only=ascii_only)
        bodies: dict[str, Any] = {"request": said("hi"), "response": there}
        if number % 2:
            bodies = {"request": there, "response": None}
        record_log.apply(move(number, start=100 * number, **bodies))
    for words, numbers in WORDS:
        assert searched(record_log, words) == [call_id(number) for number in numbers], words


def test_a_search_is_bounded_and_goes_on(record_log: RecordLog) -> None:
    """The last stored first, page by page, within time and filter, and without what has no body."""
    records = tuple(
        record_json(
            number, request=said(f"needle {number}") if number % 3 == 0 else None, user=f"u{number % 2}"
        )
        for number in range(60)
    )
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=records))
    found = [call_id(number) for number in range(57, -1, -3)]
    for limit in (1, 7, 100):
        assert searched(record_log, "needle", limit=limit) == found
    where = RecordFilter(since=START + timedelta(seconds=10), until=START + timedelta(seconds=31), user="u0")
    assert searched(record_log, "needle", where, limit=2) == [call_id(number) for number in (30, 24, 18, 12)]
    (full,) = record_log.search(ALL, "needle 30", limit=9, bodies=True).records
    assert full.request["messages"][0]["content"] == "needle 30"
    (bare,) = record_log.search(ALL, "needle 30", limit=9, bodies=False).records
    assert bare.request is None
    assert searched(record_log, "needle", RecordFilter(before="unknown")) == []


def test_a_word_across_the_parts_of_a_body_is_found(record_log: RecordLog) -> None:
    """Long bodies are kept in parts."""
    for number, before in enumerate((8_100, 8_130, 8_150, 20_000)):
        text = said("x" * 5 + " " + "y " * (before // 2) + "unmistakable end")
        record_log.apply(move(number, start=100 * number, request=text))
    assert searched(record_log, "unmistakable") == [call_id(number) for number in (3, 2, 1, 0)]


def test_what_was_erased_is_not_found(record_log: RecordLog) -> None:
    """Nor what has expired."""
    record_log.apply(move(1, user="ann", request=said("needle")))
    record_log.apply(move(2, start=100, request=said("needle")))
    record_log.erase({"ann": START + timedelta(days=1)})
    assert searched(record_log, "needle") == [call_id(2)]
    record_log.expire(bodies_before=START + timedelta(days=1), records_before=None, limit=10)
    assert searched(record_log, "needle") == []


@pytest.mark.parametrize("wrong", ["", "  ", "+ -", '""', "x" * 301, " ".join(map(str, range(17))), "\ud800"])
def test_a_search_for_nothing_is_refused(record_log: RecordLog, wrong: str) -> None:
    """What was meant is not guessed."""
    with pytest.raises(ValueError):
        record_log.search(ALL, wrong, limit=1, bodies=False)
