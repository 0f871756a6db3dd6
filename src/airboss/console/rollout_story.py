"""A rollout as a page tells it: its steps, each metric's confidence sequence drawn, its verdicts in words.

The pictures rest on what is kept: the newest look, and the verdicts that changed something. Nothing is drawn
between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from airboss.console import metric_words
from airboss.console.api_rollouts import Apart, apart
from airboss.console.desk import Desk
from airboss.console.picture import Picture, Spread, picture
from airboss.console.text import NB
from airboss.domain.verdict import MetricEvidence, Verdict
from airboss.rollouts import stages
from airboss.rollouts.live import Rollout

SHOWN_MAX = 8
"""Verdicts drawn above the newest look, the newest of them."""


class MetricStory(msgspec.Struct, frozen=True, kw_only=True):
    """One metric: the numbers of the newest look in words, and the picture with those before it."""

    name: str
    measured: str
    now: MetricEvidence
    look: str
    finding: str
    stable: str
    canary: str
    effect: str
    low: str
    high: str
    margin: str | None
    picture: Picture | None


class StepStory(msgspec.Struct, frozen=True, kw_only=True):
    """One step: its weight, and whether it is behind, now or ahead."""

    number: int
    weight: float
    place: str


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict in words."""

    verdict: Verdict
    headline: str
    look: str


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout. `said` is the newest verdict first; `weight` is what the canary gets now."""

    rollout: Rollout
    weight: float
    steps: tuple[StepStory, ...]
    metrics: tuple[MetricStory, ...]
    said: tuple[Said, ...]
    progress: tuple[int, str] | None
    apart: tuple[Apart, ...]


def story(desk: Desk, rollout: Rollout) -> Story:
    """All that its page tells."""
    kept = tuple(desk.rollouts.verdicts(rollout.id))
    newest = rollout.verdict
    looks = [each for each in kept if newest is None or each.at < newest.at][-SHOWN_MAX:]
    return Story(
        rollout=rollout,
        weight=stages.weight(rollout.rules, rollout.stage),
        steps=steps(rollout),
        metrics=tuple(
            metric(each, before(each.metric, looks), newest)
            for each in (newest.metrics if newest is not None else ())
        ),
        said=tuple(
            Said(verdict=each, headline=metric_words.headline(each), look=metric_words.LOOKS[each.conclusion])
            for each in reversed(kept)
        ),
        progress=progress(rollout),
        apart=apart(desk, rollout, desk.clock.now()),
    )


def before(name: str, looks: Sequence[Verdict]) -> list[tuple[MetricEvidence, Verdict]]:
    """A metric's numbers at verdicts that were kept."""
    return [(one, look) for look in looks for one in look.metrics if one.metric == name]


def steps(rollout: Rollout) -> tuple[StepStory, ...]:
    """Every step, and where it stands."""
    at, over = rollout.stage.step, rollout.final
    begun = rollout.stage.state not in ("scheduled", "gate")
    return tuple(
        StepStory(
            number=number,
            weight=weight,
            place="ahead"
            if not begun or number > at
            else "now"
            if number == at and not over
            else "ended"
            if number == at
            else "behind",
        )
        for number, weight in enumerate(rollout.rules.steps)
    )


def progress(rollout: Rollout) -> tuple[int, str] | None:
    """How many canary units this step has seen, and how it ends; None outside of a step."""
    if rollout.stage.state not in ("running", "paused") or rollout.verdict is None:
        return None
    counted = max((each.canary_n for each in rollout.verdict.metrics), default=0)
    return max(0, counted - rollout.stage.units_before), ends(rollout)


def ends(rollout: Rollout) -> str:
    """How the present step ends: also for a deployment with fewer users than a step wants."""
    rules, most = rollout.rules, stages.lasting(rollout.rules.step_s_max)
    if rollout.stage.step == len(rules.steps) - 1:
        guards = ", of each guard too," if guarded(rollout) else ""
        units = f"{rules.step_units:,}{guards}"
        return f"It is the last: it ends after {units} when the evidence is enough, or after {most} without."
    least = f", though not within {stages.lasting(rules.step_s_min)}" if rules.step_s_min else ""
    guards = ", of each guard too" if guarded(rollout) else ""
    units = f"{rules.step_units:,}{guards}{least}"
    return (
        f"While no harm shows it rises after {units}, and with fewer where nobody new comes or after {most}."
    )


def guarded(rollout: Rollout) -> bool:
    """Whether it has metrics without a margin."""
    return any(each.margin is None for each in rollout.analysis.metrics)


def metric(
    now: MetricEvidence, kept: Sequence[tuple[MetricEvidence, Verdict]], newest: Verdict | None
) -> MetricStory:
    """One metric's words and picture."""
    words = partial(metric_words.difference, now.metric)
    look, finding = metric_words.finding(now)
    rows = [
        Spread(
            label=f"at {100 * verdict.weight:g}{NB}%",
            low=each.low,
            high=each.high,
            estimate=each.effect,
            note=f"n {each.canary_n:,}",
            look="past",
        )
        for each, verdict in kept
        if each.effect is not None
    ]
    if now.effect is not None and newest is not None:
        when = "now" if newest.conclusion == "hold" else "end"
        rows.append(
            Spread(
                label=f"{when}, {100 * newest.weight:g}{NB}%",
                low=now.low,
                high=now.high,
                estimate=now.effect,
                note=f"n {now.canary_n:,}",
                look=look,
            )
        )
    return MetricStory(
        name=now.metric,
        measured=metric_words.measured(now.metric),
        now=now,
        look=look,
        finding=finding,
        stable=metric_words.value(now.metric, now.stable_mean),
        canary=metric_words.value(now.metric, now.canary_mean),
        effect=words(now.effect),
        low=words(now.low),
        high=words(now.high),
        margin=None if now.margin is None else words(now.margin).lstrip("+"),
        picture=picture(
            rows,
            margin=now.margin,
            higher_is_better=now.higher_is_better,
            words=partial(metric_words.axis, now.metric),
        ),
    )
