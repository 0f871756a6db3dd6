"""One rollout as it is kept, and how calls enter it: a fold over calls in order of admission. Pure.

Metrics whose values are known at the same time share a *lane*: what a call itself shows (errors, latency,
cost) is known at its end, each score when its scorer or a person has given it. A lane remembers how far it
has read, and of each sticky unit what it has seen; so a fold that is cut anywhere, by a kill for example,
goes on and gives the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

import msgspec

from airboss.domain.plan import Exposure
from airboss.domain.ports import WatchedCall
from airboss.domain.record import ANSWERED_BY_FALLBACK
from airboss.domain.score import as_number
from airboss.domain.verdict import Verdict
from airboss.rollouts import analysis, assign, stages
from airboss.rollouts.analysis import AnalysisState
from airboss.rollouts.metrics import Metric, worst
from airboss.rollouts.stages import Look, Rules, Stage
from airboss.rollouts.units import Counted, Sighting, Waiting, chance, dried, entering, sight
from airboss.store.wording import TIMED_OUT

CALLS = "calls"
"""The lane of what a call itself shows."""

COUNTED = ("ok", "error")
"""Calls that ended otherwise are shown, not counted."""


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics read together: `after` is the id of the last call taken."""

    name: str
    after: str = ""


class SeenUnit(msgspec.Struct, frozen=True, kw_only=True):
    """What a lane remembers of a sticky unit: where it was seen, and in which steps it has counted."""

    sighting: Sighting
    counted: tuple[tuple[str, float], ...] = ()
    """Metric and weight of the step."""


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout of `release` (a digest) against `baseline`, what was stable when it began.

    `late_s` is how long a value is waited for. `job` is the evaluation that the gate waits for. One that is
    to begin at `starts_at` has no `salt` before that, and what else it has is settled anew then.
    """

    id: str
    deployment: str
    release: str
    baseline: str
    name: str
    by: str
    started_at: datetime
    salt: str
    rules: Rules
    late_s: float
    stage: Stage
    analysis: AnalysisState
    lanes: tuple[Lane, ...]
    verdict: Verdict | None = None
    job: str | None = None
    starts_at: datetime | None = None

    @property
    def begun(self) -> bool:
        """Whether it has ever begun."""
        return self.salt != ""

    @property
    def final(self) -> bool:
        """Whether it is over."""
        return self.stage.state in stages.FINAL

    def exposure(self) -> Exposure:
        """What it exposes now."""
        return Exposure(
            rollout=self.id,
            deployment=self.deployment,
            release=self.release,
            weight=stages.weight(self.rules, self.stage),
            salt=self.salt,
        )


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout after some calls of one lane: `units` are those whose memory changed, `full` whether the
    batch was taken to its end, so that more may be there."""

    rollout: Rollout
    units: dict[str, SeenUnit]
    full: bool


def lanes(metrics: Sequence[Metric], *, after: str) -> tuple[Lane, ...]:
    """The lanes of these metrics, which begin after the call of this id."""
    names = dict.fromkeys(lane_of(metric) for metric in metrics)
    return tuple(Lane(name=name, after=after) for name in names)


def lane_of(metric: Metric) -> str:
    """The name of a metric's lane."""
    return metric.name if metric.name.startswith("score:") else CALLS


def unit_of(call: WatchedCall) -> str:
    """What was assigned with the call."""
    return assign.unit(user=call.user, session=call.session, request_id=call.id)


def sticky(unit: str) -> bool:
    """Whether the unit may come again and must be remembered."""
    return not unit.startswith("request:")


