"""Quality: scores of live calls over time, datasets, evaluations, and the jobs that do the work."""

from __future__ import annotations

from collections import Counter

import msgspec
from msgspec import UNSET

from airboss.console import api_contest, api_datasets, api_eval, api_jobs, quality_forms
from airboss.console.adding_forms import add_matching
from airboss.console.api_eval_items import OPEN, questions
from airboss.console.believed import believed
from airboss.console.desk import Desk
from airboss.console.eval_story import (
    Differing,
    Side,
    asked,
    difference_told,
    differing,
    forests,
    means,
    narrowed,
    plainly,
    told,
    too_few,
)
from airboss.console.fleet import release_names
from airboss.console.page import Action, Form, Page, View, asking, period_of
from airboss.console.query import TIME_NAMES
from airboss.console.reading import note_copy, note_one
from airboss.console.render import Visit, url
from airboss.console.review import whole
from airboss.console.rollout_words import Doing
from airboss.console.score_curves import last_failure, panels
from airboss.domain.errors import InvalidRequest
from airboss.evaluations.contest import ContestTable
from airboss.evaluations.datasets import ITEMS_MAX
from airboss.evaluations.ports import Answer
from airboss.evaluations.scorers.base import said_in
from airboss.store.job_rows import JobState

LISTED = 100
PAGES_MAX = 10_000
ITEMS_SHOWN = 25
"""Items, of a dataset or of an evaluation's differences, on one page."""

ANSWER_MAX = 1_500
SIDES: tuple[Side, ...] = ("worse", "better", "differs", "unscored", "alike")
SIDES_ALONE: tuple[Side, ...] = ("scored", "unscored")


def scores(desk: Desk, seen: Visit) -> View:
    """What scorers and people think of live calls, over time."""
    period = period_of(desk, seen)
    chosen = seen.params.get("deployment")
    shown = panels(desk, period, deployment=chosen)
    failed = [last_failure(desk, period, each) if each.unscored else None for each in shown]
    if any(failed) and seen.caller.may("reader"):  # who are told the causes, which may quote a call
        note_one(desk, asking(seen))
    return View(
        "quality.html",
        period=period,
        keep=seen.params,
        chosen=chosen,
        panels=list(zip(shown, failed, strict=True)),
        believed=believed(desk, period, seen.params),
        names=release_names(desk),
    )


def evaluations(desk: Desk, seen: Visit) -> View:
    """Every evaluation, the newest first."""
    found = api_eval.evals(desk, asking(seen, limit=str(LISTED)))
    return View(
        "evaluations.html",
        evals=[(each, means(each)) for each in found.evals],
        there=dataset_names(desk),
        offered=quality_forms.choices(desk),
    )


def evaluation(desk: Desk, seen: Visit) -> View:
    """One evaluation: its gate, the differences drawn, and the items on which the two part."""
    found = api_eval.show_eval(desk, asking(seen))
    report, plan = found.report, found.plan
    contest = contest_of(desk, seen, found.summary)
    apart = found.not_judged
    parted: list[Differing] = []
    rows = desk.evals.results(found.summary.id) if report is not None else ()
    if report is not None:
        parted = differing(rows, plan, report, questions(desk, plan), apart)
    scorer, side = seen.params.get("scorer"), seen.params.get("side")
    sides = SIDES if plan.a is not None else SIDES_ALONE
    if side is not None and side not in sides:
        raise InvalidRequest(f"side={side[:40]!r} is none of {', '.join(sides)}", param="side")
    wanted = narrowed(parted, scorer=scorer, side=side)
    page = page_of(seen)
    start = ITEMS_SHOWN * (page - 1)
    if wanted[start:] and plan.part in OPEN:
        note_copy(desk, asking(seen), f"evaluation {found.summary.id}", plan.part)
    return View(
        "evaluation.html",
        e=found.summary,
        plan_of=plan,
        there=dataset_names(desk),
        report=report,
        not_judged=found.not_judged,
        uneven=found.uneven,
        told=told(report, plan, apart) if report is not None else (),
        forests=forests(report, plan, apart) if report is not None else (),
        few=too_few(report.comparisons, what="item", unit=report.unit, alone=plan.a is None)
        if report
        else (),
        reads_before=found.holdout_reads_before,
        keep={name: value for name, value in seen.params.items() if name != "page"},
        counts={each: len(narrowed(parted, scorer=scorer, side=each)) for each in sides},
        parted_total=len(wanted),
        kept=bool(rows),
        first=start + 1,
        page=page,
        more=len(wanted) > start + ITEMS_SHOWN,
        parted=[(each, answers(desk, each, plan.part)) for each in wanted[start : start + ITEMS_SHOWN]],
        doing=cancelling(found.summary.id, found.summary.state),
        contest=contest,
        difference_told=difference_told,
    )


