"""Records moved between stores by the admin API: whole, with every score, a page at a time."""

from __future__ import annotations

import uuid
from datetime import UTC
from typing import Any, Final

import msgspec

from airboss.console.desk import Desk
from airboss.console.named import whole
from airboss.console.query import NARROWING, TIME_PARAMS, read_filter
from airboss.console.route import Call, Route
from airboss.console.wire import encode
from airboss.domain.errors import InvalidRequest
from airboss.domain.ports import JournalMove, RecordFilter
from airboss.domain.score import Score
from airboss.governance.erasure import Tombstones
from airboss.store.joining import Row
from airboss.store.opinions import wordless
from airboss.store.sealed_log import SealedLog

PAGE: Final = 200
ROWS_MAX: Final = 10_000
IMPORT_BYTES_MAX: Final = 64 * 1024 * 1024
NOTED: Final = ("since", "until", "deployment")
"""What of an export's conditions stands in the audit log; of others it has the names."""


class TransferPage(msgspec.Struct, frozen=True, kw_only=True):
    """The newest first; `next` is the `before` of the page after it, null on the last."""

    rows: tuple[Row, ...]
    next: str | None


class Transfer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls to store where they are not there yet."""

    rows: tuple[Row, ...]


class Transferred(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the records given are in the store now, and how many of their scores were new."""

    records: int
    scores: int


def give(desk: Desk, call: Call) -> TransferPage:
    """GET /api/v1/transfer. That bodies leave is said before they do, with the first page of an export. What
    is sealed leaves as it is kept, unless it is to be opened."""
    where = read_filter(whole(desk, call.params), now=call.now, local=UTC)
    if not desk.exports.take(call.actor, call.params, call.now):
        # What may name a person stays out of it: a leaf is for ever.
        detail: dict[str, Any] = {name: call.params[name] for name in NOTED if name in call.params}
        if others := sorted(name for name in NARROWING if name in call.params and name not in NOTED):
            detail["only_some"] = others
        if where.before is not None:
            detail["resumed"] = True
        if call.params.get("open") == "true":
            detail["opened"] = True
        desk.note(call, "records.export", "records", detail)
    kept = (
        desk.log.inner if isinstance(desk.log, SealedLog) and call.params.get("open") != "true" else desk.log
    )
    found = kept.records(where, limit=PAGE, bodies=True)
    if found:
        desk.exports.lead(call.actor, {**call.params, "before": found[-1].id}, call.now)
    scores: dict[str, list[Score]] = {}
    for score in kept.scores_of([each.id for each in found]):
        scores.setdefault(score.subject_id, []).append(score)
    rows = tuple(Row(record=each, scores=tuple(scores.get(each.id, ()))) for each in found)
    return TransferPage(rows=rows, next=found[-1].id if found else None)


def take(desk: Desk, call: Call) -> Transferred:
    """POST /api/v1/transfer. What is of somebody who was forgotten here comes without what tells of them."""
    given = call.intent(Transfer)
    ids = [row.record.id for row in given.rows]
    if not ids:
        return Transferred(records=0, scores=0)
    if len(ids) > ROWS_MAX:
        raise InvalidRequest(f"{len(ids)} rows at once; send {ROWS_MAX:,} at most", param="rows")
    forgotten_before = desk.people.tombstones()
    rows = [blanked(row, forgotten_before) for row in given.rows]
    segment = f"transfer/{uuid.uuid4().hex}"
    # Known before they are there, or who follows the log would take them for calls of just now; those
    # that are there already may be just that.
    there = desk.log.records(RecordFilter(ids=tuple(ids)), limit=len(ids), bodies=False)
    desk.brought.note(set(ids).difference(each.id for each in there))
    payloads = tuple(encode(msgspec.structs.replace(row.record, scores={})) for row in rows)
    try:
        desk.log.apply(JournalMove(segment=segment, start=0, end=1, records=payloads))
        scores = desk.log.put_scores([score for row in rows for score in row.scores])
    except ValueError as error:
        raise InvalidRequest(f"the store cannot take this: {error}", param="rows") from None
    desk.log.forget(segment)
    again = desk.people.tombstones()
    forgotten = {
        row.record.user: until
        for row in rows
        if row.record.user is not None
        and again.covers(row.record.user, row.record.started_at)
        and (until := again.until(row.record.user)) is not None
    }
    if forgotten:  # asked for while this was on its way
        desk.log.erase(forgotten)
    taken = Transferred(records=len(set(ids)), scores=scores)
    desk.note(call, "records.import", "records", msgspec.structs.asdict(taken))
    return taken


def blanked(row: Row, forgotten: Tombstones) -> Row:
    """A row as it may be taken."""
    record = row.record
    scores = tuple(
        wordless(score) if forgotten.covers(score.user, score.at) else score for score in row.scores
    )
    if forgotten.covers(record.user, record.started_at):
        gone: dict[str, Any] = {"user": None, "session": None, "tags": {}, "request": None, "response": None}
        record = msgspec.structs.replace(record, **gone)
        scores = tuple(map(wordless, scores))
    return Row(record=record, scores=scores)


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/transfer",
        summary="Records whole, with bodies and every score, for another store",
        handle=give,
        role="reader",
        params={
            **NARROWING,
            **TIME_PARAMS,
            "before": "only records older than this id (paging, newest first)",
            "open": "`true`: what is sealed is opened; else it stays readable here alone",
        },
    ),
    Route(
        method="POST",
        path="/api/v1/transfer",
        summary="Stores records of another store where they are not there yet",
        handle=take,
        role="admin",
        body=Transfer,
        body_max=IMPORT_BYTES_MAX,
    ),
)
"""Every route that moves records."""
