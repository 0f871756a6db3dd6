"""Adding to a dataset that is there, in the admin API: recorded calls by id or by filters, JSON Lines or a
table."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from airboss.console.api_datasets import (
    UPLOAD_MAX,
    RecordsIntent,
    check_name,
    check_remembered,
    find,
    gathered,
    library,
    no_items,
    written,
)
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.errors import InvalidRequest, NotFound, Unavailable
from airboss.evaluations.adding import Joined
from airboss.evaluations.datasets import Item, Part, Shares, part_of
from airboss.evaluations.from_records import Approved, Gathered, Grouping, picked
from airboss.evaluations.library import Grown, KeptDataset

RECORDS_MAX: Final = 1_000
"""Records that one call names."""

EXPECTED_MAX: Final = 256 * 1024
"""Of an expected answer, in bytes of JSON."""

TRIES: Final = 50
"""How often somebody else may have been first; each time another one's items were kept."""

FRESH: Final = Shares(train=0.0, validation=1.0)
"""Of a dataset that begins with what is added: the part by which releases are compared has it all."""

THERE: Final = "is there already"
ERASED: Final = "was erased from just this dataset"


class PickedIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Recorded calls, each an item. `expected` is any JSON that a single one's item expects; with `answered`
    each expects what was answered, or with `approved` where that has `at_least` of this score. Before that
    goes what people wrote in place of the answer, unless `corrected` is off. `group_by` keeps a
    user's (or session's) items in one part; left out, as the dataset has it."""

    ids: tuple[str, ...]
    expected: Any = None
    answered: bool = False
    corrected: bool = True
    approved: str | None = None
    at_least: float = 1.0
    group_by: Grouping | None = None


class AddIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to add: either `jsonl`, text as a dataset is made of, which messages call `source`, or `records`
    by their ids, or all calls that are `matching`, of which those that cannot be added are left out.

    `part` pins what is not pinned by its line. `create` makes the dataset, with all of it in `validation`,
    where there is none of this name; it is refused where calls are matching and none of them becomes an item.
    """

    jsonl: str | None = None
    source: str = "the request's jsonl"
    records: PickedIntent | None = None
    matching: RecordsIntent | None = None
    part: Part | None = None
    create: bool = False


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the dataset as it is now, how many items are new to it and in which `parts`, and how
    many of these expect what people wrote in place of the answer; `changed` counts those that were there and
    expected nothing, and do now. `left_out` counts what was not added, by cause. `dataset` is null where it
    was to begin with calls that match, and none does."""

    dataset: KeptDataset | None
    added: int
    parts: dict[str, int]
    left_out: dict[str, int]
    corrected: int = 0
    changed: int = 0


def add_items(desk: Desk, call: Call) -> Added:
    """POST /api/v1/datasets/{name}/add."""
    wanted = call.intent(AddIntent)
    if [wanted.jsonl, wanted.records, wanted.matching].count(None) != 2:
        raise InvalidRequest("what is added is either `jsonl` or `records` or `matching`; give one of them")
    name = newest_name(desk, call, create=wanted.create)
    found, by = Gathered(items=(), left_out={}), None
    if wanted.matching is not None:
        found, by = gathered(desk, call, wanted.matching), wanted.matching.group_by
        if not found.items:
            there = _there(desk, call)
            if there is None and found.left_out:
                raise no_items(found.left_out)
            return Added(dataset=there, added=0, parts={}, left_out=found.left_out)
    elif wanted.records is not None:
        found, by = _records(desk, wanted.records), wanted.records.group_by
    else:
        found = Gathered(items=tuple(written(wanted.jsonl or "", wanted.source[:200])), left_out={})
    items, sessions = found.items, {} if by else found.sessions
    if not items:
        raise InvalidRequest(f"{wanted.source[:200]} has no item; there is nothing to add", param="jsonl")
    if wanted.part is not None:
        items = tuple(replace(each, part=each.part or wanted.part) for each in items)
    grown, joined = _grow(desk, call, name, replace(found, items=items, sessions=sessions), wanted)
    added = _new(grown, joined)
    causes = {**found.left_out, **joined.left_out, THERE: joined.there, ERASED: grown.erased}
    return Added(
        dataset=grown.dataset,
        added=len(added),
        parts=dict(Counter(part_of(each, grown.dataset.shares) for each in added)),
        left_out={cause: count for cause, count in causes.items() if count},
        corrected=sum(each.id in found.corrected for each in added),
        changed=len(grown.added) - len(added),
    )


def _new(grown: Grown, joined: Joined) -> list[Item]:
    """What was added: not what was there in another form."""
    return [each for each in grown.added if each.id not in joined.gone]


def _there(desk: Desk, call: Call) -> KeptDataset | None:
    try:
        return find(desk, call)
    except NotFound:
        return None


def newest_name(desk: Desk, call: Call, *, create: bool = False) -> str:
    """The dataset's name, of whose newest version more is made. Raises NotFound, InvalidRequest."""
    try:
        kept = find(desk, call)
    except NotFound:
        if not create:
            raise
        check_name(call.path["name"])
        return call.path["name"]
    if call.path["name"] == kept.name:
        return kept.name
    newest = library(desk).find(kept.name)
    if newest.digest != kept.digest:
        raise InvalidRequest(
            f"{kept.digest[:12]} is an older version of {kept.name!r}; what is added or changed goes to the "
            f"newest, {newest.digest[:12]}: name it, or {kept.name!r}",
            param="name",
        )
    return kept.name