def contest_of(desk: Desk, seen: Visit, found: api_eval.EvalSummary) -> ContestTable | None:
    """The table of the releases that were held against the same baseline; None where there was one."""
    return None if found.contest is UNSET else api_contest.show_contest(desk, asking(seen))


def page_of(seen: Visit) -> int:
    """Which page of a list, from 1."""
    text = seen.params.get("page", "1")
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= PAGES_MAX):
        raise InvalidRequest(f"page={text[:40]!r} is not a whole number from 1 to {PAGES_MAX}", param="page")
    return int(text)


def dataset_names(desk: Desk) -> frozenset[str]:
    """The datasets that are there: an evaluation outlives its own."""
    return frozenset(each.name for each in desk.evals.datasets())


def answers(desk: Desk, found: Differing, part: str) -> tuple[str | None, str | None]:
    """What A and B said; nothing of a holdout, and nothing that was erased."""
    if part not in OPEN:
        return None, None
    texts = []
    for key in (found.key_a, found.key_b):
        kept = desk.evals.answer(key) if key is not None else None
        texts.append(said_in(msgspec.json.decode(kept, type=Answer)) if kept is not None else None)
    return cut(texts[0]), cut(texts[1])


def cut(text: str | None) -> str | None:
    """A text of bounded length."""
    return text if text is None or len(text) <= ANSWER_MAX else text[:ANSWER_MAX] + " …"


def datasets(desk: Desk, seen: Visit) -> View:
    """Every dataset in its newest version, the newest first."""
    found = api_datasets.datasets(desk, asking(seen))
    newest = {each.name: each for each in reversed(found.datasets)}
    versions = Counter(each.name for each in found.datasets)
    shown = [each for each in found.datasets if newest[each.name] is each]
    return View("datasets.html", datasets=shown[:LISTED], versions=versions, total=len(shown))


def dataset(desk: Desk, seen: Visit) -> View:
    """One dataset: its parts, some of its items, and who read its holdout."""
    part = seen.params.get("part")
    if part is not None and part not in OPEN:
        raise InvalidRequest(
            f"part={part[:40]!r}: train and validation may be looked at here; the holdout is read with "
            "`airboss dataset export NAME --part holdout --why …`, which is written down",
            param="part",
        )
    found = api_datasets.show_dataset(desk, asking(seen))
    part = part or next((each for each in OPEN if found.dataset.sizes.get(each)), "train")
    all_there = api_datasets.datasets(desk, asking(seen)).datasets
    versions = [each for each in all_there if each.name == found.dataset.name]
    items = api_datasets.dataset_items(desk, asking(seen, part=part))
    page = page_of(seen)
    start = ITEMS_SHOWN * (page - 1)
    some = items.items[start : start + ITEMS_SHOWN]
    ran = api_eval.evals(desk, asking(seen, limit=str(LISTED), dataset=found.dataset.name))
    return View(
        "dataset.html",
        d=found.dataset,
        uneven=found.uneven,
        versions=versions,
        newest=versions[0].digest == found.dataset.digest,
        readings=tuple(reversed(found.readings)),
        part=part,
        items=[
            (each, asked(each), None if each.expected is None else plainly(each.expected)) for each in some
        ],
        first=start + 1,
        page=page,
        more=len(items.items) > start + ITEMS_SHOWN,
        evals=[(each, means(each)) for each in ran.evals],
        offered=quality_forms.choices(desk),
        expects=any(each.expected is not None for each in items.items),
        corrected=whole(seen.params, "corrected", 0, least=0, most=ITEMS_MAX),
        righted=whole(seen.params, "changed", 0, least=0, most=ITEMS_MAX),
        deleting=quality_forms.deleting(found.dataset),
    )


