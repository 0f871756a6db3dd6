"""How far judges can be believed, in the admin API."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from airboss.console.desk import Desk
from airboss.console.query import read_period
from airboss.console.route import Call, Route
from airboss.domain.errors import InvalidRequest
from airboss.evaluations.agreement import CUT
from airboss.evaluations.judges import Judge, judges

PARAMS = {
    "since": "from here on: RFC 3339, or `15m`, `6h`, `7d` for so long ago",
    "until": "before this: RFC 3339, or so long ago; now unless given",
    "range": "instead of both: 15m, 1h, 6h, 24h, 7d or 30d; 30d unless given",
    "deployment": "only this one",
    "judge": "only the judge of this name: a scorer's",
    "people": "the name under which people judged; the judge's own unless given",
    "cut": f"of numbers from 0 to 1, what is a yes from here on; {CUT:g} unless given",
}


class JudgesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Judges of calls begun in `[since, until)`, held against people of the house."""

    since: datetime
    until: datetime
    judges: tuple[Judge, ...]


def list_judges(desk: Desk, call: Call) -> JudgesAnswer:
    """GET /api/v1/judges."""
    period = read_period(call.params, now=call.now, local=UTC, default="30d")
    found = judges(
        desk.log,
        period.since,
        period.until,
        deployment=call.params.get("deployment") or None,
        judge=call.params.get("judge") or None,
        people=call.params.get("people") or None,
        cut=read_cut(call.params.get("cut")),
    )
    return JudgesAnswer(since=period.since, until=period.until, judges=found)


def read_cut(text: str | None) -> float:
    """From where on a number is a yes. Raises InvalidRequest."""
    if not text:
        return CUT
    try:
        cut = float(text)
    except ValueError:
        cut = -1.0
    if not 0 < cut <= 1:
        raise InvalidRequest(f"cut={text[:40]!r} is no number over 0 and up to 1", param="cut")
    return cut


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/judges",
        summary="How far judges can be believed, by what people say of the same answers",
        handle=list_judges,
        role="viewer",
        params=PARAMS,
    ),
)
"""Every route about judges."""