def _grow(
    desk: Desk,
    call: Call,
    name: str,
    found: Gathered,
    wanted: AddIntent,
) -> tuple[Grown, Joined]:
    """The dataset of a name with items, and what became of them. Who adds at the same time goes before or
    after."""
    fresh = FRESH if wanted.create else None
    fitting = wanted.matching is not None
    for _ in range(TRIES):
        joined = library(desk).join(
            name,
            found.items,
            sessions=found.sessions,
            fresh=fresh,
            fitting=fitting,
            corrected=found.corrected,
        )
        with desk.ledger.together():
            grown = library(desk).grow(joined)
            if grown is None:
                continue
            if joined.items:
                check_remembered(desk, joined.items, call.now)
                kept = grown.dataset
                added = len(_new(grown, joined))
                detail = {"digest": kept.digest, "onto": joined.onto, "added": added}
                detail |= {"changed": len(grown.added) - added} if joined.gone else {}
                desk.note(call, "dataset.add", kept.name, {**detail, "sizes": kept.sizes})
            return grown, joined
    raise Unavailable(f"{TRIES} others have added to {name!r} meanwhile; ask again")


def _records(desk: Desk, wanted: PickedIntent) -> Gathered:
    ids = tuple(dict.fromkeys(wanted.ids))
    if not 1 <= len(ids) <= RECORDS_MAX:
        raise InvalidRequest(f"{len(ids)} records; name 1 to {RECORDS_MAX:,} at once", param="records")
    if wanted.expected is not None:
        if wanted.answered:
            raise InvalidRequest(
                "either what was answered is expected, or `expected`; give one", param="expected"
            )
        if len(ids) > 1:
            raise InvalidRequest(
                f"one expected answer for {len(ids)} records; add those that expect something one by one",
                param="expected",
            )
        if len(msgspec.json.encode(wanted.expected)) > EXPECTED_MAX:
            raise InvalidRequest(
                f"the expected answer has more than {EXPECTED_MAX // 1024} KiB; shorten it", param="expected"
            )
    found = picked(
        desk.log,
        ids,
        answered=wanted.answered,
        corrected=wanted.corrected and wanted.expected is None,
        approved=Approved(score=wanted.approved, at_least=wanted.at_least) if wanted.approved else None,
        group_by=wanted.group_by or "user",
        without=desk.people.covers,
    )
    if wanted.expected is None:
        return found
    return replace(found, items=(replace(found.items[0], expected=wanted.expected),))


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/api/v1/datasets/{name}/add",
        summary="Add recorded calls, by id or all that match, or lines, to a dataset as a version more",
        handle=add_items,
        role="operator",
        body=AddIntent,
        body_max=UPLOAD_MAX,
    ),
)
"""Every route about adding to datasets."""
