"""Forgetting people, in the admin API. No answer and no address names the person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from airboss.console.desk import Desk
from airboss.console.query import Limit
from airboss.console.route import Call, Route
from airboss.domain.errors import AirbossError, NotFound
from airboss.domain.ports import RecordFilter
from airboss.governance.audit_ledger import tombstone_digest
from airboss.store.erasure_rows import Erasure, ErasureState

LIMIT = Limit(50, 1_000)
AHEAD_MAX = timedelta(days=1)


class Person(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to forget: the user as calls sent it."""

    user: str


class ErasureShown(msgspec.Struct, frozen=True, kw_only=True):
    """How far the forgetting of a person is; what it counts as in `store.erasure_rows.Erasure`. `found` is
    whether that is anything, null until it is done: a user misspelt is nobody. `store_up` is whether the
    record store answers, or is busy with just this: while it does not, the rest waits."""

    id: int
    state: ErasureState
    at: datetime
    done_at: datetime | None
    records: int
    scores: int
    items: int
    names: int
    found: bool | None
    store_up: bool


class Erasures(msgspec.Struct, frozen=True, kw_only=True):
    """Erasures, newest first."""

    erasures: tuple[ErasureShown, ...]


def list_erasures(desk: Desk, call: Call) -> Erasures:
    """GET /api/v1/erasures."""
    limit = LIMIT.read(call.params)
    up = store_up(desk)
    return Erasures(erasures=tuple(shown(each, store_up=up) for each in desk.people.newest(limit)))


def get_erasure(desk: Desk, call: Call) -> ErasureShown:
    """GET /api/v1/erasures/{id}."""
    text = call.path["id"]
    erasure_id = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1
    found = desk.people.get(erasure_id)
    if found is None:
        raise NotFound(f"no erasure {text[:40]!r}; GET /api/v1/erasures lists them", param="id")
    return shown(found, store_up=store_up(desk))


def erase_person(desk: Desk, call: Call) -> ErasureShown:
    """POST /api/v1/erasures."""
    asked = call.intent(Person)
    until = _until(desk, asked.user, call.now)
    with desk.ledger.together():
        made = desk.people.ask(asked.user, by=call.actor, now=until)
        tombstone = tombstone_digest(made.digest, made.at.astimezone(UTC).isoformat())
        desk.note(call, "erase", f"erasure {made.id}", {"erasure": made.id, "tombstone": tombstone})
    if desk.settle is not None:
        desk.settle()
    now = desk.people.get(made.id)
    return shown(now if now is not None else made, store_up=store_up(desk))


def _until(desk: Desk, user: str, now: datetime) -> datetime:
    """Until when all of a person goes: now, or their newest record where the clock was ahead as that was
    made, by AHEAD_MAX at most."""
    if not store_up(desk):
        return now
    ahead = RecordFilter(user=user, since=now, until=now + AHEAD_MAX)
    try:
        found = desk.log.records(ahead, limit=1, bodies=False)
    except AirbossError:  # it is forgotten all the same
        return now
    return found[0].started_at if found else now


def store_up(desk: Desk) -> bool:
    """Whether there is no need to wait for the record store. A large one is silent while it writes its file
    anew."""
    return desk.people.busy or desk.status().journal.store_up


def shown(erasure: Erasure, *, store_up: bool) -> ErasureShown:
    """An erasure without what could name the person."""
    anything = any((erasure.records, erasure.scores, erasure.items, erasure.names))
    return ErasureShown(
        id=erasure.id,
        state=erasure.state,
        at=erasure.at,
        done_at=erasure.done_at,
        records=erasure.records,
        scores=erasure.scores,
        items=erasure.items,
        names=erasure.names,
        found=None if erasure.state == "pending" else anything,
        store_up=store_up,
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/erasures",
        summary="People who were forgotten or are to be, newest first, without their names",
        handle=list_erasures,
        role="viewer",
        params={"limit": LIMIT.told()},
    ),
    Route(
        method="GET",
        path="/api/v1/erasures/{id}",
        summary="How far one of them is",
        handle=get_erasure,
        role="viewer",
    ),
    Route(
        method="POST",
        path="/api/v1/erasures",
        summary="Forget a person: pending until the controller has done it, which it does by itself",
        handle=erase_person,
        role="admin",
        body=Person,
    ),
)
"""Every route about erasures."""
