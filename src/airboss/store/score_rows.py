"""A score as a row, in DuckDB and in ClickHouse, which differ in how they have a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, get_args

from airboss.domain.score import Score, ScoreCondition, ScoreSource, ScoreValue

CALLERS_LABEL: Final = "(source = 'human' and label is not null)"
"""As `opinions.is_callers_label`."""

FEW: Final = 1_000
"""As many waiting scores are looked through from their side."""


def values_of(score: Score, at: object) -> tuple[Any, ...]:
    """The values of a row, before those that are its record's; `at` is its time as the database has it."""
    value = score.value
    label = value if isinstance(value, str) else None
    return (
        *(score.id, score.subject_id, score.name, score.source, score.by, at),
        *(float(value) if isinstance(value, bool | float) else None, isinstance(value, bool), label),
        *(score.unscored, score.comment, score.user),
    )


def score_of(row: Sequence[Any], moment: Callable[[Any], datetime]) -> Score:
    """The score of such values; `moment` reads the database's time."""
    score_id, record_id, name, source, by, at, number, yes_or_no, label, unscored, comment, user = row
    value: ScoreValue | None = label
    if number is not None:
        value = bool(number) if yes_or_no else float(number)
    return Score(
        id=score_id,
        subject="record",
        subject_id=record_id,
        name=name,
        source=source,
        by=by,
        at=moment(at),
        value=value,
        unscored=unscored,
        comment=comment,
        user=user,
    )


def check(scores: Iterable[Score]) -> None:
    """Raise ValueError for a score of something else than a record."""
    for score in scores:
        if score.subject != "record":
            raise ValueError(
                f"score {score.id} is of the {score.subject} {score.subject_id}, not of a record"
            )


def of_records(conditions: str, time: str) -> str:
    """The condition on scores that one on their records is; `time` is the column that their time is in. No
    record from before the first of these scores is looked at."""
    if conditions == "true":
        return conditions
    first = f"select min(started_at) from scores where {time} >= $since and {time} < $until"  # noqa: S608 - of ours
    theirs = f"select id from records where started_at >= ({first}) and {conditions}"  # noqa: S608 - of ours
    return f"record_id in ({theirs})"


def condition(asked: ScoreCondition, text: str, *, number: str, label: str) -> tuple[str, dict[str, Any]]:
    """The condition on rows of `records` that a condition on their scores is, and its parameters. `text` is
    the query for it; `number` and `label` are what it calls the value that counts."""
    holds = "true"
    parameters: dict[str, Any] = {"score_name": asked.name}
    said_by = ", ".join(f"'{each}'" for each in asked.by or get_args(ScoreSource))
    if asked.label is not None:
        holds = f"{label} {asked.comparison} $score_bound"
        parameters["score_bound"] = asked.label
    elif asked.number is not None:
        holds = f"{number} {asked.comparison} $score_bound"
        parameters["score_bound"] = asked.number
    return text.format(holds=holds, said_by=said_by), parameters
