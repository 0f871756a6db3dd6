"""Changes that wait for somebody else, on a page: what each would do, and a form that decides."""

from __future__ import annotations

from typing import Any

import msgspec

from airboss.console import api_approvals
from airboss.console.api_approvals import ApprovalRow
from airboss.console.desk import Desk
from airboss.console.difference import Shown, shown
from airboss.console.page import Action, Form, Page, View, asking
from airboss.console.render import Visit
from airboss.governance.approvals import PATH

CHANGES_MAX = 200
"""Settings of a configuration that are shown one by one."""
DECIDED = 50


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A change that waits. `own`: whoever looks has asked for it."""

    row: ApprovalRow
    changes: tuple[Shown, ...]
    total: int
    problem: str | None
    release: str | None
    at: str | None
    own: bool


def page(desk: Desk, seen: Visit) -> View:
    """What waits, each with what it would change now, and what was decided."""
    waiting = api_approvals.approvals(desk, asking(seen, state="waiting")).approvals
    decided = [
        each for each in api_approvals.approvals(desk, asking(seen)).approvals if each.state != "waiting"
    ]
    return View(
        "approvals.html",
        waiting=[whole(desk, seen, each) for each in waiting],
        decided=decided[:DECIDED],
        required=desk.in_force().approvals.required,
    )


def whole(desk: Desk, seen: Visit, row: ApprovalRow) -> Waiting:
    """One that waits, with what it asks for."""
    call = msgspec.structs.replace(asking(seen), path={"number": str(row.number)})
    found = api_approvals.approval(desk, call)
    asks: Any = found.asks
    return Waiting(
        row=row,
        changes=shown(found.changes[:CHANGES_MAX]),
        total=len(found.changes),
        problem=found.problem,
        release=asks.get("release") or asks.get("rollout"),
        at=asks.get("at"),
        own=found.own,
    )


def approve(desk: Desk, form: Form) -> str:
    """Make it."""
    api_approvals.approve(desk, form.call({"reason": form.text("reason")}))
    return PATH


def reject(desk: Desk, form: Form) -> str:
    """Leave it."""
    api_approvals.reject(desk, form.call({"reason": form.text("reason")}))
    return PATH


PAGES: tuple[Page, ...] = (
    Page(
        path=PATH,
        draw=page,
        role="operator",
        room="governance",
        tab="Approvals",
        docs="how-to#let-somebody-else-approve-changes",
    ),
)
"""The pages of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(
        name="approvals.approve",
        path=PATH + "/{number}/approve",
        act=approve,
        role="operator",
        done="Approved and made. The audit log has who asked and who approved.",
    ),
    Action(
        name="approvals.reject",
        path=PATH + "/{number}/reject",
        act=reject,
        role="operator",
        done="Rejected: nothing was changed.",
    ),
)
"""What the forms of this module do."""
