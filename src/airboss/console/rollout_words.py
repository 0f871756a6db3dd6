"""What each button of a rollout would do: to whom, to how many, and how to undo it."""

from __future__ import annotations

import msgspec

from airboss.config.types import RolloutConfig
from airboss.console.api_alarms import in_force
from airboss.console.desk import Desk
from airboss.console.fleet import Deployed
from airboss.console.text import NB
from airboss.releases.standing import stable_before
from airboss.rollouts import stages
from airboss.rollouts.live import Rollout
from airboss.store.wording import many


class Doing(msgspec.Struct, frozen=True, kw_only=True):
    """A button. `danger`: it moves many or cannot be taken back at once. `hidden` fields name what the page
    showed, so that nothing else is done. `reasoned`: it asks for a reason, `timed`: for a time to come."""

    action: str
    label: str
    confirm: str
    happens: str
    undo: str
    hidden: tuple[tuple[str, str], ...]
    danger: bool = False
    reasoned: bool = True
    timed: bool = False


def doings(desk: Desk, found: Deployed) -> tuple[Doing, ...]:
    """What can be done about a deployment's rollout now."""
    rollout = found.rollout
    if rollout is None:
        begin = (start(desk, found),) if found.view.candidate is not None else ()
        standing = desk.ledger.standings().get(found.name)
        before = stable_before(standing) if standing is not None else None
        return (*begin, undo(desk, found, before)) if before is not None else begin
    if not rollout.begun:
        return (cancel(rollout), promote(rollout, calls(found, 1.0)))
    weight = stages.weight(rollout.rules, rollout.stage)
    some = calls(found, weight)
    middle = {"running": pause, "paused": resume}.get(rollout.stage.state)
    return (
        *((middle(rollout, weight, some),) if middle is not None else ()),
        promote(rollout, calls(found, 1.0)),
        abort(rollout, some),
    )


def pause(rollout: Rollout, weight: float, some: str) -> Doing:
    """The button that stops a rollout from rising."""
    return Doing(
        action="pause",
        label="Pause",
        confirm="Pause the rollout",
        happens=f"{rollout.name} stays at {percent(weight)}: {some} go on to it. It neither rises nor is "
        "promoted; harm still takes it back.",
        undo="Resume goes on from this step.",
        hidden=(("rollout", rollout.id),),
    )


def resume(rollout: Rollout, weight: float, some: str) -> Doing:
    """The button that lets it go on."""
    return Doing(
        action="resume",
        label="Resume",
        confirm="Resume the rollout",
        happens=f"{rollout.name} goes on at {percent(weight)}, {some}, and rises again while no harm shows.",
        undo="Pause stops it where it is then.",
        hidden=(("rollout", rollout.id),),
    )


def promote(rollout: Rollout, every: str) -> Doing:
    """The button that ends it well, by a person's word."""
    return Doing(
        action="promote",
        label="Promote",
        confirm="Promote now",
        happens=f"{rollout.name} becomes stable for everybody at once, {every}, whatever the evidence says: "
        f"{evidence(rollout)}",
        undo="Take back: what is stable now is so again within 2 s, without a rollout.",
        hidden=(("rollout", rollout.id),),
        danger=True,
    )


def abort(rollout: Rollout, some: str) -> Doing:
    """The button that takes it back."""
    return Doing(
        action="abort",
        label="Abort",
        confirm="Abort the rollout",
        happens=f"Everybody is back on stable within 2 s: of {rollout.name} that is {some}. Answers being "
        "streamed end on the release that they began with.",
        undo="Start a rollout again. It begins at its first step, and nothing of this one counts.",
        hidden=(("rollout", rollout.id),),
        danger=True,
    )


def cancel(rollout: Rollout) -> Doing:
    """The button that ends it before it has begun."""
    return Doing(
        action="abort",
        label="Cancel",
        confirm="Cancel the rollout",
        happens=f"It does not begin. {rollout.name} stays a candidate, and everybody on stable.",
        undo="Start a rollout again, now or for another time.",
        hidden=(("rollout", rollout.id),),
    )


def undo(desk: Desk, found: Deployed, before: str) -> Doing:
    """The button that takes the newest promotion back."""
    kept = desk.ledger.release(before)
    name = f"{kept.name} {before[:8]}" if kept is not None else before[:8]
    return Doing(
        action="undo",
        label="Take back",
        confirm="Take the promotion back",
        happens=f"{name} serves everybody again within 2 s, {calls(found, 1.0)}, in place of "
        f"{found.view.stable_name} {found.view.stable[:8]}, and the configuration says it.",
        undo=f"Start a rollout of {found.view.stable[:8]}: it is a candidate like any other from then on.",
        hidden=(("stable", found.view.stable),),
        danger=True,
    )


def start(desk: Desk, found: Deployed) -> Doing:
    """The button that begins a rollout of the candidate."""
    digest = found.view.candidate or ""
    name = next((each.name for each in found.answering if each.digest == digest), None) or digest[:8]
    config = in_force(desk).deployments.get(found.name)
    rules = (config.rollout if config is not None else None) or RolloutConfig()
    first = rules.steps[0] / 100
    steps = ", ".join(f"{step:g}" for step in rules.steps)
    gate = ""
    if rules.gate is not None:
        gate = (
            f"First it is evaluated on dataset {rules.gate.dataset} with {rules.gate.scorer}; only if it "
            "passes: "
        )
    return Doing(
        action="start",
        label="Start rollout",
        confirm=f"Start at {percent(first)}",
        happens=f"{gate}{percent(first)} of the users of {found.name} get {name}, {calls(found, first)}, "
        f"and the same users keep it. It rises by {steps}{NB}% while no harm shows in "
        f"{', '.join(rules.metrics)}; harm takes it back by itself (alpha {rules.alpha:g}).",
        undo="Abort, at any time: everybody is back on stable within 2 s.",
        hidden=(("release", digest),),
        timed=True,
    )


def calls(found: Deployed, weight: float) -> str:
    """How many requests a share is, at the pace of the last 24 hours."""
    if found.per_day is None:
        return "how many calls nobody knows while the record store is away"
    if found.per_day == 0:
        return "no call in the last 24 h"
    some = max(1, round(found.per_day * weight))
    of = f" of {found.per_day:,}" if weight < 1.0 else ""
    calls = f"{some:,}{of} calls" if of else many(some, "call")
    return f"about {calls} a day at the pace of the last 24 h"


def evidence(rollout: Rollout) -> str:
    """Where the evidence stands, in a sentence."""
    if rollout.verdict is None or not rollout.verdict.metrics:
        return "there is none yet."
    words = {"harm": "harm", "non_inferior": "no worse than the margin", "open": "open"}
    return "; ".join(f"{each.metric} {words[each.finding]}" for each in rollout.verdict.metrics) + "."


def percent(weight: float) -> str:
    """A weight."""
    return f"{100 * weight:g}{NB}%"