def gather(desk: Desk, form: Form) -> str:
    """Put the calls that a page of records shows into a dataset, one that is there or a new one: its filters
    are fields of the form."""
    filters = {name: value for name in api_datasets.FILTERS if (value := form.fields.get(name))}
    records = {"filters": filters, "approved": form.text("approved") or None}
    if form.text("onto"):
        return add_matching(desk, form, records)
    made = api_datasets.create_dataset(desk, form.call({"name": form.needed("dataset"), "records": records}))
    corrected = str(made.corrected) if made.corrected else None
    return url(f"/datasets/{made.dataset.digest[:16]}", {}, corrected=corrected)


def jobs(desk: Desk, seen: Visit) -> View:
    """What is being worked at, and what was."""
    kind = seen.params.get("kind", "")
    found = api_jobs.jobs(desk, asking(seen, limit=str(LISTED), kind=kind))
    return View(
        "jobs.html",
        jobs=[(each, cancelling(each.id, each.state)) for each in found.jobs],
        kind=kind,
        kinds=sorted({each.kind for each in desk.jobs.list(None, LISTED)}),
    )


def cancelling(job_id: str, state: JobState) -> Doing | None:
    """The button that ends a job; None once it has ended."""
    if state not in ("queued", "running"):
        return None
    return Doing(
        action="cancel",
        label="Cancel",
        confirm="Cancel the job",
        happens="It ends at its next step. Answers that were paid for are kept, and callers notice nothing.",
        undo="Ask for it again: what was answered is not asked a second time.",
        hidden=(("job", job_id),),
        reasoned=False,
    )


def cancel(desk: Desk, form: Form) -> str:
    """End a job that has not ended."""
    api_jobs.cancel(desk, form.call())
    return form.text("back") or "/jobs"


PAGES: tuple[Page, ...] = (
    Page(
        path="/quality",
        draw=scores,
        params=(*TIME_NAMES, "deployment", "judge", "people", "cut"),
        role="viewer",
        room="quality",
        tab="Scores",
        docs="records#scores",
    ),
    Page(
        path="/evaluations",
        draw=evaluations,
        role="viewer",
        room="quality",
        tab="Evaluations",
        docs="how-to#compare-two-prompts",
    ),
    Page(
        path="/evaluations/{id}",
        draw=evaluation,
        params=("scorer", "side", "page"),
        role="reader",
        room="quality",
        under="/evaluations",
        docs="how-to#compare-two-prompts",
    ),
    Page(
        path="/datasets",
        draw=datasets,
        role="viewer",
        room="quality",
        tab="Datasets",
        docs="cli#airboss-dataset-create",
    ),
    Page(
        path="/datasets/{name}",
        draw=dataset,
        params=("part", "page", "corrected", "changed"),
        role="reader",
        room="quality",
        under="/datasets",
        docs="cli#airboss-dataset-create",
    ),
    Page(
        path="/jobs",
        draw=jobs,
        params=("kind",),
        role="viewer",
        room="quality",
        tab="Jobs",
        docs="cli#airboss-job-list",
    ),
)
"""The pages of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(
        name="dataset.create",
        path="/datasets",
        act=gather,
        role="operator",
        done="The dataset is kept.",
    ),
    Action(
        name="job.cancel",
        path="/jobs/{id}/cancel",
        act=cancel,
        role="operator",
        done="The job is cancelled; what it has done so far is kept.",
    ),
)
"""What its forms do."""
