"""Changing a dataset that is there, in the admin API: items taken out, and what others are to expect."""

from __future__ import annotations

from typing import Any

import msgspec

from airboss.console.api_adding import EXPECTED_MAX, TRIES, newest_name
from airboss.console.api_datasets import UPLOAD_MAX, check_remembered, library, written
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.errors import InvalidRequest, Unavailable
from airboss.evaluations.datasets import Item, input_digest
from airboss.evaluations.library import KeptDataset


class ChangeIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change in a dataset: items whose ids `remove` names are taken out. `expected` says by id what
    an item is to expect, any JSON, null for nothing. `jsonl` says it by lines, of which each names an item by
    its `id` or its question; one without `expected` changes nothing."""

    remove: tuple[str, ...] = ()
    expected: dict[str, Any] = {}
    jsonl: str | None = None
    source: str = "the request's jsonl"


class ChangedDataset(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the dataset as it is now, how many items were taken out, how many expect something
    else now, and of how many it was the same before."""

    dataset: KeptDataset
    removed: int
    changed: int
    same: int


def change_items(desk: Desk, call: Call) -> ChangedDataset:
    """POST /api/v1/datasets/{name}/change."""
    wanted = call.intent(ChangeIntent)
    lines = _lines(wanted)
    expected = {**wanted.expected, **{each.id: each.expected for each in lines}}
    asked = {each.id: input_digest(each.input) for each in lines}
    if not wanted.remove and not expected:
        raise InvalidRequest("nothing is to change: name items in `remove`, or what they are to expect")
    for id, value in expected.items():
        if len(msgspec.json.encode(value)) > EXPECTED_MAX:
            raise InvalidRequest(
                f"what {id[:200]!r} is to expect has more than {EXPECTED_MAX // 1024} KiB; shorten it",
                param="expected",
            )
    name = newest_name(desk, call)
    for _ in range(TRIES):
        joined = library(desk).change(name, removed=wanted.remove, expected=expected, asked=asked)
        changed, removed = len(joined.items), len(joined.gone) - len(joined.items)
        with desk.ledger.together():
            grown = library(desk).grow(joined)
            if grown is None:
                continue
            if joined.gone:
                check_remembered(desk, joined.items, call.now)
                kept = grown.dataset
                detail = {"digest": kept.digest, "onto": joined.onto, "removed": removed, "changed": changed}
                desk.note(call, "dataset.change", kept.name, {**detail, "sizes": kept.sizes})
            return ChangedDataset(dataset=grown.dataset, removed=removed, changed=changed, same=joined.there)
    raise Unavailable(f"{TRIES} others have changed {name!r} meanwhile; ask again")


def _lines(wanted: ChangeIntent) -> list[Item]:
    """The lines that say what is expected."""
    if wanted.jsonl is None:
        return []
    found = written(wanted.jsonl, wanted.source[:200])
    said = [each for each in found if each.expected is not None]
    if not said:
        raise InvalidRequest(
            f"{wanted.source[:200]} says of no item what it is to expect; there is nothing to change",
            param="jsonl",
        )
    double = sorted({each.id for each in said} & wanted.expected.keys())
    if double:
        raise InvalidRequest(f"what {double[0][:200]!r} is to expect is said twice; say it once")
    return said


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/api/v1/datasets/{name}/change",
        summary="Take items out of the newest version of a dataset, or have them expect something else",
        handle=change_items,
        role="operator",
        body=ChangeIntent,
        body_max=UPLOAD_MAX,
    ),
)
"""Every route about changing datasets."""
