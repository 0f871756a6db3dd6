"""Datasets in the admin API: made of records or JSON Lines, kept by digest, the holdout under lock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import msgspec

from airboss.console.desk import Desk
from airboss.console.named import whole
from airboss.console.query import FILTER_NAMES, check_names, read_filter
from airboss.console.reading import note_copy
from airboss.console.route import Call, Route
from airboss.domain.errors import InvalidRequest, NotFound, Unavailable, WrongCall
from airboss.evaluations.datasets import ITEMS_MAX, Item, Part, Shares, dataset
from airboss.evaluations.from_records import OWN_KEY, Approved, Gathered, Grouping, gather
from airboss.evaluations.jsonl import read_items
from airboss.evaluations.library import KeptDataset, Library
from airboss.evaluations.splits import Uneven
from airboss.evaluations.table import as_lines
from airboss.store.sealed_log import began

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
UPLOAD_MAX = 64 * 1024 * 1024
"""Of the request that brings a dataset, in bytes."""

FILTERS = (*FILTER_NAMES, "since", "until", "score")
OPEN_PARTS: dict[str, Part] = {"train": "train", "validation": "validation"}


class RecordsIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which records become items: `filters` are those of GET /api/v1/records, `limit` bounds the items.

    What people wrote in place of an answer is what the item expects. `approved` names a score:
    an answer with at least `at_least` of it is expected else. With `only` the rest is left out. `group_by`
    keeps a user's (or session's) items in one part; a user's unless given, and as the dataset has it where
    they are added to one.
    """

    filters: dict[str, str] = {}
    limit: int = 1_000
    approved: str | None = None
    at_least: float = 1.0
    only: bool = False
    group_by: Grouping | None = None


class DatasetIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dataset to keep: either `jsonl`, the text of a file in JSON Lines or of a table (CSV) that messages
    call `source`, or `records`. `train` and `validation` are shares of 1, the rest is the holdout; `seed`
    draws the parts."""

    name: str
    jsonl: str | None = None
    source: str = "the request's jsonl"
    records: RecordsIntent | None = None
    train: float = 0.4
    validation: float = 0.3
    seed: int = 0


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `new` False: just this dataset was there. `left_out` counts records that became no
    item, by cause, `corrected` the items that expect what people wrote in place of the answer. `uneven` are
    the parts that are too small for what was asked for."""

    dataset: KeptDataset
    new: bool
    left_out: dict[str, int]
    corrected: int = 0
    uneven: tuple[Uneven, ...] = ()


class Datasets(msgspec.Struct, frozen=True, kw_only=True):
    """Datasets, newest first; a changed one stands beside the old one of its name."""

    datasets: tuple[KeptDataset, ...]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody read the holdout."""

    at: datetime
    who: str
    why: str


class DatasetDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset, who read its holdout, oldest first, and the parts that are too small for what was asked
    for."""

    dataset: KeptDataset
    readings: tuple[Reading, ...]
    uneven: tuple[Uneven, ...] = ()


class Items(msgspec.Struct, frozen=True, kw_only=True):
    """The items of a part. `reads_before` is how often the holdout had been read, None for other parts."""

    part: Part
    items: tuple[Item, ...]
    reads_before: int | None = None


class HoldoutIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the holdout is read; it is written down with the time."""

    why: str


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """The dataset of this name is gone."""

    deleted: str


def library(desk: Desk) -> Library:
    """The datasets of this Airboss."""
    return Library(desk.evals, desk.clock.now)


def find(desk: Desk, call: Call) -> KeptDataset:
    """The dataset that the path names, by name or digest. Raises NotFound."""
    try:
        return library(desk).find(call.path["name"])
    except WrongCall as error:
        raise NotFound(str(error), param="name") from error


def datasets(desk: Desk, _call: Call) -> Datasets:
    """GET /api/v1/datasets."""
    return Datasets(datasets=library(desk).all())


def create_dataset(desk: Desk, call: Call) -> Created:
    """POST /api/v1/datasets."""
    wanted = call.intent(DatasetIntent)
    check_name(wanted.name)
    try:
        shares = Shares(seed=wanted.seed, train=wanted.train, validation=wanted.validation)
    except ValueError as error:
        raise InvalidRequest(str(error), param="train") from None
    if (wanted.jsonl is None) == (wanted.records is None):
        raise InvalidRequest("a dataset is made of either `jsonl` or `records`; give one of them")
    if wanted.jsonl is not None:
        found = Gathered(items=tuple(written(wanted.jsonl, wanted.source[:200])), left_out={})
    else:
        assert wanted.records is not None  # one of the two is there
        found = gathered(desk, call, wanted.records)
        if not found.items:
            raise no_items(found.left_out)
    made = dataset(wanted.name, found.items, shares=shares)
    of = "jsonl" if wanted.jsonl else "records"
    with desk.ledger.together():
        new = library(desk).put(made)
        check_remembered(desk, made.items, call.now)
        kept = library(desk).find(made.name)
        _note(desk, call, "dataset.create", kept, sizes=kept.sizes, of=of)
    return Created(
        dataset=kept,
        new=new,
        left_out=found.left_out,
        corrected=len(found.corrected),
        uneven=library(desk).uneven(kept),
    )


def check_name(name: str) -> None:
    """Raises InvalidRequest for what can be no dataset's name."""
    if NAME.fullmatch(name) is None:
        raise InvalidRequest(
            f"{name[:110]!r} is no name of a dataset: letters, digits, `.`, `_` and `-`, at most 100",
            param="name",
        )


