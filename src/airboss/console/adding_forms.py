"""Forms that add to a dataset or change it: a recorded call on its page, rows and items on the dataset's."""

from __future__ import annotations

from typing import Any, Final

from airboss.console import api_adding, api_changing
from airboss.console.api_adding import Added
from airboss.console.api_datasets import no_items
from airboss.console.callers import Caller
from airboss.console.correcting import Corrected, fitting
from airboss.console.desk import Desk
from airboss.console.page import Action, Form
from airboss.console.quality_forms import FORM_MAX, TEXT_MAX
from airboss.console.render import url
from airboss.dialects.recorded import in_chat
from airboss.domain.errors import InvalidRequest
from airboss.domain.record import InferenceRecord
from airboss.evaluations.from_records import said_by, unfit

WRITTEN_MAX: Final = 20_000
"""Characters of an expected answer that is written into a form; the verb takes more."""


def offered(
    desk: Desk, caller: Caller, record: InferenceRecord, corrected: Corrected | None
) -> dict[str, Any] | None:
    """What the form on a record's page offers; None to who may not add. `unfit` says why it cannot be. What
    was written in place of the answer is what the field of the expected one begins with."""
    if not caller.may("operator"):
        return None
    cause = unfit(record)
    # Of another person than the caller nothing: an item goes with one who is forgotten.
    theirs = corrected is not None and corrected.by.user in (None, record.user)
    text = (corrected.by.comment or "") if corrected is not None and theirs else ""
    return {
        "unfit": cause,
        "expected": fitting(text),
        "unshown": text != "" and not fitting(text),
        "by": corrected.whose if corrected is not None else None,
        "answered": cause is None and said_by(in_chat(record).response) is not None,
        "datasets": sorted({each.name for each in desk.evals.datasets()}),
    }


def add_record(desk: Desk, form: Form) -> str:
    """Add the record whose page it is, to a dataset that is there or to a new one."""
    name = form.text("fresh") or form.text("dataset")
    if not name:
        raise InvalidRequest("no dataset is chosen; choose one, or give a new one a name", param="dataset")
    wanted = {
        "records": {
            "ids": [form.parts["id"]],
            "expected": form.said("expected", most=WRITTEN_MAX) or None,
            "answered": form.text("answered") == "yes",
            "corrected": form.text("corrected") == "yes",  # else the field says all that is expected
        },
        "part": form.text("part") or None,
        "create": bool(form.text("fresh")),
    }
    return _shown(api_adding.add_items(desk, form.call(wanted, name=name)))


def add_rows(desk: Desk, form: Form) -> str:
    """Add what is written into a form, as JSON Lines or as a table."""
    wanted = {
        "jsonl": form.needed("text", most=TEXT_MAX),
        "source": "the text",
        "part": form.text("part") or None,
    }
    return _shown(api_adding.add_items(desk, form.call(wanted)))


def add_matching(desk: Desk, form: Form, records: dict[str, Any]) -> str:
    """Add the calls that a page of records shows to the dataset that is chosen."""
    done = api_adding.add_items(desk, form.call({"matching": records}, name=form.text("onto")))
    if not done.added and not done.changed and api_adding.THERE not in done.left_out:
        raise no_items(done.left_out)
    return _shown(done)


def change_item(desk: Desk, form: Form) -> str:
    """Take an item out of a dataset, or have it expect what is written into the form."""
    id, shown = form.needed("item"), {name: form.text(name) for name in ("part", "page")}
    wanted: dict[str, Any] = {"remove": [id]}
    if form.text("what") != "remove":
        wanted = {"expected": {id: form.said("expected", most=WRITTEN_MAX) or None}}
    done = api_changing.change_items(desk, form.call(wanted))
    return url(f"/datasets/{done.dataset.digest[:16]}", {}, **shown)


def _shown(done: Added) -> str:
    """The dataset's page, with the part in which what is new may be seen."""
    assert done.dataset is not None  # what was added is in it
    part = "validation" if done.parts.get("validation") and not done.parts.get("train") else None
    told = {"corrected": done.corrected, "changed": done.changed}
    counts = {name: str(count) if count else None for name, count in told.items()}
    return url(f"/datasets/{done.dataset.digest[:16]}", {}, part=part, **counts)


ACTIONS: tuple[Action, ...] = (
    Action(
        name="dataset.add",
        path="/records/{id}/dataset",
        act=add_record,
        role="operator",
        done="The call is in this dataset.",
    ),
    Action(
        name="dataset.rows",
        path="/datasets/{name}/add",
        act=add_rows,
        role="operator",
        done="All of it is in this dataset.",
        body_max=FORM_MAX,
    ),
    Action(
        name="dataset.change",
        path="/datasets/{name}/change",
        act=change_item,
        role="operator",
        done="The dataset is changed; the version of before stays.",
        body_max=FORM_MAX,
    ),
)
"""What the forms do."""
