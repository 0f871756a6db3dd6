"""Tuning on pages: what was searched, what it found, and whether the holdout says that it is better."""

from __future__ import annotations

from typing import Any

import msgspec

from airboss.console import api_tune
from airboss.console.desk import Desk
from airboss.console.fleet import release_names
from airboss.console.page import Page, View, asking, current_plan
from airboss.console.picture import Picture, Spread, picture
from airboss.console.render import Visit
from airboss.console.rollout_words import Doing
from airboss.console.scatter import scatter
from airboss.console.views_quality import cancelling, dataset_names
from airboss.evaluations.intervals import Interval
from airboss.rollouts.live import Rollout
from airboss.tuning.acceptance import Judgement
from airboss.tuning.board import Standing
from airboss.tuning.finetune_plan import FinetuneResult
from airboss.tuning.plan import TuneResult

LISTED = 100
CANDIDATES = 40
"""In the table, the best first; the API has all."""

PROMPT_MAX = 4_000
MINUS = "\N{MINUS SIGN}"


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """How far a release has come in its deployment: its newest `rollout`, and whether it is stable."""

    stable: bool
    rollout: Rollout | None


def tunings(desk: Desk, seen: Visit) -> View:
    """Every tuning, the newest first."""
    found = api_tune.tunes(desk, asking(seen, limit=str(LISTED)))
    return View(
        "tunings.html",
        tunes=found.tunes,
        **known(desk),
    )


def tuning(desk: Desk, seen: Visit) -> View:
    """One tuning, over or not."""
    found = api_tune.show_tune(desk, asking(seen))
    t, result = found.summary, found.result
    every = standings(result) if result is not None else ()
    return View(
        "tuning.html",
        t=t,
        result=result,
        uneven=found.uneven,
        **known(desk),
        gain=gained(result.judgement) if result is not None else None,
        holdout=gain_picture(result.judgement) if result is not None else None,
        scatter=drawn_scatter(result, every) if result is not None else None,
        frontier={each.release for each in result.frontier} if result is not None else set(),
        candidates=[(each, spread(each.difference)) for each in every[:CANDIDATES]],
        candidates_total=len(every),
        today=result.base.release if result is not None else None,
        chosen=result.chosen.release if result is not None and result.chosen is not None else None,
        prompt=proposed_prompt(result),
        reached=reached(desk, result),
        starting=rollout_of(desk, result),
        doing=cancelling(t.id, t.state),
    )


def known(desk: Desk) -> dict[str, Any]:
    """What is there, so that a page can name it and lead to it."""
    return {"names": release_names(desk), "there": dataset_names(desk), "served": served(desk)}


def served(desk: Desk) -> frozenset[str]:
    """The deployments that have a page."""
    plan = current_plan(desk)
    return frozenset(each.name for each in plan.deployments) if plan is not None else frozenset()


def standings(result: TuneResult) -> tuple[Standing, ...]:
    """Today's release and every candidate once, the best score first."""
    every = {each.release: each for each in (*result.frontier, *result.candidates, result.today)}
    return tuple(sorted(every.values(), key=lambda each: -each.score))


def drawn_scatter(result: TuneResult, every: tuple[Standing, ...]) -> object:
    """What more tokens buy."""
    return scatter(
        every,
        today=result.today.release,
        chosen=result.chosen.release if result.chosen is not None else None,
        frontier=[each.release for each in result.frontier],
    )


def gain_picture(judgement: Judgement | None, *, label: str = "best minus today") -> Picture | None:
    """The gain on the holdout, about zero."""
    if judgement is None or judgement.gain is None:
        return None
    gain = judgement.gain
    look = "ok" if judgement.better else "bad" if gain.high < 0 else "open"
    row = Spread(
        label=label,
        low=gain.low,
        high=gain.high,
        estimate=gain.estimate,
        note=f"n {judgement.items:,}",
        look=look,
    )
    return picture([row], margin=None, higher_is_better=None, words=signed)


def gained(judgement: Judgement | None) -> str | None:
    """The gain in words."""
    return spread(judgement.gain) if judgement is not None else None


def spread(found: Interval | None) -> str | None:
    """A difference with its interval."""
    return (
        None if found is None else f"{signed(found.estimate)} ({signed(found.low)} to {signed(found.high)})"
    )


def signed(number: float) -> str:
    """A difference with its sign."""
    return "0" if number == 0 else f"{number:+.3g}".replace("-", MINUS)


def proposed_prompt(result: TuneResult | None) -> str | None:
    """The prompt that was found, of bounded length."""
    if result is None or result.release is None or result.release.prompt is None:
        return None
    text = result.release.prompt
    return text if len(text) <= PROMPT_MAX else text[:PROMPT_MAX] + " …"


def reached(desk: Desk, result: TuneResult | FinetuneResult | None) -> Reached | None:
    """How far what was found has come; None where nothing was put into the configuration."""
    if result is None or result.proposed is None or result.release is None:
        return None
    digest, plan = result.release.digest, current_plan(desk)
    own = [each for each in plan.deployments if each.name == result.deployment] if plan is not None else []
    rollouts = desk.rollouts.list(deployment=result.deployment)
    return Reached(
        stable=any(each.stable.digest == digest for each in own),
        rollout=next((each for each in rollouts if each.release == digest), None),
    )


def rollout_of(desk: Desk, result: TuneResult | FinetuneResult | None) -> Doing | None:
    """The button that begins a rollout of what was found; None where that cannot be, or it is stable."""
    came = reached(desk, result)
    if came is None or came.stable or result is None or result.proposed is None or result.release is None:
        return None
    deployment, release, proposed = result.deployment, result.release, result.proposed
    if deployment not in served(desk):
        return None
    if any(each.deployment == deployment and not each.final for each in desk.rollouts.list()):
        return None
    return Doing(
        action="start",
        label="Start its rollout",
        confirm=f"Start the rollout of {proposed}",
        happens=f"The callers of {deployment} get it by the steps of its configuration, after the "
        "gate where there is one. Harm takes it back by itself.",
        undo="Abort the rollout on the deployment's page: everybody gets today's release again.",
        hidden=(("release", release.digest),),
    )


PAGES: tuple[Page, ...] = (
    Page(
        path="/tuning", draw=tunings, role="viewer", room="tuning", tab="Prompts", docs="how-to#tune-a-prompt"
    ),
    Page(
        path="/tuning/{id}",
        draw=tuning,
        role="reader",
        room="tuning",
        under="/tuning",
        docs="how-to#tune-a-prompt",
    ),
)
"""The pages of this module."""
