"""A prompt that is no release yet, tried in the playground, and kept as one where it answers better."""

from __future__ import annotations

import msgspec

from airboss.config import parse_config
from airboss.config.checks import NAME, NAMED
from airboss.console.desk import Desk
from airboss.console.page import Action, Form, current_plan
from airboss.console.plays import Play
from airboss.console.render import url
from airboss.domain.errors import InvalidRequest, NotFound
from airboss.domain.release import Release
from airboss.evaluations.ports import Call, Target, Varied
from airboss.releases.variant import Variant, varied

PROMPT_MAX = 64_000
"""Characters of a prompt."""


def served(desk: Desk) -> dict[str, Release]:
    """The releases that the gateway knows, by digest."""
    plan = current_plan(desk)
    return {each.release.digest: each.release for each in plan.served()} if plan is not None else {}


def beginnings(desk: Desk) -> list[tuple[str, Release]]:
    """Prompts to begin with: those that each deployment serves."""
    plan = current_plan(desk)
    found = [
        (each.name, release)
        for each in (plan.deployments if plan is not None else ())
        for release in (each.stable, *([each.canary.served.release] if each.canary is not None else []))
    ]
    return [(deployment, release) for deployment, release in found if release.prompt]


def drafted(desk: Desk, call: Call, prompt: str) -> Call | None:
    """The same question as `call` to its release with another prompt; None where that is the one it has."""
    release = served(desk)[call.target.release]
    if not prompt or prompt == (release.prompt or "").strip():
        return None
    variant = Variant(prompt=prompt, examples=release.examples, form=release.form)
    target = Target(
        deployment=call.target.deployment, release=varied(release, variant).digest, name="another prompt"
    )
    return msgspec.structs.replace(
        call, target=target, varied=Varied(release=release.digest, variant=variant)
    )


def read_prompt(form: Form) -> str:
    """The prompt that a form holds. Raises InvalidRequest if it is too long."""
    return form.text("prompt", most=PROMPT_MAX)


def tried(play: Play | None) -> Call | None:
    """The call of a play that asked a draft."""
    return next((each for each in play.calls if each.varied is not None), None) if play is not None else None


def prompt_of(draft: Call | None, start: Release | None) -> str:
    """What the form's prompt holds: the one that was tried, else that of the release that is begun with."""
    if draft is not None and draft.varied is not None:
        return draft.varied.variant.prompt or ""
    return (start.prompt or "") if start is not None else ""


def kept(desk: Desk, name: str) -> str | None:
    """The name, if the configuration has a release of it."""
    text = desk.ledger.config() if name else None
    there = parse_config(text, source="the configuration in force").releases if text is not None else {}
    return name if name in there else None


def keep(desk: Desk, form: Form) -> str:
    """Write what a play tried into the configuration under a name, where a rollout may take it."""
    name, asked = form.needed("name", most=64), form.needed("play")
    if not NAME.fullmatch(name):
        raise InvalidRequest(f"{name[:80]!r} cannot be a release's name; use {NAMED}", param="name")
    call = tried(desk.plays.get(asked, form.now) if desk.plays is not None else None)
    if call is None or call.varied is None:
        raise NotFound("this play is forgotten, or tried no prompt; send it again", param="play")
    of = call.varied.release
    release = next((each.release for each in desk.ledger.releases() if each.release.digest == of), None)
    if release is None:
        raise NotFound(f"release {of[:12]} is gone; send it again to one that is served", param="play")
    made = varied(release, call.varied.variant)
    with desk.rollouts.together():
        plan = desk.rollouts.propose(name, made)
        desk.note(form.call(), "release.keep", name, {"release": made.digest, "of": of, "plan": plan.number})
    return url("/playground", {}, play=asked, kept=name)


ACTIONS: tuple[Action, ...] = (
    Action(
        name="playground.keep",
        path="/playground/keep",
        act=keep,
        role="operator",
        done="Kept in the configuration. Nobody is served by it before a rollout.",
    ),
)
"""What its form does."""
