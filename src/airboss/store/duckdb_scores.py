"""Scores in the record log's DuckDB file. Each function works within the transaction of its caller."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from airboss.domain.ports import ScoreStats
from airboss.domain.score import Score, ScoreCondition, ScoreValue, latest
from airboss.store import score_rows
from airboss.store.duckdb_run import Connection, append, query, run, run_by_ids
from airboss.store.evaluated import may_be_of
from airboss.store.joining import read_score
from airboss.store.opinions import ERASED, TAKEN_BACK, has_words, reviewed, settle, wordless
from airboss.store.rows import aware, naive
from airboss.store.score_rows import CALLERS_LABEL, FEW, check, score_of, values_of

_scores: Final = msgspec.json.Decoder(Score)


def put(connection: Connection, scores: Sequence[Score]) -> int:
    """Keep those whose record is there and whose id is not; returns how many."""
    new = _unknown(connection, scores)
    settled = settle(new, of_records(connection, reviewed(new)))
    if settled.gone:
        run(connection, "delete from scores where id in (select unnest(?::varchar[]))", [list(settled.gone)])
    new = list(settled.kept)
    facts = _facts(connection, {score.subject_id for score in new})
    rows = [_row(score, facts[score.subject_id]) for score in new if score.subject_id in facts]
    if rows:
        append(connection, "scores", rows)
    return len(rows)


def take(connection: Connection, payloads: Sequence[bytes], moved_at: datetime) -> None:
    """Keep feedback: beside its record where that is there and of the key that gave it, else waiting."""
    given = _unknown(connection, [read_score(payload) for payload in payloads])
    facts = _facts(connection, {score.subject_id for score in given})
    rows, waiting = [], []
    for score in given:
        found = facts.get(score.subject_id)
        if found is not None and found[2] == score.by:
            rows.append(_row(score, found))
        else:
            text = msgspec.json.encode(score).decode()
            waiting.append((score.id, score.subject_id, score.by, naive(moved_at), text))
    if rows:
        append(connection, "scores", rows)
    if waiting:
        append(connection, "waiting_scores", waiting)


def attach(connection: Connection, record_ids: Collection[str]) -> None:
    """Give these records, which have just come, the feedback that waited for them. Little waits as a rule,
    and handing a thousand ids to the database would cost a fifth of storing their records."""
    awaited = run(connection, "select record_id from waiting_scores limit ?", [FEW + 1])
    if len(awaited) <= FEW:
        record_ids = {record_id for (record_id,) in awaited}.intersection(record_ids)
    found = [_scores.decode(text) for text, _ in run_by_ids(connection, "waiting_for", record_ids)]
    if not found:
        return
    facts = _facts(connection, {score.subject_id for score in found})
    mine = [score for score in found if score.subject_id in facts and facts[score.subject_id][2] == score.by]
    if mine:
        append(connection, "scores", [_row(score, facts[score.subject_id]) for score in mine])
        drop(connection, [score.id for score in mine])


def of_records(connection: Connection, record_ids: Collection[str]) -> list[Score]:
    """Every score of these records, the oldest first."""
    found = [score_of(row, aware) for row in run_by_ids(connection, "scores", record_ids)]
    return sorted(found, key=lambda score: (score.at, score.id))


def shown(connection: Connection, record_ids: Collection[str]) -> dict[str, dict[str, ScoreValue | None]]:
    """What these records show of their scores, by record; those without any are left out."""
    by_record: defaultdict[str, list[Score]] = defaultdict(list)
    for row in run_by_ids(connection, "scores", record_ids):
        by_record[row[1]].append(score_of(row, aware))
    return {record_id: latest(scores) for record_id, scores in by_record.items()}


def stats(
    connection: Connection,
    since: datetime,
    until: datetime,
    *,
    by_score_time: bool,
    without_key: str | None,
    of: tuple[str, dict[str, Any]] | None,
) -> list[ScoreStats]:
    """As `RecordLog.score_stats`; `of` are the filter's conditions on records, with their parameters."""
    time = "scored_at" if by_score_time else "started_at"
    conditions, given = of or ("true", {})
    text = query("score_stats").format(time=time, of=score_rows.of_records(conditions, time))
    asked = {"since": naive(since), "until": naive(until), "without": without_key, **given}
    rows = run(connection, text, asked)
    return [ScoreStats(**dict(zip(ScoreStats.__struct_fields__, row, strict=True))) for row in rows]


def stray(connection: Connection, before: datetime, limit: int) -> list[Score]:
    """As `RecordLog.stray_scores`."""
    rows = run(connection, query("stray_scores"), {"before": naive(before), "limit": limit})
    return [_scores.decode(text) for (text,) in rows]


def drop(connection: Connection, score_ids: Collection[str]) -> None:
    """Wait for the records of this feedback no longer."""
    run(connection, "delete from waiting_scores where id in (select unnest(?::varchar[]))", [list(score_ids)])


def erase(connection: Connection, *, user: str | None, record_ids: Collection[str]) -> int:
    """Take a person out of the scores: comments, callers' labels, causes of having no value and users of
    these records' scores and of all that `user` gave, waiting ones included. Names and other values stay, so
    that means hold. Returns how many rows had anything to take out."""
    mine = (
        '(record_id in (select unnest($ids::varchar[])) or "user" = $user) and (comment is not null or'
        f' "user" is not null or unscored not in ($erased, $taken_back) or {CALLERS_LABEL})'
    )
    asked = {"ids": list(record_ids), "user": user, "erased": ERASED, "taken_back": TAKEN_BACK}
    ((attached,),) = run(connection, f"select count(*) from scores where {mine}", asked)  # noqa: S608 - fixed
    if attached:
        blank = (
            f'comment = null, "user" = null, label = if({CALLERS_LABEL}, null, label),'
            f" unscored = if({CALLERS_LABEL} or unscored <> $taken_back, $erased, unscored)"
        )
        run(connection, f"update scores set {blank} where {mine}", asked)  # noqa: S608 - as above
    texts = [_scores.decode(text) for (text,) in run(connection, "select score from waiting_scores")]
    named = [
        score
        for score in texts
        if (score.user is not None and score.user == user)
        or (may_be_of(score, set(record_ids)) and has_words(score))
    ]
    for score in named:
        text = msgspec.json.encode(wordless(score)).decode()
        run(connection, "update waiting_scores set score = ? where id = ?", [text, score.id])
    return int(attached) + len(named)


def condition(asked: ScoreCondition) -> tuple[str, dict[str, Any]]:
    """As `score_rows.condition`."""
    return score_rows.condition(asked, query("with_score"), number="number", label="label")


def _unknown(connection: Connection, scores: Iterable[Score]) -> list[Score]:
    """Those that are not kept yet, each once."""
    new = {score.id: score for score in scores}
    check(new.values())
    for (known,) in list(run_by_ids(connection, "known_scores", new)):
        new.pop(known, None)
    return list(new.values())


def _facts(connection: Connection, record_ids: Collection[str]) -> dict[str, tuple[Any, ...]]:
    """Deployment, release, key and start of those of these records that are there."""
    return {row[0]: row[1:] for row in run_by_ids(connection, "scored_records", record_ids)}


def _row(score: Score, facts: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*values_of(score, naive(score.at)), *facts)
