"""Where a rollout stands and what happens next. Facts in, decision out.

    scheduled ► gate ──► running (step 0, 1, …) ──► promoted
                  │          │  ▲      │
                  │          ▼  │      ├──► inconclusive   the last step's bound came first; a wrong clock
                  │         paused ────┤
                  └────────────────────┴──► aborted        harm, a gate that refused, a person

A step rises when its units have been seen without harm and every guard (a metric without a margin) has seen
as many, but not while most of the canary's units fail, be it as stable's do; a bound in time ends it in any
case. Where nobody new comes fewer units are enough, and it says so. Only the last step promotes, on
non-inferiority and the same conditions; at its bound it waits for no units any more, and says so. A paused
rollout keeps its weight and its guard: it neither rises nor promotes, but harm still aborts it. `promoted`
serves the canary to all; `aborted` and `inconclusive` send everybody back to stable. These three are final:
nothing revives a rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, Literal, assert_never

import msgspec

from airboss.domain.errors import WrongCall
from airboss.domain.verdict import Authority, Conclusion, MetricEvidence, Verdict
from airboss.rollouts.analysis import DRY_CALLS, Guards

State = Literal["scheduled", "gate", "running", "paused", "promoted", "aborted", "inconclusive"]
"""Where a rollout stands. `scheduled`: its time has not come."""

FINAL: frozenset[State] = frozenset({"promoted", "aborted", "inconclusive"})


SET_BACK_S_MAX: Final = 3600.0
"""With the clock set back by more, ids of calls begin anew, and are in no order with those before
(`gateway.ids.STEP_MS_MAX`). With less they go on from where they were, and are looked at once it has caught
up."""


FAILING: Final = 0.5
"""A canary that fails in more of its units is promoted by no evidence: in an outage stable fails as often, so
the two are alike, and nobody has seen what it answers."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How a rollout goes. `steps` are weights of the canary, rising, in (0, 1).

    A step lasts `step_s_min` seconds at least, until `step_units` units have counted on its canary, and
    `step_s_max` at most; the last one until its verdict, `step_s_max` at most. `gate`: an offline evaluation
    decides first. Raises ValueError for rules that cannot be followed.
    """

    steps: tuple[float, ...]
    step_units: int = 50
    step_s_min: float = 0.0
    step_s_max: float = 86_400.0
    gate: bool = False

    def __post_init__(self) -> None:
        """Refuse what could not be followed."""
        if not self.steps or not all(a < b for a, b in pairwise((0.0, *self.steps, 1.0))):
            raise ValueError(f"the steps are {self.steps}; they are weights between 0 and 1 that rise")
        if self.step_units < 1 or not 0 <= self.step_s_min <= self.step_s_max:
            raise ValueError(
                f"a step of {self.step_units} units in {self.step_s_min} to {self.step_s_max} s cannot be: "
                "it needs one unit or more, and 0 <= step_s_min <= step_s_max"
            )


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Where one rollout stands. `since` is when the step began, pauses taken out, or when the state did.

    `units_before` canary units had counted when the step began. `paused_at` is set while paused.
    """

    state: State
    since: datetime
    step: int = 0
    units_before: int = 0
    paused_at: datetime | None = None


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Begin, or hand over to the gate. With a `reason`, at a time that was set, that is told as a verdict."""

    at: datetime
    reason: str = ""


class GateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the offline evaluation said; `reason` is one sentence for people."""

    at: datetime
    passed: bool
    reason: str


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Time has passed or outcomes have come: what `analysis` says now.

    `units` is how many units have counted on the canary in all, by the metric that has counted most, `guards`
    which guards have seen fewer than a step's, `exhausted` whether nobody new comes, `stopped` which metrics
    have values no more. The newest call that has counted lies `ahead_s` seconds ahead of the clock; negative
    where it is past.
    """

    at: datetime
    conclusion: Conclusion
    evidence: tuple[MetricEvidence, ...]
    units: int
    guards: Guards = Guards()
    exhausted: bool = False
    stopped: tuple[str, ...] = ()
    ahead_s: float = 0.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A person's word. `reason` and `by` are kept; `evidence` is what was known then."""

    at: datetime
    action: Literal["pause", "resume", "promote", "abort"]
    by: str
    reason: str = ""
    evidence: tuple[MetricEvidence, ...] = ()


