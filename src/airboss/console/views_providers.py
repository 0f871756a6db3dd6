"""Providers: every place that may answer a call, whether it does, how fast, and a button that asks it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import msgspec

from airboss.console.api_alarms import in_force
from airboss.console.desk import Desk
from airboss.console.page import Action, Form, Page, View, current_plan
from airboss.console.render import Visit
from airboss.domain.errors import InvalidRequest, NotFound
from airboss.domain.plan import ServingPlan, Target
from airboss.domain.status import BreakerStatus
from airboss.evaluations.datasets import Input, input_digest
from airboss.evaluations.ports import Call
from airboss.evaluations.ports import Target as AskedRelease
from airboss.releases.sharing import beside, sharing
from airboss.store.wording import OUT_TITLES, out_step, out_whose
from airboss.telemetry.metrics import TargetUse

QUESTION = "Answer with the one word: ready"
TOKENS = 16
STATES = {0: ("ok", "closed"), 1: ("wait", "half open"), 2: ("bad", "open")}
"""A breaker's states: how each looks, and its word."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A model at a provider. `roles` says whose it is; `uses` are its places that have been asked, `waiting`
    the addresses of those that have not."""

    target: Target
    roles: tuple[str, ...]
    uses: tuple[TargetUse, ...]
    waiting: tuple[str, ...]
    asked_by: AskedRelease | None


def listing(desk: Desk, _seen: Visit) -> View:
    """Every provider's models and their places."""
    plan = current_plan(desk)
    found = shown(plan, desk.targets()) if plan is not None else ()
    there = desk.plays is not None
    otlp = in_force(desk).telemetry.otlp
    out = {
        (each.provider, each.model, each.url, each.key or ""): each
        for each in desk.status().breakers
        if each.out_since is not None
    }
    given = {"models": found, "states": STATES, "there": there, "sent_on": otlp}
    return View("providers.html", **given, out=out, titles=OUT_TITLES, advice=advice)


def advice(place: BreakerStatus) -> str:
    """Whose calls meet a place that is out, and what to do about it."""
    step = out_step(
        provider=place.provider,
        last_failure=place.last_failure,
        last_status=place.last_status,
        limited=place.limited,
    )
    whose = out_whose(place.deployments, place.instead, place.stranded)
    return f"{whose} {step}".strip()


def shown(plan: ServingPlan, uses: Sequence[TargetUse]) -> tuple[Shown, ...]:
    """Every model that the plan may ask, by provider and name."""
    targets: dict[tuple[str, str], Target] = {}
    roles: dict[tuple[str, str], dict[str, None]] = {}
    for target in plan.targets():
        key = (target.provider, target.upstream_model)
        targets.setdefault(key, target)
        roles.setdefault(key, {})
    for each in plan.deployments:
        for target in (each.target, *([each.canary.served.target] if each.canary is not None else [])):
            for one, share in zip_longest(sharing(target), target.shares):
                part = f"{each.name} ({100 * share:.3g} %)" if share is not None else each.name
                roles[one.provider, one.upstream_model][part] = None
            for other in target.fallbacks[beside(target) :]:
                roles[other.provider, other.upstream_model][f"fallback of {each.name}"] = None
    found = []
    for key, target in sorted(targets.items()):
        own = tuple(use for use in uses if (use.provider, use.model) == key)
        asked = {use.url for use in own}
        found.append(
            Shown(
                target=target,
                roles=tuple(roles[key]),
                uses=own,
                waiting=tuple(url for url in dict.fromkeys(target.base_urls) if url not in asked),
                asked_by=_way(plan, target),
            )
        )
    return tuple(found)


def _way(plan: ServingPlan, target: Target) -> AskedRelease | None:
    """A release that asks just this model: the barest there is. None where only fallbacks reach it."""
    if not plan.deployments:
        return None
    key = (target.provider, target.upstream_model)
    served = [each for each in plan.served() if (each.target.provider, each.target.upstream_model) == key]
    served = [each for each in served if not each.target.shares]
    served.sort(key=lambda each: (each.release.prompt is not None, bool(each.target.fallbacks)))
    if not served:
        return None
    release = served[0].release
    own = next(
        (each for each in plan.deployments if each.stable.digest == release.digest), plan.deployments[0]
    )
    return AskedRelease(deployment=own.name, release=release.digest, name=release.name)


def test(desk: Desk, form: Form) -> str:
    """Ask a model one short question, and go on to where the answer will stand."""
    if desk.plays is None:
        raise InvalidRequest("there is no gateway here to ask; see `airboss status`")
    plan = current_plan(desk)
    provider, model = form.needed("provider"), form.needed("model")
    found = None
    for each in shown(plan, []) if plan is not None else ():
        if (each.target.provider, each.target.upstream_model) == (provider, model):
            found = each.asked_by
    if found is None:
        raise NotFound(f"no release asks {model[:80]!r} of provider {provider[:80]!r}", param="model")
    given = Input(messages=({"role": "user", "content": QUESTION},))
    call = Call(
        target=found, input=given, subject=input_digest(given), params={"max_tokens": TOKENS}, tests=True
    )
    play = desk.plays.start([call], form.now)
    desk.note(form.call(), "providers.test", f"{provider}/{model}", {"release": found.release})
    return f"/playground?play={play.id}"


PAGES: tuple[Page, ...] = (
    Page(
        path="/system/providers",
        draw=listing,
        role="viewer",
        room="system",
        tab="Providers",
        docs="how-to#use-your-own-provider",
    ),
)
"""The pages of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(name="providers.test", path="/system/providers/test", act=test, role="operator", done="Asked."),
)
"""What its forms do."""
