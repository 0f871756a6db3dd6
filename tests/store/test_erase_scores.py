"""A person is taken out of the scores, in DuckDB."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from airboss.store import duckdb_scores
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.joining import blank_score, read_score
from tests.store.samples import call_id, move
from tests.store.test_contract_scores import feedback, score


def test_comments_and_users_go_and_values_stay(tmp_path: Path) -> None:
    """On a person's records whoever commented, and whatever that person said anywhere, waiting feedback
    included; others' words stay."""
    log = DuckDBRecordLog(tmp_path / "records.duckdb")
    log.apply(move(1, 2))
    log.put_scores(
        [
            score(1, 1, 0.5, comment="about ann", user="bob"),
            score(2, 2, 0.6, comment="by ann", user="ann"),
            score(3, 2, 0.7, comment="by bob", user="bob"),
        ]
    )
    log.apply(
        feedback(
            score(4, 8, comment="by ann", user="ann"),
            score(5, 9, comment="by bob", user="bob"),
            start=200,
        )
    )
    with log._transaction() as connection:
        assert duckdb_scores.erase(connection, user="ann", record_ids=[call_id(1)]) == 3
        assert duckdb_scores.erase(connection, user="ann", record_ids=[call_id(1)]) == 0
    found = log.scores_of([call_id(1), call_id(2)])
    assert [(each.value, each.comment, each.user) for each in found] == [
        (0.5, None, None),
        (0.6, None, None),
        (0.7, "by bob", "bob"),
    ]
    log.apply(move(8, 9, start=210))
    late = log.scores_of([call_id(8), call_id(9)])
    assert [(each.comment, each.user) for each in late] == [(None, None), ("by bob", "bob")]
    log.close()


@pytest.mark.parametrize("beside", [{"user": "ann"}, {"comment": "4"}], ids=["user", "comment"])
@pytest.mark.parametrize("label", ["x", "é", "Ann", "Ann in Rome", "é" * 64, 1.5, True])
def test_feedback_without_its_words_is_not_longer(label: str | float | bool, beside: dict[str, str]) -> None:
    """It is written over what was there, in a journal; a number stays."""
    given = score(1, 1, label, **beside)
    blank = blank_score(given)
    assert len(blank) <= len(msgspec.json.encode(given))
    read = read_score(blank)
    assert (read.user, read.comment) == (None, None)
    assert read.value == (None if isinstance(label, str) else label)
    assert blank_score(read) == blank