Event = Start | GateAnswer | Look | Order
"""What may happen to a rollout."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The stage that follows, the canary's weight in it, and the verdict (None: nothing was concluded)."""

    stage: Stage
    weight: float
    verdict: Verdict | None = None


def weight(rules: Rules, stage: Stage) -> float:
    """The canary's share of live traffic in a stage."""
    match stage.state:
        case "scheduled" | "gate" | "aborted" | "inconclusive":
            return 0.0
        case "running" | "paused":
            return rules.steps[stage.step]
        case "promoted":
            return 1.0
        case _:
            assert_never(stage.state)


def decide(rules: Rules, stage: Stage, event: Event) -> Decision:
    """What follows an event. The same stage and event give the same decision, however often.

    Raises WrongCall for an order that makes no sense where the rollout stands; a look or an answer that comes
    too late or too early changes nothing.
    """
    match event:
        case Start():
            return _start(rules, stage, event)
        case GateAnswer():
            return _gate(rules, stage, event)
        case Look():
            return _look(rules, stage, event)
        case Order():
            return _order(rules, stage, event)
        case _:
            assert_never(event)


STANDS: Final[Mapping[State, str]] = {
    "scheduled": "is scheduled",
    "gate": "waits for its gate",
    "running": "is running",
    "paused": "is paused",
}
"""How one stands that is not over, in words."""


def none_runs(deployment: str, last: Stage | None) -> str:
    """Why there is nothing to order: how the deployment's last rollout ended, and what to do now."""
    begins = f"`airboss rollout start {deployment}` begins one"
    if last is None:
        return f"no rollout of {deployment!r} is running; {begins}"
    ended = (
        f"no rollout of {deployment!r} is running: the last one is {last.state} since {last.since:%F %T} UTC"
    )
    if last.state != "promoted":
        return f"{ended}; {begins}"
    return (
        f"{ended}. `airboss rollout undo {deployment}` takes that back: what was stable before serves at once"
    )


def _start(rules: Rules, stage: Stage, event: Start) -> Decision:
    if stage.state != "scheduled":
        return _stay(rules, stage)
    after = Stage(state="gate" if rules.gate else "running", since=event.at)
    if not event.reason:
        return _stay(rules, after)
    verdict = _verdict(rules, after, "hold", event.at, reason=event.reason, authority="person")
    return Decision(stage=after, weight=weight(rules, after), verdict=verdict)


def _gate(rules: Rules, stage: Stage, event: GateAnswer) -> Decision:
    if stage.state != "gate":
        return _stay(rules, stage)
    if event.passed:
        return _stay(rules, Stage(state="running", since=event.at))
    return _end(rules, stage, "abort", event.at, authority="gate", reason=event.reason)


def _look(rules: Rules, stage: Stage, look: Look) -> Decision:
    if stage.state not in ("running", "paused"):
        return _stay(rules, stage)
    if look.conclusion == "abort":
        reason = f"harm in {_named(look.evidence, 'harm')}"
        return _end(rules, stage, "abort", look.at, reason=reason, evidence=look.evidence)
    back_s = max(look.ahead_s, (stage.since - look.at).total_seconds())
    if back_s > SET_BACK_S_MAX:
        reason = (
            f"the clock was set back by {back_s / 3600:.1f} h: what calls show since then is in no order with"
            " what they had shown; start another one"
        )
        return _end(rules, stage, "inconclusive", look.at, reason=reason, evidence=look.evidence)
    paused = stage.state == "paused"
    if paused or (look.at - stage.since).total_seconds() < rules.step_s_min:
        shortest = f"a step lasts {lasting(rules.step_s_min)} at least"
        return _hold(rules, stage, look, reason="paused; only harm decides" if paused else shortest)
    if stage.step < len(rules.steps) - 1:
        return _between(rules, stage, look)
    return _last(rules, stage, look)


