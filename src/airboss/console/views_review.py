"""What people of the house think of answers: a sample of them one by one, and the form on a record's page."""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from urllib.parse import parse_qsl, urlsplit

from airboss.console import api_scores, correcting
from airboss.console.api_scores import Judgement
from airboss.console.conversation import conversation
from airboss.console.desk import Desk
from airboss.console.page import Action, Form, Page, View, asking, current_plan, period_of
from airboss.console.query import STATUSES, check_names, read_period
from airboss.console.render import Visit, url
from airboss.console.review import (
    ASK,
    FILTERS,
    LABELS_MAX,
    NAMES,
    PLAN,
    SIZE,
    Review,
    begun,
    next_of,
    read_review,
    value_of,
    whole,
)
from airboss.console.views import deployment_names, one
from airboss.domain.errors import InvalidRequest
from airboss.evaluations.from_records import OWN_KEY
from airboss.evaluations.sampling import SIZE_MAX, Drawn, draw
from airboss.store.opinions import COMMENT_CHARS_MAX, CORRECTION, LABEL_CHARS_MAX, plainly, read_value

ADDRESS_MAX = 8_000
"""Of a review's address, in characters."""

SHOWN = ("deployment", "status", "score", "tag", "model", "user")
"""Filters that the form has; others come along from the records' page."""


def review(desk: Desk, seen: Visit) -> View:
    """What to judge, to be chosen; and then the next of it, or what came of it."""
    return judging(desk, seen) if "begun" in seen.params else choosing(desk, seen)


def choosing(desk: Desk, seen: Visit) -> View:
    """The form that begins a review."""
    period = period_of(desk, seen)
    stats = desk.log.score_stats(period.since, period.until, without_key=OWN_KEY)
    plan = current_plan(desk)
    return View(
        "review.html",
        plan=plan,
        period=period,
        keep={"status": "ok", **seen.params},
        deployments=sorted(deployment_names(plan) | {each.deployment for each in stats}),
        judges=sorted({each.name for each in stats if each.judged}),
        names=sorted({each.name for each in stats if each.judged or each.reviewed} - {CORRECTION}),
        statuses=STATUSES,
        others=[name for name in FILTERS if name not in SHOWN and seen.params.get(name)],
        ask=ASK,
        size=SIZE,
        size_max=SIZE_MAX,
        labels_max=LABELS_MAX,
    )


def judging(desk: Desk, seen: Visit) -> View:
    """The next answer of a review, or its end."""
    actor = asking(seen).actor
    plan = read_review(seen.params, by=actor, now=seen.now, local=seen.zone)
    found = draw(desk.log, plan.draw)
    at = whole(seen.params, "at", 0, least=0, most=SIZE_MAX)
    place = next_of(found.ids, found.said, at)
    last = seen.params.get("last", "")
    values = {
        "review": plan,
        "total": len(found.ids),
        "judged": len(found.said),
        "last": last if last in found.said else None,
        "again": url("/review", {k: v for k, v in seen.params.items() if k not in ("begun", "at", "last")}),
    }
    if place is None:
        return View(
            "reviewed.html",
            skipped=next_of(found.ids, found.said, 0),
            said=counted(found),
            **values,
        )
    record = one(desk, seen, found.ids[place])
    return View(
        "reviewing.html",
        r=record,
        talk=conversation(record),
        righted=correcting.field(record, desk.log.scores_of([record.id]), actor),
        place=place,
        skip=url("/review", seen.params, at=str(place + 1)),
        **values,
    )


def counted(found: Drawn) -> list[tuple[str, int]]:
    """How often each value was given, the most first."""
    values = [each.value for each in found.said.values() if each.value is not None]
    return Counter(map(plainly, values)).most_common()


def start(desk: Desk, form: Form) -> str:
    """Begin a review: its time and its sample stand still from here on."""
    del desk
    params = {name: form.text(name) for name in (*PLAN, "range") if form.text(name)}
    period = read_period(params, now=form.now, local=form.now.tzinfo or UTC, default="24h")
    wanted = begun(params, since=period.since, until=period.until, now=form.now)
    read_review(wanted, by=form.actor, now=form.now, local=UTC)
    return url("/review", wanted)


def judge(desk: Desk, form: Form) -> str:
    """Judge an answer of a review and go on to the next."""
    params, plan = of_form(form)
    made = Judgement(
        name=plan.draw.name,
        value=value_of(plan, form.needed("value", most=LABEL_CHARS_MAX)),
        comment=form.text("comment", most=COMMENT_CHARS_MAX) or None,
        correction=correcting.written(form),
        sampled=plan.sampled,
    )
    record_id = form.needed("id")
    api_scores.judge(desk, form.call(made, id=record_id))
    place = whole(form.fields, "place", 0, least=0, most=SIZE_MAX)
    return url("/review", params, at=str(place + 1), last=record_id)


def undo(desk: Desk, form: Form) -> str:
    """Take back the last judgement of a review and show that answer again."""
    params, plan = of_form(form)
    record_id = form.needed("id")
    api_scores.judge(desk, form.call(Judgement(name=plan.draw.name, value=None), id=record_id))
    ids = draw(desk.log, plan.draw).ids
    return url("/review", params, at=str(ids.index(record_id)) if record_id in ids else None, last=None)


def of_form(form: Form) -> tuple[dict[str, str], Review]:
    """The review that a form is of: it stands in the address that the form was at."""
    address = urlsplit(form.needed("back", most=ADDRESS_MAX))
    params = dict(parse_qsl(address.query))
    check_names(params, NAMES)
    if address.path != "/review" or "begun" not in params:
        raise InvalidRequest("the form is of no review that has begun; begin one on the page Review")
    return params, read_review(params, by=form.actor, now=form.now, local=UTC)


def score(desk: Desk, form: Form) -> str:
    """Judge the record whose page it is, or take back what one said."""
    taken_back = form.text("undo") == "yes"
    api_scores.judge(
        desk,
        form.call(
            Judgement(
                name=form.needed("name", most=LABEL_CHARS_MAX),
                value=None if taken_back else read_value(form.needed("value", most=LABEL_CHARS_MAX)),
                comment=form.text("comment", most=COMMENT_CHARS_MAX) or None,
                correction=correcting.written(form),
            )
        ),
    )
    return form.text("back") or f"/records/{form.parts['id']}"


PAGES: tuple[Page, ...] = (
    Page(
        path="/review",
        draw=review,
        params=NAMES,
        room="quality",
        role="reader",
        tab="Review",
        docs="how-to#let-people-judge-answers",
    ),
)
"""The pages of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(
        name="record.score",
        path="/records/{id}/score",
        act=score,
        done="Your judgement stands as you see it.",
        role="reader",
    ),
    Action(name="review.start", path="/review/start", act=start, done="", role="reader"),
    Action(name="review.judge", path="/review/judge", act=judge, done="", role="reader"),
    Action(
        name="review.undo",
        path="/review/undo",
        act=undo,
        done="Your last judgement is taken back.",
        role="reader",
    ),
)
"""What its forms do."""
