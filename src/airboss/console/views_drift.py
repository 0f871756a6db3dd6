"""Drift: whether calls and answers are still what they were."""

from __future__ import annotations

from typing import Final

from airboss.console import api_drift
from airboss.console.desk import Desk
from airboss.console.page import Action, Form, Page, View, asking
from airboss.console.render import Visit
from airboss.evaluations.drift_checks import REPEATS
from airboss.evaluations.drift_words import WORDS

ORDER: Final = {"drifted": 0, "watching": 1, "learning": 2, "off": 3}


def drift(desk: Desk, seen: Visit) -> View:
    """Every deployment, those that drifted first."""
    found = api_drift.drifts(desk, asking(seen))
    listed = sorted(found.deployments, key=lambda each: (ORDER[each.state], each.deployment))
    return View("drift.html", deployments=listed, words=WORDS, repeats=REPEATS)


def accept(desk: Desk, form: Form) -> str:
    """What is now is usual."""
    api_drift.accept(desk, form.call(None, deployment=form.needed("deployment")))
    return "/quality/drift"


PAGES: tuple[Page, ...] = (
    Page(
        path="/quality/drift",
        draw=drift,
        role="viewer",
        room="quality",
        tab="Drift",
        docs="configuration#drift",
    ),
)
"""The pages of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(
        name="drift.accept",
        path="/quality/drift/accept",
        act=accept,
        role="operator",
        done="Accepted: the next calls are the reference that later ones are compared with.",
    ),
)
"""What its forms do."""
