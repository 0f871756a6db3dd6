"""Forms that begin an evaluation, and keep or delete a dataset."""

from __future__ import annotations

from typing import Any, Final

from airboss.console import api_datasets, api_eval
from airboss.console.desk import Desk
from airboss.console.fleet import release_names
from airboss.console.page import Action, Form, Once, View, current_plan
from airboss.console.rollout_words import Doing
from airboss.domain.errors import InvalidRequest
from airboss.domain.plan import ServingPlan
from airboss.evaluations.library import KeptDataset
from airboss.evaluations.online import lacking, scorer_of

TEXT_MAX: Final = 2_000_000
"""Characters of a dataset that is written into a form; the verb takes more."""
FORM_MAX: Final = 8 * 1024 * 1024
LINES_MAX: Final = 4_000
"""Characters of scorers that are written out."""
SCORERS: Final = {
    "exact": "is what is expected",
    "contains": "holds what is expected",
    "tool_calls": "calls what is expected",
    "refusal": "no refusal",
    "length": "in characters",
    "latency": "in ms",
    "cost": "in USD",
}
"""Scorers that need no more than their name."""


FIELDS: Final = (
    "dataset",
    "deployment",
    "release",
    "app",
    "answers",
    "baseline",
    "scorer",
    "judge",
    "gate",
    "scorers",
    "part",
    "why",
)
"""What the form of an evaluation asks for."""


def choices(desk: Desk) -> dict[str, Any]:
    """What the form of an evaluation offers."""
    plan = current_plan(desk)
    return {
        "datasets": sorted({each.name for each in desk.evals.datasets()}),
        "deployments": sorted(each.name for each in plan.deployments) if plan is not None else [],
        "releases": sorted({name for name in release_names(desk).values() if name}),
        "scorers": SCORERS,
    }


def choices_live(plan: ServingPlan | None) -> dict[str, Any]:
    """What the form that scores recorded calls offers."""
    return {
        "scorers": {name: words for name, words in SCORERS.items() if lacking(scorer_of(name)) is None},
        "deployments": sorted(each.name for each in plan.deployments) if plan is not None else [],
    }


def begin(desk: Desk, form: Form) -> str | Once:
    """Begin an evaluation, as the verb does, and show it; or say what it would cost, and begin nothing."""
    gate = form.text("gate")
    judged = [name for each in form.text("release", most=LINES_MAX).split(",") if (name := each.strip())]
    order = {
        "dataset": form.needed("dataset"),
        "deployment": form.needed("deployment"),
        **({"releases": judged} if len(judged) > 1 else {"release": "".join(judged) or None}),
        **answered(form),
        "baseline": form.text("baseline") or None,
        "scorers": scorers_of(form),
        "part": form.text("part") or "validation",
        "gates": [gate] if gate else [],
        "why": form.text("why") or None,
    }
    if form.text("what") == "estimate":
        found = api_eval.estimate_eval(desk, form.call(order))
        kept = [(name, value) for name in FIELDS for value in form.every.get(name, ()) if value]
        view = View("estimate.html", found=found, kept=kept, back=form.text("back"))
        return Once(view=view, room="quality", tab="/evaluations")
    return f"/evaluations/{api_eval.run_eval(desk, form.call(order)).id}"


def scorers_of(form: Form) -> list[str]:
    """The scorers that a form has chosen. Raises InvalidRequest where there is none."""
    judge = form.text("judge")
    lines = form.text("scorers", most=LINES_MAX).splitlines()
    scorers = [
        *form.every.get("scorer", ()),
        *([f"llm_judge:{judge}"] if judge else []),
        *(each.strip() for each in lines if each.strip()),
    ]
    if not scorers:
        raise InvalidRequest("no scorer is chosen; choose one at least", param="scorers")
    return scorers


def answered(form: Form) -> dict[str, Any]:
    """What an app answered, as an order has it, where anything of it is filled in."""
    if not form.text("app") and not form.text("answers", most=TEXT_MAX):
        return {}
    jsonl = form.needed("answers", most=TEXT_MAX)
    return {"answers": {"name": form.needed("app"), "jsonl": jsonl, "source": "the text"}}


def keep(desk: Desk, form: Form) -> str:
    """Keep a dataset that is written into a form, as JSON Lines or as a table."""
    train, validation = (percent(form, part) for part in ("train", "validation"))
    wanted = {
        "name": form.needed("dataset"),
        "jsonl": form.needed("text", most=TEXT_MAX),
        "source": "the text",
        "train": train / 100,
        "validation": validation / 100,
    }
    return f"/datasets/{api_datasets.create_dataset(desk, form.call(wanted)).dataset.digest[:16]}"


def percent(form: Form, name: str) -> int:
    """A field that says how many percent. Raises InvalidRequest."""
    text = form.text(name)
    if not (text.isascii() and text.isdigit() and int(text[:4]) <= 100):
        raise InvalidRequest(f"{name} is {text[:40]!r}; write 0 to 100, in percent", param=name)
    return int(text)


def deleting(kept: KeptDataset) -> Doing:
    """The button that deletes a dataset."""
    return Doing(
        action="delete",
        label="Delete",
        confirm=f"Delete {kept.name}",
        happens=f"Every version of {kept.name} goes, with the answers to its items. Reports of evaluations "
        "on it stay, and so does who read its holdout. What is under way on it fails and keeps no more.",
        undo="Nothing does: make it anew, of the same file or calls.",
        hidden=(),
        danger=True,
        reasoned=False,
    )


def delete(desk: Desk, form: Form) -> str:
    """Delete a dataset in all its versions."""
    api_datasets.delete_dataset(desk, form.call())
    return "/datasets"


ACTIONS: tuple[Action, ...] = (
    Action(
        name="eval.run",
        path="/evaluations",
        act=begin,
        role="operator",
        done="It has begun; this page goes on by itself.",
        body_max=FORM_MAX,
    ),
    Action(
        name="dataset.keep",
        path="/datasets/text",
        act=keep,
        role="operator",
        done="The dataset is kept.",
        body_max=FORM_MAX,
    ),
    Action(
        name="dataset.delete",
        path="/datasets/{name}/delete",
        act=delete,
        role="operator",
        done="The dataset is deleted.",
    ),
)
"""What the forms do."""
