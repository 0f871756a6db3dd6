"""Who counts, when, and with which chance.

**Once per step.** A sticky unit keeps its arm for a whole step, so its second outcome is no second draw:
counting each call would take one user's luck for evidence. Of each unit the first call of a step counts
that brings a value of the metric. The first, not the mean of all: it is known at once, what follows may
depend on how the arm treated the unit before, and both arms are read alike. Requests without user or
session are units of one call.

**Its chance** is the one given the unit's earlier arms. A unit seen on stable at weight w' and still there
when the step rises to w goes to the canary with (w - w') / (1 - w'). One seen on the canary earlier stays
there: its chance is 1, it tells nothing new and is not counted. One not seen before has the step's weight.
"Seen" is any call under this rollout, counted or not, for the decision to rise may have rested on it.
Whoever cannot remember units may take the last step's weight as w' for all, and leave out those that were
below it: exact as well, less sharp.

**In order of admission.** Were outcomes taken as they come in, the fast ones would speak first, and
failures and successes differ in speed. A call that is still open holds up those behind it, at most until
its deadline; then it counts as the worst (errors, latency: a canary that hangs must not escape) or as
nothing (scores that never came).
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import msgspec

from airboss.rollouts.analysis import Dry, Outcome
from airboss.rollouts.assign import conditional_weight
from airboss.rollouts.metrics import Metric, worst


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a unit's place: its arm at `weight`, the highest weight that it was seen at.

    `before` is the highest lower weight at which it was seen, or 0.0; `moved` is whether it was on the canary
    at a lower weight already, after which `before` means nothing.
    """

    weight: float
    canary: bool
    before: float = 0.0
    moved: bool = False


def sight(last: Sighting | None, *, weight: float, canary: bool) -> Sighting:
    """What is known of a unit after a call at a step's weight.

    A straggler, a call under an older plan than the last, changes nothing.
    """
    if last is None:
        return Sighting(weight=weight, canary=canary)
    if weight <= last.weight:
        return last
    return Sighting(
        weight=weight,
        canary=canary,
        before=last.weight,
        moved=last.moved or last.canary,
    )


def chance(sighting: Sighting, *, weight: float) -> float:
    """A unit's chance of the canary in the step of `weight`, given its arms in earlier steps.

    1.0 (nothing to learn) for a unit that was on the canary before, and for stragglers of an older plan.
    """
    if sighting.moved or weight < sighting.weight:
        return 1.0
    return conditional_weight(sighting.before, weight)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """One call in the queue of one metric. `admitted_s` is in seconds, of the same clock as `now_s` below.

    `settled` False: a value may still come. Settled without a `value`: none will (refused, cancelled,
    unscored), and the call does not count.
    """

    unit: str
    weight: float
    canary: bool
    chance: float
    admitted_s: float
    settled: bool
    value: float | None = None


Counted = tuple[str, float]
"""A unit and the weight of a step in which it has counted."""


class Entered(msgspec.Struct, frozen=True, kw_only=True):
    """What leaves a queue: `outcomes` to observe in order, `counted` to remember, `taken` off its head."""

    outcomes: tuple[Outcome, ...]
    counted: tuple[Counted, ...]
    taken: int


def entering(
    metric: Metric,
    queue: Sequence[Waiting],
    *,
    counted: AbstractSet[Counted],
    now_s: float,
    deadline_s: float,
) -> Entered:
    """The outcomes of one metric that may be observed now: the queue, in order of admission, up to the first
    call that is open, within its deadline and of a unit that has not counted in its step.

    Cutting a queue anywhere and going on later enters the same outcomes.
    """
    outcomes: list[Outcome] = []
    new: dict[Counted, None] = {}
    taken = 0
    for call in queue:
        once = (call.unit, call.weight)
        if once not in counted and once not in new and 0.0 < call.chance < 1.0:
            value = call.value
            if not call.settled:
                if now_s < call.admitted_s + deadline_s:
                    break
                value = worst(metric) if metric.late == "worst" else None
            if value is not None:
                new[once] = None
                outcomes.append(
                    Outcome(metric=metric.name, canary=call.canary, chance=call.chance, value=value)
                )
        taken += 1
    return Entered(outcomes=tuple(outcomes), counted=tuple(new), taken=taken)


def dried(dry: Dry, calls: Sequence[Waiting], counted: Sequence[Counted]) -> Dry:
    """How dry a metric is after these calls, of which the first with a value of each that is among `counted`
    has just counted. A straggler of an older plan changes nothing."""
    new = set(counted)
    for call in calls:
        if call.weight < dry.weight:
            continue
        once, blank = (call.unit, call.weight), call.value is None
        learnt = not blank and once in new
        new -= {once} if learnt else set()
        since = dry.idle + call.canary if call.weight == dry.weight else int(call.canary)
        dry = Dry(weight=call.weight, idle=0 if learnt else since, blank=dry.blank + 1 if blank else 0)
    return dry