def _between(rules: Rules, stage: Stage, look: Look) -> Decision:
    """A look in a step that others follow."""
    bound = (look.at - stage.since).total_seconds() >= rules.step_s_max
    enough = _enough(rules, stage, look)
    if bound or (enough and not look.guards.awaited and not _failing(look)):
        return _rise(rules, stage, look)
    reason = f"{_counted(rules, stage, look)}{_unseen(look)}{_failing(look)}"
    return _hold(rules, stage, look, reason=f"{reason}{_awaited(look) if enough else ''}")


def _last(rules: Rules, stage: Stage, look: Look) -> Decision:
    """A look in the last step."""
    bound = (look.at - stage.since).total_seconds() >= rules.step_s_max
    failing = _failing(look)
    if look.conclusion == "promote" and not failing:
        reason = f"within the margin in {_named(look.evidence, 'non_inferior')}"
        enough = _enough(rules, stage, look)
        if not bound and not (enough and not look.guards.awaited):
            waits = _awaited(look) if enough else f"; {_counted(rules, stage, look)}"
            return _hold(rules, stage, look, reason=f"{reason}{waits}")
        reason += _short(rules, stage, look)
        return _end(rules, stage, "promote", look.at, reason=reason, evidence=look.evidence)
    if bound:
        uncounted = _uncounted(look)
        reason = f"no verdict within the last step's {lasting(rules.step_s_max)}{failing}"
        reason += f"; no {uncounted} has ever counted" if uncounted else _stopped(look)
        return _end(rules, stage, "inconclusive", look.at, reason=reason, evidence=look.evidence)
    return _hold(rules, stage, look, reason=f"the evidence is open{_unseen(look)}{failing}")


def _enough(rules: Rules, stage: Stage, look: Look) -> bool:
    """Whether the step has its units, or gets none any more."""
    return look.exhausted or look.units - stage.units_before >= rules.step_units


def _counted(rules: Rules, stage: Stage, look: Look) -> str:
    return f"{look.units - stage.units_before} of {rules.step_units} units of this step"


def _failing(look: Look) -> str:
    """That most of the canary's units fail, in words; empty where they do not."""
    for each in look.evidence:
        if each.metric == "error_rate" and each.canary_mean is not None and each.canary_mean > FAILING:
            return f"; {100 * each.canary_mean:.3g} % of the canary's units fail, which is never promoted"
    return ""


def _awaited(look: Look) -> str:
    """The guards that hold what has been shown already."""
    return f"; waits for {', '.join(look.guards.awaited)}" if look.guards.awaited else ""


def _short(rules: Rules, stage: Stage, look: Look) -> str:
    """What there was less of than there should have been, where it went on without."""
    late = f"; not enough of {', '.join(look.guards.awaited)}" if look.guards.awaited else ""
    few = ""
    if look.units - stage.units_before < rules.step_units:
        why = "nobody new came" if look.exhausted else "its time was up"
        few = f"; {_counted(rules, stage, look)}, {why}"
    return "".join([few, late, *(f"; {each}" for each in look.guards.silent), _stopped(look)])


def _unseen(look: Look) -> str:
    """What people take for scores that do not arrive, and scores that arrive no more."""
    uncounted = _uncounted(look)
    never = f"; no {uncounted} has counted yet (each does late_s after its call)" if uncounted else ""
    return never + _stopped(look)


def _stopped(look: Look) -> str:
    """The scores that came and come no more, as when a scorer breaks."""
    scores = ", ".join(each for each in look.stopped if each.startswith("score:"))
    return f"; none of the last {DRY_CALLS} calls that were read has {scores}" if scores else ""


def _uncounted(look: Look) -> str:
    """Of which scores nothing has counted."""
    return ", ".join(
        each.metric
        for each in look.evidence
        if each.metric.startswith("score:") and not each.stable_n and not each.canary_n
    )


