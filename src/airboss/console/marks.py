"""What changed, and when: the marks on every chart."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from airboss.console.desk import Desk
from airboss.console.query import Period
from airboss.domain.plan import DeploymentPlan
from airboss.domain.ports import KeptRelease

MARKS_MAX = 40
"""The newest; more on one chart could not be read."""

PLACES: Final = 9
"""So many marks stand beside each other on a picture at most."""

LETTER: Final = 0.5
"""A letter of their words, in percent of a wide picture's width."""

Kind = Literal["release", "rollout", "config"]


Shown = Literal["before", "after", "not"]


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Something that changed: a release served for the first time, a rollout that began or was decided, a
    configuration applied. `path` is its page."""

    at: datetime
    kind: Kind
    words: str
    path: str


def marks(desk: Desk, since: datetime, until: datetime, *, deployment: str | None = None) -> list[Mark]:
    """What changed in `[since, until)`, the oldest first; of one deployment where it is named."""
    found = [
        Mark(
            at=each.at,
            kind="release",
            words=f"release {each.release.name or each.release.digest[:8]}",
            path=f"/releases/{each.release.digest}",
        )
        for each in desk.ledger.releases()
        if since <= each.at < until and (deployment is None or _concerns(desk, each, deployment))
    ]
    for rollout in desk.rollouts.list(deployment=deployment, until=until):
        if not rollout.begun:
            continue
        about = f"{rollout.deployment}: rollout of {rollout.name or rollout.release[:8]}"
        path = f"/rollouts/{rollout.id}"
        found.append(Mark(at=rollout.started_at, kind="rollout", words=f"{about} began", path=path))
        if rollout.final and rollout.verdict is not None:
            words = f"{about} {rollout.stage.state}"
            found.append(Mark(at=rollout.verdict.at, kind="rollout", words=words, path=path))
    for leaf in desk.audit.newest(limit=MARKS_MAX, action="config.apply", since=since, until=until):
        content: dict[str, Any] = msgspec.json.decode(leaf.leaf.content)
        plan = content.get("detail", {}).get("plan")
        words = f"plan {plan}" if plan is not None else "configuration"
        at = datetime.fromisoformat(leaf.leaf.at)
        found.append(Mark(at=at, kind="config", words=words, path="/governance/audit?action=config.apply"))
    inside = sorted((each for each in found if since <= each.at < until), key=lambda each: each.at)
    return inside[-MARKS_MAX:]


def _concerns(desk: Desk, release: KeptRelease, deployment: str) -> bool:
    """Whether a release was served by a deployment when it was new, or by none: whose candidate it is, nobody
    knows any more."""
    plan = desk.ledger.plan(release.plan)
    of = {each.name for each in plan.deployments if serves(each, release.release.digest)} if plan else set()
    return not of or deployment in of


def serves(deployment: DeploymentPlan, digest: str) -> bool:
    """Whether callers of a deployment may get the release of this digest."""
    apart = (deployment.canary, deployment.preview)
    releases = (deployment.stable, *(each.served.release for each in apart if each is not None))
    return digest in {each.digest for each in releases}


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A mark on a picture of a period: `left` in percent of its width. Its words stand before or after it, or
    would stand on others and are not `shown`."""

    left: float
    at: datetime
    words: str
    shown: Shown


def placed(desk: Desk, period: Period, *, deployment: str) -> tuple[Placed, ...]:
    """What changed in a period, for a picture of one deployment; what is close together is one."""
    found = gathered(marks(desk, period.since, period.until, deployment=deployment), period.seconds / PLACES)
    return beside(
        [(100 * (at - period.since).total_seconds() / period.seconds, at, words) for at, words in found]
    )


def beside(found: list[tuple[float, datetime, str]]) -> tuple[Placed, ...]:
    """Marks with their place and words, from left to right, so that no words stand on others."""
    put: list[Placed] = []
    free = 0.0
    for left, at, words in found:
        wide = LETTER * (len(words) + 1)
        late = left + wide > 100
        start = left - wide if late else left
        shown: Shown = "not"
        if start >= free:
            shown, free = "before" if late else "after", start + wide
        put.append(Placed(left=round(left, 2), at=at, words=words, shown=shown))
    return tuple(put)


def gathered(found: list[Mark], step_s: float) -> list[tuple[datetime, str]]:
    """Marks for a chart: those within a step of each other are one, so that their words can be read."""
    shown: list[tuple[datetime, str, int]] = []
    for each in found:
        if shown and (each.at - shown[-1][0]).total_seconds() < step_s:
            at, words, more = shown[-1]
            shown[-1] = (at, words, more + 1)
        else:
            shown.append((each.at, each.words, 0))
    return [(at, f"{words} and {more} more" if more else words) for at, words, more in shown]