def written(text: str, source: str) -> list[Item]:
    """The items in a text, JSON Lines or a table. Raises WrongCall."""
    lines = as_lines(text, source=source)
    return read_items(BytesIO(lines.encode("utf-8", "surrogatepass")), source=source)


def _note(desk: Desk, call: Call, action: str, kept: KeptDataset, **detail: Any) -> None:
    """Say in the audit log what was done to a dataset."""
    desk.note(call, action, kept.name, {"digest": kept.digest, **detail})


def gathered(desk: Desk, call: Call, wanted: RecordsIntent) -> Gathered:
    """Items of the records that match; there may be none."""
    check_names(wanted.filters, FILTERS)
    if not 1 <= wanted.limit <= ITEMS_MAX:
        raise InvalidRequest(f"limit={wanted.limit}; a dataset has 1 to {ITEMS_MAX:,} items", param="limit")
    approved = None
    if wanted.approved is not None:
        approved = Approved(score=wanted.approved, at_least=wanted.at_least, only=wanted.only)
    found = gather(
        desk.log,
        read_filter(whole(desk, wanted.filters), now=call.now, local=UTC),
        limit=wanted.limit,
        approved=approved,
        group_by=wanted.group_by or "user",
        without_key=OWN_KEY,
    )
    forgotten = desk.people.tombstones()  # some since these were read
    items = tuple(each for each in found.items if not forgotten.covers(each.user, began(each.id, call.now)))
    corrected = found.corrected.intersection(each.id for each in items)
    return msgspec.structs.replace(found, items=items, corrected=corrected)


def no_items(left_out: Mapping[str, int]) -> WrongCall:
    """What whoever wanted some is told; `left_out` counts records that became none, by cause."""
    causes = "; ".join(f"{count} {cause}" for cause, count in left_out.items())
    return WrongCall(f"no record became an item: {causes or 'none matches'}")


def check_remembered(desk: Desk, items: Iterable[Item], now: datetime) -> None:
    """In the transaction that keeps these items: raises Unavailable where one is of a call of somebody who
    was forgotten meanwhile. An erasure that comes later finds them."""
    of_calls = [each for each in items if each.record is not None and each.user is not None]
    if of_calls:
        forgotten = desk.people.tombstones()
        if any(forgotten.covers(each.user, began(each.id, now)) for each in of_calls):
            raise Unavailable("somebody whose calls are among these is being forgotten; ask again")


def show_dataset(desk: Desk, call: Call) -> DatasetDetail:
    """GET /api/v1/datasets/{name}."""
    kept = find(desk, call)
    return DatasetDetail(
        dataset=kept,
        readings=tuple(
            Reading(at=each.at, who=each.who, why=each.why) for each in desk.evals.holdout_reads(kept.digest)
        ),
        uneven=library(desk).uneven(kept),
    )


def dataset_items(desk: Desk, call: Call) -> Items:
    """GET /api/v1/datasets/{name}/items."""
    kept = find(desk, call)
    part = call.params.get("part") or "train"
    if part in OPEN_PARTS:
        items = library(desk).items(kept, OPEN_PARTS[part])
        if items:
            note_copy(desk, call, kept.name, part)
        return Items(part=OPEN_PARTS[part], items=items)
    if part == "holdout":
        raise InvalidRequest(
            f"the holdout of {kept.name!r} is locked: POST /api/v1/datasets/{kept.name}/holdout with `why`, "
            "which is written down",
            code="holdout_locked",
            param="part",
        )
    raise InvalidRequest(f"part={part[:60]!r} is none of train, validation, holdout", param="part")


def open_holdout(desk: Desk, call: Call) -> Items:
    """POST /api/v1/datasets/{name}/holdout."""
    kept, why = find(desk, call), call.intent(HoldoutIntent).why
    with desk.ledger.together():
        opened = library(desk).open_holdout(kept, who=call.actor, why=why)
        # Not why: it is free text, and what stands in the audit log can never be taken out again.
        _note(desk, call, "dataset.holdout", kept, reads_before=opened.reads_before)
    return Items(part="holdout", items=opened.items, reads_before=opened.reads_before)


def delete_dataset(desk: Desk, call: Call) -> Deleted:
    """POST /api/v1/datasets/{name}/delete."""
    kept = find(desk, call)
    with desk.ledger.together():
        library(desk).delete(kept.name)
        _note(desk, call, "dataset.delete", kept)
    return Deleted(deleted=kept.name)


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/datasets",
        summary="Datasets, newest first",
        handle=datasets,
        role="viewer",
    ),
    Route(
        method="POST",
        path="/api/v1/datasets",
        summary="Keep a dataset, made of JSON Lines or of records; all of it or nothing",
        handle=create_dataset,
        role="operator",
        body=DatasetIntent,
        body_max=UPLOAD_MAX,
    ),
    Route(
        method="GET",
        path="/api/v1/datasets/{name}",
        summary="One dataset, by name or digest, and who read its holdout",
        handle=show_dataset,
        role="reader",
    ),
    Route(
        method="GET",
        path="/api/v1/datasets/{name}/items",
        summary="The items of the train or validation part",
        handle=dataset_items,
        role="reader",
        params={"part": "train or validation; train unless given"},
    ),
    Route(
        method="POST",
        path="/api/v1/datasets/{name}/holdout",
        summary="Read the holdout: who, when and why are written down first",
        handle=open_holdout,
        role="operator",
        body=HoldoutIntent,
    ),
    Route(
        method="POST",
        path="/api/v1/datasets/{name}/delete",
        summary="Delete every version of a dataset, its items and the answers to them; reports stay",
        handle=delete_dataset,
        role="operator",
    ),
)
"""Every route about datasets."""