def _hold(rules: Rules, stage: Stage, look: Look, *, reason: str) -> Decision:
    verdict = _verdict(rules, stage, "hold", look.at, reason=reason, evidence=look.evidence)
    return Decision(stage=stage, weight=weight(rules, stage), verdict=verdict)


def _rise(rules: Rules, stage: Stage, look: Look) -> Decision:
    """To the next step; nothing that counted is lost by it, for each unit counted under its own chance."""
    after = Stage(state="running", since=look.at, step=stage.step + 1, units_before=look.units)
    reason = f"no harm at {100 * weight(rules, stage):.4g} %; rising to {100 * weight(rules, after):.4g} %"
    reason += _short(rules, stage, look)
    verdict = _verdict(rules, stage, "hold", look.at, reason=reason, evidence=look.evidence)
    return Decision(stage=after, weight=weight(rules, after), verdict=verdict)


def _order(rules: Rules, stage: Stage, order: Order) -> Decision:
    if stage.state in FINAL:
        raise WrongCall(
            f"the rollout is {stage.state} since {stage.since:%Y-%m-%d %H:%M:%S}; start another one"
        )
    if order.action in ("promote", "abort"):
        return _end(
            rules,
            stage,
            "promote" if order.action == "promote" else "abort",
            order.at,
            authority="person",
            reason=f"{order.by}: {order.reason}" if order.reason else order.by,
            evidence=order.evidence,
        )
    if order.action == "pause":
        if stage.state == "paused":
            return _stay(rules, stage)
        if stage.state != "running":
            raise WrongCall(f"the rollout is {stage.state}, not running; only a running one can be paused")
        return _stay(rules, msgspec.structs.replace(stage, state="paused", paused_at=order.at))
    if stage.state == "running":
        return _stay(rules, stage)
    if stage.paused_at is None:
        raise WrongCall(f"the rollout is {stage.state}, not paused; there is nothing to resume")
    pause = max(order.at - stage.paused_at, timedelta())
    return _stay(
        rules, msgspec.structs.replace(stage, state="running", since=stage.since + pause, paused_at=None)
    )


def _stay(rules: Rules, stage: Stage) -> Decision:
    return Decision(stage=stage, weight=weight(rules, stage))


def _end(
    rules: Rules,
    stage: Stage,
    conclusion: Literal["promote", "abort", "inconclusive"],
    at: datetime,
    *,
    reason: str,
    authority: Authority = "evidence",
    evidence: tuple[MetricEvidence, ...] = (),
) -> Decision:
    """The rollout's last decision; the verdict names the step and weight that it was reached in."""
    ends: dict[str, State] = {"promote": "promoted", "abort": "aborted", "inconclusive": "inconclusive"}
    verdict = _verdict(rules, stage, conclusion, at, reason=reason, authority=authority, evidence=evidence)
    after = Stage(state=ends[conclusion], since=at, step=stage.step, units_before=stage.units_before)
    return Decision(stage=after, weight=weight(rules, after), verdict=verdict)


def _verdict(
    rules: Rules,
    stage: Stage,
    conclusion: Conclusion,
    at: datetime,
    *,
    reason: str,
    authority: Authority = "evidence",
    evidence: tuple[MetricEvidence, ...] = (),
) -> Verdict:
    return Verdict(
        conclusion=conclusion,
        authority=authority,
        reason=reason,
        at=at,
        step=stage.step,
        weight=weight(rules, stage),
        metrics=evidence,
    )


def lasting(seconds: float) -> str:
    """A time as people say it, in the largest unit that leaves no rest: `45 s`, `30 min`, `24 h`."""
    for unit, length in (("h", 3_600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length:g} {unit}"
    return f"{seconds:g} s"


def _named(evidence: tuple[MetricEvidence, ...], finding: str) -> str:
    """The metrics that found it, for a reason's sentence."""
    return ", ".join(one.metric for one in evidence if one.finding == finding) or "the metrics"
