"""Deployments: who answers in each, its live rollout with what it rests on, what changed when."""

from __future__ import annotations

from airboss.console import api_releases, api_rollouts, api_undo
from airboss.console.api_rollouts import StartIntent
from airboss.console.api_undo import UndoIntent
from airboss.console.changes import Change
from airboss.console.desk import Desk
from airboss.console.difference import Shown, shown
from airboss.console.fleet import PLANS_MAX, fleet, history, live_rollouts
from airboss.console.marks import placed
from airboss.console.page import Action, Form, Page, View, period_of
from airboss.console.query import TIME_NAMES
from airboss.console.render import Visit
from airboss.console.rollout_story import story
from airboss.console.rollout_words import doings
from airboss.console.route import Call
from airboss.domain.errors import InvalidRequest, NotFound

COARSE, FINE = 48, 120
"""Blocks of a small picture of traffic, and of a large one."""

LISTED = 20
"""Rollouts listed on a deployment's page."""


def listing(desk: Desk, seen: Visit) -> View:
    """Every deployment with the releases that answer."""
    period = period_of(desk, seen)
    return View(
        "deployments.html",
        period=period,
        keep=seen.params,
        deployments=fleet(desk, period, points=COARSE, now=seen.now),
    )


def one(desk: Desk, seen: Visit) -> View:
    """One deployment."""
    period = period_of(desk, seen)
    name = seen.parts["name"]
    every = fleet(desk, period, points=FINE, now=seen.now)
    found = next((each for each in every if each.name == name), None)
    if found is None:
        names = ", ".join(each.name for each in every[:12]) or "none yet"
        raise NotFound(f"no deployment {name[:80]!r} is served; there are {names}", param="name")
    rollouts = desk.rollouts.list(deployment=name, limit=LISTED)
    challenger = found.rollout.release if found.rollout is not None else found.view.candidate
    return View(
        "deployment.html",
        period=period,
        keep=seen.params,
        d=found,
        story=story(desk, found.rollout) if found.rollout is not None else None,
        doings=doings(desk, found),
        challenger=challenger,
        changes=difference(desk, seen, found.view.stable, challenger) if challenger is not None else (),
        changed=placed(desk, period, deployment=name),
        history=history(desk, name),
        plans_max=PLANS_MAX,
        before=next((each for each in rollouts if each.release == found.view.candidate and each.final), None),
    )


def difference(desk: Desk, seen: Visit, a: str, b: str) -> tuple[Shown, ...]:
    """What tells release `b` from `a`, both known by digest: prompts and examples, which are for readers."""
    return shown(changes(desk, a, b)) if seen.caller.may("reader") else ()


def changes(desk: Desk, a: str, b: str) -> tuple[Change, ...]:
    """As the admin API gives them."""
    call = Call(params={"a": a, "b": b}, path={}, body=b"", now=desk.clock.now())
    found = api_releases.release_diff(desk, call)
    return found.changes


def start(desk: Desk, form: Form) -> str:
    """Begin a rollout of the candidate that the page showed, now or at a time in UTC."""
    name = form.parts["name"]
    intent = StartIntent(
        deployment=name,
        release=form.needed("release"),
        by=form.actor,
        reason=form.needed("reason"),
        at=f"{at}Z" if (at := form.text("at")) else None,
    )
    api_rollouts.start(desk, form.call(intent))
    return f"/deployments/{name}"


def order(desk: Desk, form: Form) -> str:
    """A person's word on the rollout that the page showed: another one may run by now."""
    name, action = form.parts["name"], form.parts["action"]
    wanted = form.needed("rollout")
    live = live_rollouts(desk).get(name)
    if live is None or live.id != wanted:
        runs = f"{live.id} runs now" if live is not None else "none runs now"
        raise InvalidRequest(
            f"the page showed rollout {wanted[:60]}, and {runs}; look at it anew", param="rollout"
        )
    said = {"deployment": name, "action": action, "reason": form.needed("reason"), "by": form.actor}
    api_rollouts.order(desk, form.call(said))
    return f"/deployments/{name}"


def undo(desk: Desk, form: Form) -> str:
    """Take back the promotion that the page showed."""
    name = form.parts["name"]
    intent = UndoIntent(
        deployment=name, stable=form.needed("stable"), by=form.actor, reason=form.needed("reason")
    )
    api_undo.undo(desk, form.call(intent))
    return f"/deployments/{name}"


PAGES: tuple[Page, ...] = (
    Page(
        path="/deployments",
        draw=listing,
        params=TIME_NAMES,
        role="viewer",
        room="deployments",
        tab="Deployments",
        docs="configuration#deploymentsname",
    ),
    Page(
        path="/deployments/{name}",
        draw=one,
        params=TIME_NAMES,
        role="viewer",
        room="deployments",
        under="/deployments",
        docs="how-to#roll-out-a-change-and-take-it-back",
    ),
)
"""The pages of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(
        name="rollout.start",
        path="/deployments/{name}/rollout/start",
        act=start,
        role="operator",
        done="The rollout has begun, or begins at the time you gave. It rises by itself while no harm shows, "
        "and harm takes it back.",
    ),
    Action(
        name="rollout.undo",
        path="/deployments/{name}/rollout/undo",
        act=undo,
        role="operator",
        done="Taken back: what was stable before serves everybody, and your reason is in the audit log.",
    ),
    Action(
        name="rollout.order",
        path="/deployments/{name}/rollout/{action}",
        act=order,
        role="operator",
        done="Done: the rollout stands as you see it here, and your reason is in the audit log.",
    ),
)
"""What its forms do."""
