"""The admin API under /api/v1: what the pages read, for programs. One table makes and describes it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec

from airboss.console import (
    api_adding,
    api_alarms,
    api_approvals,
    api_audit,
    api_changing,
    api_config,
    api_contest,
    api_datasets,
    api_drift,
    api_erase,
    api_eval,
    api_eval_items,
    api_finetune,
    api_jobs,
    api_judges,
    api_keys,
    api_letters,
    api_nodes,
    api_prices,
    api_probe,
    api_providers,
    api_releases,
    api_report,
    api_rollouts,
    api_scores,
    api_scorings,
    api_tags,
    api_teams,
    api_traces,
    api_transfer,
    api_tune,
    api_undo,
    api_usage,
)
from airboss.console.desk import Desk
from airboss.console.named import whole
from airboss.console.query import NARROWING, TIME_PARAMS, Limit, no_record, read_filter
from airboss.console.reading import note_list, note_one
from airboss.console.route import Call, Route, answer
from airboss.console.wire import encode
from airboss.domain.errors import InvalidRequest
from airboss.domain.ports import DeploymentStats, RecordFilter, StatsBucket
from airboss.domain.record import InferenceRecord
from airboss.domain.status import SystemStatus

__all__ = ["OWN", "ROUTES", "Call", "Route", "answer"]

LIMIT = Limit(100, 1_000)
BUCKETS_MAX = 5_000
BODIES_SLICE = 8
"""Records read at once where bodies come along, at first: each may be tens of megabytes. As long as they are
short, twice as many are read the next time."""
SHORT_BYTES = 16 * 1024 * 1024
"""So much is read at once, if they are as long as those before; less costs a store as much, and where they
are far longer it ends the list early."""
BODIES_BYTES_MAX = 32 * 1024 * 1024
"""A page of records with bodies ends once it is this long; `next` leads on."""
BODIES_S = 5.0
"""So does one that has been read for so long: an answer has 20 s."""

NONE_LISTED = b'{"records":[]'
"""How a page without records begins."""


class RecordPage(msgspec.Struct, frozen=True, kw_only=True):
    """Records. `next` is the cursor of the next page: the `before` to give, or the `after` when following
    (it then stays until something newer is there). None: there is no older record."""

    records: tuple[InferenceRecord, ...]
    next: str | None


class StatsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What each deployment did in `[since, until)`."""

    since: datetime
    until: datetime
    deployments: tuple[DeploymentStats, ...]


class SeriesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The same over time; steps without a call are left out."""

    since: datetime
    until: datetime
    step_s: int
    buckets: tuple[StatsBucket, ...]


def records(desk: Desk, call: Call) -> RecordPage | bytes:
    """GET /api/v1/records."""
    where = read_filter(whole(desk, call.params), now=call.now, local=UTC)
    limit = LIMIT.read(call.params)
    if where.after and not desk.log.records(RecordFilter(id=where.after), limit=1, bodies=False):
        raise no_record(where.after)  # it has expired: who follows it would hear of nothing ever again
    bodies = call.params.get("bodies") or "false"
    if bodies not in ("true", "false"):
        raise InvalidRequest(f"bodies={bodies[:60]!r} is neither true nor false", param="bodies")
    if words := call.params.get("search"):
        call.need(desk, "reader", "to search in bodies")
        page = search(desk, where, words, limit, bodies=bodies == "true")
        if bodies == "true" and page.records:
            note_list(desk, call, where, words)
        return page
    if bodies == "true":
        call.need(desk, "reader", "bodies=true")
        listed = records_with_bodies if where.sort is None else sorted_with_bodies
        written = listed(desk, where, limit)
        if not written.startswith(NONE_LISTED):
            note_list(desk, call, where)
        return written
    found = desk.log.records(where, limit=limit, bodies=False)
    full = len(found) == limit and where.sort is None
    return RecordPage(records=tuple(found), next=cursor(where, [each.id for each in found], full=full))


def search(desk: Desk, where: RecordFilter, words: str, limit: int, *, bodies: bool) -> RecordPage:
    """What a second of looking has found; `next` goes on from there, also where that was nothing."""
    if where.after is not None:
        raise InvalidRequest("search and after exclude each other; page with before", param="after")
    limit = min(limit, BODIES_SLICE) if bodies else limit
    try:
        found = desk.log.search(where, words, limit=limit, bodies=bodies)
    except ValueError as error:
        raise InvalidRequest(f"search: {error}", param="search") from None
    return RecordPage(records=found.records, next=found.looked_to)


def records_with_bodies(desk: Desk, where: RecordFilter, limit: int) -> bytes:
    """A page with bodies, as JSON, read a few at a time and cut short when it grows too long."""
    parts: list[bytes] = []
    ids: list[str] = []
    size, full = 0, True
    at_once = BODIES_SLICE
    deadline = time.monotonic() + BODIES_S
    while len(ids) < limit and size < BODIES_BYTES_MAX and (not ids or time.monotonic() < deadline):
        found = desk.log.records(where, limit=min(at_once, limit - len(ids)), bodies=True)
        if not found:  # fewer than asked for are no end: they may be all that fits into memory
            full = False
            break
        for each in found:
            ids.append(each.id)
            parts.append(encode(each))
            size += len(parts[-1])
        at_once = max(BODIES_SLICE, min(2 * at_once, SHORT_BYTES * len(ids) // size))
        paging = "after" if where.after is not None else "before"
        where = msgspec.structs.replace(where, **{paging: ids[-1]})
    next_ = encode(cursor(where, ids, full=full))
    return b'{"records":[' + b",".join(parts) + b'],"next":' + next_ + b"}"


def sorted_with_bodies(desk: Desk, where: RecordFilter, limit: int) -> bytes:
    """A list that is not paged: whole, or refused where it is too long, as no `next` leads to the rest."""
    wanted = min(limit, desk.log.count(where))
    parts: list[bytes] = []
    size = 0
    for each in desk.log.records(where, limit=limit, bodies=True):
        if size >= BODIES_BYTES_MAX:
            break
        parts.append(encode(each))
        size += len(parts[-1])
    if len(parts) < wanted:
        much = f"are more than {BODIES_BYTES_MAX // 1024**2} MiB with their bodies"
        if size < BODIES_BYTES_MAX:  # the store has ended the list
            much = "take longer to read with their bodies than one answer may"
        advice = f"ask for limit={max(1, len(parts))} or fewer, or without bodies"
        raise InvalidRequest(f"these {wanted:,} records {much}; {advice}", param="limit")
    return b'{"records":[' + b",".join(parts) + b'],"next":null}'


def cursor(where: RecordFilter, ids: list[str], *, full: bool) -> str | None:
    """The cursor of the page after the one that holds `ids`."""
    if where.after is not None:
        return ids[-1] if ids else where.after
    return ids[-1] if ids and full else None


def record(desk: Desk, call: Call) -> InferenceRecord:
    """GET /api/v1/records/{id}. Its bodies are for readers."""
    bodies = call.caller.may("reader")
    found = desk.log.records(RecordFilter(id=call.path["id"]), limit=1, bodies=bodies)
    if not found:
        raise no_record(call.path["id"])
    if bodies:
        note_one(desk, call)
    return found[0]


def stats(desk: Desk, call: Call) -> StatsAnswer:
    """GET /api/v1/stats."""
    period = call.period()
    return StatsAnswer(
        since=period.since,
        until=period.until,
        deployments=tuple(
            each
            for each in desk.log.stats(period.since, period.until)
            if call.params.get("deployment") in (None, "", each.deployment)
        ),
    )


def series(desk: Desk, call: Call) -> SeriesAnswer:
    """GET /api/v1/series."""
    period = call.period()
    text = call.params.get("step_s") or str(period.step_s)
    step_s = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if step_s < 1:
        raise InvalidRequest(f"step_s={text[:60]!r} is not a whole number of seconds", param="step_s")
    if period.seconds / step_s > BUCKETS_MAX:
        least = int(period.seconds / BUCKETS_MAX) + 1
        message = (
            f"step_s={step_s} gives more than {BUCKETS_MAX:,} steps; ask for {least} s or more, or less time"
        )
        raise InvalidRequest(message, param="step_s")
    return SeriesAnswer(
        since=period.since,
        until=period.until,
        step_s=step_s,
        buckets=tuple(
            each
            for each in desk.log.series(period.since, period.until, step_s=step_s)
            if call.params.get("deployment") in (None, "", each.deployment)
        ),
    )


def status(desk: Desk, call: Call) -> SystemStatus:
    """GET /api/v1/status."""
    return desk.status_for(call.caller)


PERIOD_PARAMS = {
    **TIME_PARAMS,
    "range": "instead of both: 15m, 1h, 6h, 24h, 7d or 30d; 24h unless given",
    "deployment": "only this one",
}
RECORD_PARAMS = {
    **NARROWING,
    **TIME_PARAMS,
    "id": "only this record",
    "text": "found in id, user, session or error_type, whatever the case",
    "sort": "slowest, costliest or longest first, or shuffled, instead of the newest; not paged",
    "search": "(for readers) words that stand in the bodies, in any case, a phrase in quotes; the last stored"
    " first, a page ends after a second of looking, maybe empty: `next` leads on",
    "limit": LIMIT.told(),
    "before": "only records older than this id (paging, newest first)",
    "after": "only records newer than this id, oldest first (following); empty: from the first",
    "bodies": "true (for readers): with request and response; such a page may end before `limit`, and `next`"
    " leads on; a sorted list that would is refused",
}
OWN: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/records",
        summary="Records that match, newest first",
        answer=RecordPage,
        handle=records,
        role="viewer",
        params=RECORD_PARAMS,
    ),
    Route(
        method="GET",
        path="/api/v1/records/{id}",
        summary="One record; with its bodies for who has the role reader",
        handle=record,
        role="viewer",
    ),
    Route(
        method="GET",
        path="/api/v1/stats",
        summary="What each deployment did in a period",
        handle=stats,
        role="viewer",
        params=PERIOD_PARAMS,
    ),
    Route(
        method="GET",
        path="/api/v1/series",
        summary="What each deployment did over time",
        handle=series,
        role="viewer",
        params={**PERIOD_PARAMS, "step_s": "seconds of a step; chosen by the period's length unless given"},
    ),
    Route(
        method="GET",
        path="/api/v1/status",
        summary="Processes, replicas, plan, journal",
        handle=status,
        role="viewer",
        prompt=True,
    ),
)
"""The routes of this module."""

ROUTES: tuple[Route, ...] = (
    *OWN,
    *api_config.ROUTES,
    *api_releases.ROUTES,
    *api_rollouts.ROUTES,
    *api_undo.ROUTES,
    *api_approvals.ROUTES,
    *api_jobs.ROUTES,
    *api_datasets.ROUTES,
    *api_adding.ROUTES,
    *api_changing.ROUTES,
    *api_eval.ROUTES,
    *api_contest.ROUTES,
    *api_eval_items.ROUTES,
    *api_audit.ROUTES,
    *api_report.ROUTES,
    *api_keys.ROUTES,
    *api_tags.ROUTES,
    *api_teams.ROUTES,
    *api_prices.ROUTES,
    *api_providers.ROUTES,
    *api_erase.ROUTES,
    *api_alarms.ROUTES,
    *api_scores.ROUTES,
    *api_judges.ROUTES,
    *api_scorings.ROUTES,
    *api_tune.ROUTES,
    *api_finetune.ROUTES,
    *api_traces.ROUTES,
    *api_probe.ROUTES,
    *api_usage.ROUTES,
    *api_transfer.ROUTES,
    *api_drift.ROUTES,
    *api_nodes.ROUTES,
    *api_letters.ROUTES,
)
"""Every route of the admin API."""