def fold(
    rollout: Rollout,
    lane: Lane,
    calls: Sequence[WatchedCall],
    *,
    weights: Mapping[int, float],
    seen: Mapping[str, SeenUnit],
    now: datetime,
) -> Folded:
    """Take calls, the next ones in order of admission, into one lane: up to the first whose value may still
    come.

    `weights` has the canary's weight under each plan of this rollout; a call under another plan is passed
    over. `seen` is what the lane remembers of the calls' sticky units. What was before `now` is known.
    """
    metrics = [metric for metric in rollout.analysis.metrics if lane_of(metric) == lane.name]
    units = dict(seen)
    changed: dict[str, SeenUnit] = {}
    queues: dict[str, list[Waiting]] = {metric.name: [] for metric in metrics}
    taken, after = 0, lane.after
    for call in calls:
        if waits(call, lane, now=now, late_s=rollout.late_s):
            break
        taken, after = taken + 1, call.id
        weight = weights.get(call.plan)
        if weight is None or call.arm not in ("stable", "canary"):
            continue
        unit, canary = unit_of(call), call.arm == "canary"
        known = units.get(unit)
        sighting = sight(known.sighting if known is not None else None, weight=weight, canary=canary)
        if sticky(unit):
            units[unit] = changed[unit] = SeenUnit(
                sighting=sighting, counted=known.counted if known is not None else ()
            )
        if not call.open and call.status not in COUNTED:
            continue
        for metric in metrics:
            queues[metric.name].append(
                Waiting(
                    unit=unit,
                    weight=weight,
                    canary=canary,
                    chance=chance(sighting, weight=weight),
                    admitted_s=call.started_at.timestamp(),
                    settled=True,
                    value=value_of(metric, call),
                )
            )
    state = rollout.analysis
    for metric in metrics:
        counted = _counted(units, metric)
        entered = entering(
            metric, queues[metric.name], counted=counted, now_s=now.timestamp(), deadline_s=rollout.late_s
        )
        for outcome in entered.outcomes:
            state = analysis.observe(state, outcome)
        after_these = partial(dried, calls=queues[metric.name], counted=entered.counted)
        state = analysis.dried(state, metric.name, after_these)
        _remember(changed, metric, entered.counted)
    moved = tuple(
        msgspec.structs.replace(each, after=after) if each.name == lane.name else each
        for each in rollout.lanes
    )
    return Folded(
        rollout=msgspec.structs.replace(rollout, analysis=state, lanes=moved),
        units=changed,
        full=taken == len(calls) > 0,
    )


def look(rollout: Rollout, *, at: datetime, ahead_s: float = 0.0) -> Look:
    """What its calls say so far. `ahead_s` as in `Look`."""
    state, units = rollout.analysis, rollout.rules.step_units
    weight = stages.weight(rollout.rules, rollout.stage)
    return Look(
        at=at,
        conclusion=analysis.conclude(state),
        evidence=analysis.evidence(state),
        units=analysis.canary_units(state),
        guards=analysis.guards(state, units=units, weight=weight),
        exhausted=analysis.exhausted(state, weight=weight),
        stopped=analysis.stopped(state),
        ahead_s=ahead_s,
    )


def _counted(units: Mapping[str, SeenUnit], metric: Metric) -> set[Counted]:
    """Who has counted by the metric, and at which weights."""
    return {
        (unit, weight) for unit, each in units.items() for name, weight in each.counted if name == metric.name
    }


def _remember(units: dict[str, SeenUnit], metric: Metric, counted: Sequence[Counted]) -> None:
    for unit, weight in counted:
        known = units.get(unit)
        if known is not None:
            counted = tuple(sorted({*known.counted, (metric.name, weight)}))
            units[unit] = msgspec.structs.replace(known, counted=counted)


def waits(call: WatchedCall, lane: Lane, *, now: datetime, late_s: float) -> bool:
    """Whether a value of the call may still come, so that those after it wait."""
    if lane.name == CALLS:
        unsettled = call.open
    else:
        name = lane.name.removeprefix("score:")
        unsettled = call.open or (call.status == "ok" and name not in call.scores)
    return unsettled and now < call.started_at + timedelta(seconds=late_s)


def value_of(metric: Metric, call: WatchedCall) -> float | None:  # noqa: PLR0911 - one return a kind
    """What a call that is open or counts says to a metric; None where it says nothing."""
    if call.open:
        return worst(metric) if metric.late == "worst" else None
    if metric.name == "error_rate":
        return 1.0 if call.status == "error" or call.error_type == ANSWERED_BY_FALLBACK else 0.0
    if metric.name.startswith("score:"):
        return as_number(call.scores.get(metric.name.removeprefix("score:")))
    if call.status == "error" and call.error_type not in TIMED_OUT:
        return None  # a quick refusal is no quick answer
    if metric.name == "cost":
        return None if call.cost_usd is None else float(call.cost_usd)
    if metric.name.startswith("ttft"):
        return call.latency_ms if call.status == "error" else call.ttft_ms
    return call.latency_ms
