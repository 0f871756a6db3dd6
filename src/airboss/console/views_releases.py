"""Releases and rollouts: every version that ever served, whole, beside another; every rollout there was."""

from __future__ import annotations

import json

from airboss.console import api_releases
from airboss.console.desk import Desk
from airboss.console.fleet import fleet, release_names
from airboss.console.page import Page, View, asking, period_of
from airboss.console.render import Visit
from airboss.console.rollout_story import story
from airboss.console.rollout_words import Doing, doings
from airboss.console.route import Call
from airboss.console.views_deployments import COARSE, difference
from airboss.console.views_governance import defined
from airboss.domain.errors import NotFound
from airboss.rollouts.live import Rollout

ROLLOUTS = 100
RELEASES_MAX = 500
"""Listed, the newest."""

EXAMPLES_MAX = 50


def asked(seen: Visit) -> Call:
    """The call that a program would make."""
    return asking(seen)


def rollouts(desk: Desk, _seen: Visit) -> View:
    """Every rollout, the newest first."""
    return View("rollouts.html", rollouts=desk.rollouts.list(limit=ROLLOUTS))


def rollout(desk: Desk, seen: Visit) -> View:
    """One rollout, over or not."""
    found = desk.rollouts.get(seen.parts["id"])
    if found is None:
        raise NotFound(f"no rollout {seen.parts['id'][:80]!r}; /rollouts lists them", param="id")
    return View(
        "rollout.html",
        r=found,
        story=story(desk, found),
        doings=still(desk, seen, found),
        names=release_names(desk),
        changes=difference(desk, seen, found.baseline, found.release),
    )


def still(desk: Desk, seen: Visit, rollout: Rollout) -> tuple[Doing, ...]:
    """What can be done about a rollout: while it runs, and of one that is stable now, to take it back."""
    if rollout.final and rollout.stage.state != "promoted":
        return ()
    every = fleet(desk, period_of(desk, seen), points=COARSE, now=seen.now)
    found = next((each for each in every if each.name == rollout.deployment), None)
    if found is None:
        return ()
    if not rollout.final:
        return doings(desk, found) if found.rollout is not None and found.rollout.id == rollout.id else ()
    if found.rollout is not None or found.view.stable != rollout.release:
        return ()
    return tuple(each for each in doings(desk, found) if each.action == "undo")


def releases(desk: Desk, seen: Visit) -> View:
    """Every release, the newest first."""
    found = api_releases.releases(desk, asked(seen))
    return View(
        "releases.html",
        releases=found.releases[:RELEASES_MAX],
        total=len(found.releases),
    )


def release(desk: Desk, seen: Visit) -> View:
    """One release, whole."""
    found = api_releases.release(desk, asked(seen))
    one = found.release
    every = api_releases.releases(desk, asked(seen))
    return View(
        "release.html",
        r=one,
        plan_first=found.plan,
        at=found.at,
        stands=found.stands,
        own_kinds=tuple((each, defined(each)) for each in (one.policy.custom if one.policy else ())),
        examples=one.examples[:EXAMPLES_MAX],
        given=tuple((name, json.dumps(value, ensure_ascii=False)) for name, value in one.params.items()),
        forced=tuple(
            (name, json.dumps(value, ensure_ascii=False)) for name, value in one.params_force.items()
        ),
        others=tuple(each for each in every.releases if each.digest != one.digest)[:RELEASES_MAX],
    )


def diff(desk: Desk, seen: Visit) -> View:
    """What tells release `b` from release `a`."""
    a, b = (api_releases.find(desk, seen.params.get(name, "")) for name in ("a", "b"))
    return View(
        "release_diff.html",
        a=a.release,
        b=b.release,
        changes=difference(desk, seen, a.release.digest, b.release.digest),
    )


PAGES: tuple[Page, ...] = (
    Page(path="/rollouts", draw=rollouts, role="viewer", room="deployments", tab="Rollouts", docs="rollouts"),
    Page(
        path="/rollouts/{id}",
        draw=rollout,
        role="viewer",
        room="deployments",
        under="/rollouts",
        docs="rollouts#how-it-is-decided",
    ),
    Page(
        path="/releases",
        draw=releases,
        role="viewer",
        room="deployments",
        tab="Releases",
        docs="configuration#releasesname",
    ),
    Page(
        path="/releases/diff",
        draw=diff,
        params=("a", "b"),
        role="reader",
        room="deployments",
        under="/releases",
        docs="configuration#releasesname",
    ),
    Page(
        path="/releases/{ref}",
        draw=release,
        role="reader",
        room="deployments",
        under="/releases",
        docs="configuration#releasesname",
    ),
)
"""The pages of this module."""
