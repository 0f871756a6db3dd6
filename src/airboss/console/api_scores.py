"""Scores in the admin API: those of one record, and what they say over a period."""

from __future__ import annotations

from datetime import datetime

import msgspec

from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.errors import NotFound
from airboss.domain.ports import RecordFilter, ScoreStats
from airboss.domain.score import Score


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Every score of one record, the oldest first; a second opinion is a second score."""

    scores: tuple[Score, ...]


class ScoresAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What scores say of the calls begun in `[since, until)`, by deployment, release and name."""

    since: datetime
    until: datetime
    scores: tuple[ScoreStats, ...]


def scores_of_record(desk: Desk, call: Call) -> object:
    """GET /api/v1/records/{id}/scores."""
    record_id = call.path["id"]
    if not desk.log.count(RecordFilter(id=record_id)):
        raise NotFound(f"no record {record_id[:80]!r}; a call appears within seconds of its end", param="id")
    return Scores(scores=tuple(desk.log.scores_of([record_id])))


def scores(desk: Desk, call: Call) -> object:
    """GET /api/v1/scores."""
    period = call.period()
    return ScoresAnswer(
        since=period.since,
        until=period.until,
        scores=tuple(
            each
            for each in desk.log.score_stats(period.since, period.until)
            if call.params.get("deployment") in (None, "", each.deployment)
            and call.params.get("name") in (None, "", each.name)
        ),
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/records/{id}/scores",
        summary="Every score of one record",
        answer=Scores,
        handle=scores_of_record,
        role="reader",
    ),
    Route(
        method="GET",
        path="/api/v1/scores",
        summary="What scores say of each deployment's releases in a period",
        answer=ScoresAnswer,
        handle=scores,
        role="viewer",
        params={
            "since": "from here on: RFC 3339, or `15m`, `6h`, `7d` for so long ago",
            "until": "before this: RFC 3339, or so long ago; now unless given",
            "range": "instead of both: 15m, 1h, 6h, 24h, 7d or 30d; 24h unless given",
            "deployment": "only this one",
            "name": "only scores of this name",
        },
    ),
)
"""Every route about scores."""
