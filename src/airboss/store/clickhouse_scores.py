"""Scores in ClickHouse; as `duckdb_scores`, in steps that may be repeated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zlib import crc32

import msgspec

from airboss.domain.ports import ScoreStats
from airboss.domain.score import Score, ScoreCondition, ScoreValue, latest
from airboss.store import score_rows
from airboss.store.clickhouse_http import Ask, ClickHouse, moment, query, stamp
from airboss.store.evaluated import may_be_of
from airboss.store.joining import read_score
from airboss.store.opinions import ERASED, TAKEN_BACK, has_words, reviewed, settle, wordless
from airboss.store.score_rows import CALLERS_LABEL, FEW, check, score_of, values_of

COLUMNS: Final = {
    **dict.fromkeys(("id", "record_id", "name", "source", "by"), "String"),
    "scored_at": "DateTime64(6, 'UTC')",
    "number": "Nullable(Float64)",
    "yes_or_no": "Bool",
    **dict.fromkeys(("label", "unscored", "comment", "user"), "Nullable(String)"),
    **dict.fromkeys(("deployment", "release", "key"), "String"),
    "started_at": "DateTime64(6, 'UTC')",
}
WAITING_COLUMNS: Final = ("id", "record_id", "by", "moved_at", "score", "done")
_scores: Final = msgspec.json.Decoder(Score)

Facts = Mapping[str, tuple[str, str, str, str]]
"""Deployment, release, key and start of records, by id."""


def read(payloads: Iterable[bytes]) -> list[Score]:
    """Feedback, each once. Raises ValueError for JSON that is no score of a record."""
    found = {score.id: score for score in map(read_score, payloads)}
    check(found.values())
    return list(found.values())


def put(house: ClickHouse, scores: Sequence[Score]) -> int:
    """Keep those whose record is there and whose id is not; returns how many."""
    check(scores)
    new = _unknown(house, scores)
    settled = settle(new, of_records(house, reviewed(new)))
    facts = _facts(house, {score.subject_id for score in settled.kept})
    rows = [_row(score, facts[score.subject_id]) for score in settled.kept if score.subject_id in facts]
    house.insert_new("scores", COLUMNS, rows)
    if settled.gone:  # last: who is killed before has both, of which the newer one counts
        house.run(f"delete from scores{house.on_cluster} where id in $ids", {"ids": list(settled.gone)})  # noqa: S608 - fixed
    return len(rows)


def take(house: ClickHouse, scores: Sequence[Score], moved_at: datetime, token: str) -> None:
    """Keep feedback: beside its record where that is there and of the key that gave it, else waiting."""
    given = _unknown(house, scores)
    facts = _facts(house, {score.subject_id for score in given})
    rows, waiting = [], []
    for score in given:
        found = facts.get(score.subject_id)
        if found is not None and found[2] == score.by:
            rows.append(_row(score, found))
        else:
            text = msgspec.json.encode(score).decode()
            waiting.append((score.id, score.subject_id, score.by, stamp(moved_at), text, 0))
    house.insert_new("scores", COLUMNS, rows)
    house.insert("waiting_scores", WAITING_COLUMNS, waiting, f"{token}:taken")


def attach(house: ClickHouse, record_ids: Collection[str]) -> None:
    """Give these records, which have just come, the feedback that waited for them; little waits as a rule."""
    awaited = house.rows(query("waiting_few"), {"limit": FEW + 1})
    if len(awaited) <= FEW:
        record_ids = {record_id for (record_id,) in awaited}.intersection(record_ids)
    if not record_ids:
        return
    waiting = house.rows(query("waiting_for"), {"ids": list(record_ids)})
    found = [_scores.decode(text) for _, text in waiting]
    facts = _facts(house, {score.subject_id for score in found})
    mine = [score for score in found if score.subject_id in facts and facts[score.subject_id][2] == score.by]
    new = _unknown(house, mine)
    house.insert_new("scores", COLUMNS, [_row(score, facts[score.subject_id]) for score in new])
    drop(house, [score.id for score in mine])


def of_records(house: ClickHouse, record_ids: Collection[str]) -> list[Score]:
    """Every score of these records, the oldest first."""
    return [score_of(row, moment) for row in _rows_of(house, record_ids)]


def shown(house: ClickHouse, record_ids: Collection[str]) -> dict[str, dict[str, ScoreValue | None]]:
    """What these records show of their scores, by record; those without any are left out."""
    by_record: defaultdict[str, list[Score]] = defaultdict(list)
    for row in _rows_of(house, record_ids):
        by_record[row[1]].append(score_of(row, moment))
    return {record_id: latest(scores) for record_id, scores in by_record.items()}


def drop(house: ClickHouse, score_ids: Collection[str]) -> None:
    """Wait for the records of this feedback no longer: a newer row says so, without the text."""
    rows = [(score_id, "", "", "1970-01-01 00:00:00", "", 1) for score_id in score_ids]
    house.insert(
        "waiting_scores", WAITING_COLUMNS, rows, f"drop:{crc32(' '.join(sorted(score_ids)).encode())}"
    )


def erase(house: ClickHouse, *, user: str, record_ids: Collection[str]) -> int:
    """Take a person out of the scores, as `duckdb_scores.erase`."""
    mine = (
        '(record_id in $ids or "user" = $user) and (comment is not null or "user" is not null'
        f" or unscored not in ($erased, $taken_back) or {CALLERS_LABEL})"
    )
    asked: dict[str, Any] = {
        "ids": list(record_ids),
        "user": user,
        "erased": ERASED,
        "taken_back": TAKEN_BACK,
    }
    ((attached,),) = house.rows(f"select count() from scores where {mine}", asked)  # noqa: S608 - fixed
    if attached:
        house.run(
            f'alter table scores{house.on_cluster} update comment = null, "user" = null,'
            f" label = if({CALLERS_LABEL}, null, label),"
            f" unscored = if({CALLERS_LABEL} or unscored <> $taken_back, $erased, unscored) where {mine}",
            asked,
            hard=True,
        )
    named = 0
    for score_id, text in house.rows("select id, score from waiting_scores final where done = 0"):
        score = _scores.decode(text)
        theirs = score.user is not None and score.user == user
        if theirs or (may_be_of(score, set(record_ids)) and has_words(score)):
            blank = msgspec.json.encode(wordless(score)).decode()
            update = f"alter table waiting_scores{house.on_cluster} update score = $score where id = $id"
            house.run(update, {"score": blank, "id": score_id}, hard=True)
            named += 1
    return int(attached) + named


def stats(ask: Ask, asked: Mapping[str, Any], conditions: str, *, by_score_time: bool) -> list[ScoreStats]:
    """As `RecordLog.score_stats`; `conditions` are the filter's, on records."""
    time = "scored_at" if by_score_time else "started_at"
    rows = ask(query("score_stats").format(time=time, of=score_rows.of_records(conditions, time)), asked)
    return [ScoreStats(**dict(zip(ScoreStats.__struct_fields__, row, strict=True))) for row in rows]


def condition(asked: ScoreCondition) -> tuple[str, dict[str, Any]]:
    """As `score_rows.condition`."""
    return score_rows.condition(asked, query("with_score"), number="newest.1", label="newest.2")


def _unknown(house: ClickHouse, scores: Iterable[Score]) -> list[Score]:
    """Those that are not kept yet, each once."""
    new = {score.id: score for score in scores}
    if new:
        for (known,) in house.rows(query("known_scores"), {"ids": list(new)}):
            new.pop(known, None)
    return list(new.values())


def _facts(house: ClickHouse, record_ids: Collection[str]) -> Facts:
    if not record_ids:
        return {}
    asked = {"first": min(record_ids), "last": max(record_ids), "ids": list(record_ids)}
    return {row[0]: tuple(row[1:]) for row in house.rows(query("scored_records"), asked)}


def _rows_of(house: ClickHouse, record_ids: Collection[str]) -> list[list[Any]]:
    if not record_ids:
        return []
    asked = {"first": min(record_ids), "last": max(record_ids), "ids": list(record_ids)}
    return house.rows(query("scores"), asked)


def _row(score: Score, facts: tuple[str, str, str, str]) -> tuple[Any, ...]:
    return (*values_of(score, stamp(score.at)), *facts)
