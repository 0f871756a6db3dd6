"""Recorded calls scored because somebody asked for it: the form's deed, and what came of it."""

from __future__ import annotations

from airboss.console import api_datasets, api_scorings
from airboss.console.desk import Desk
from airboss.console.eval_story import too_few
from airboss.console.page import Action, Form, Page, View, asking
from airboss.console.quality_forms import scorers_of
from airboss.console.render import Visit
from airboss.console.views_quality import cancelling
from airboss.domain.errors import InvalidRequest
from airboss.evaluations.few import SCORED_UNIT


def begin(desk: Desk, form: Form) -> str:
    """Score calls that match the list's filters, which are fields of the form."""
    filters = {name: value for name in api_datasets.FILTERS if (value := form.fields.get(name))}
    most = form.text("limit")
    if not (most.isascii() and most.isdigit()):
        raise InvalidRequest(f"limit is {most[:40]!r}; write how many calls", param="limit")
    order = {"filters": filters, "scorers": scorers_of(form), "limit": int(most)}
    return f"/scorings/{api_scorings.run_scoring(desk, form.call(order)).id}"


def scoring(desk: Desk, seen: Visit) -> View:
    """What the scorers say."""
    found = api_scorings.show_scoring(desk, asking(seen))
    report = found.report
    return View(
        "scoring.html",
        s=found.summary,
        report=report,
        few=too_few(report.comparisons, what="call", unit=SCORED_UNIT, alone=True) if report else (),
        doing=cancelling(found.summary.id, found.summary.state),
    )


PAGES: tuple[Page, ...] = (
    Page(
        path="/scorings/{id}",
        draw=scoring,
        role="reader",
        room="quality",
        under="/jobs",
        docs="how-to#score-live-answers",
    ),
)
"""The page of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(
        name="scoring.run",
        path="/jobs",
        act=begin,
        role="operator",
        done="It has begun; this page goes on by itself.",
    ),
)
"""What its form does."""
