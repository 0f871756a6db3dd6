"""Is anything wrong, and since when? Pure: from the period's series and the system's status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import msgspec

from airboss.console.chart import Chart, Line, utc
from airboss.console.overview import ERRORS_BAD, Level
from airboss.console.text import NB
from airboss.domain.status import SystemStatus
from airboss.store.wording import OUT_TITLES, many, out_words
from airboss.telemetry.remote import Node

EXCESS_MIN = 3.0
"""Errors beyond `ERRORS_BAD` of the calls from which a burst is spoken of; below it may be chance."""

LAG_S_WARN = 30.0

ALARMS_NAMED = 5
"""Alarms that fire and are told one by one; of more their number."""

BURSTS_NAMED = 5
"""Deployments with errors that are told one by one; of more their number."""


OUT_NAMED = 5
"""Places that are out and are told one by one; of more their number."""
PROVIDERS = "/system/providers"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong, and the next step. `deployment`, `since` and `until` lead to the calls;
    `until` None is an error burst that goes on. `alarm` leads to that alarm's page, `path`
    elsewhere."""

    level: Level
    title: str
    detail: str
    deployment: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    alarm: str | None = None
    path: str | None = None


Causes = Callable[[str, datetime, datetime | None], Sequence[str]]
"""The error types of a deployment's failed calls in a period, one for each of a sample of them."""


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """The steps `[first, last]` with the most errors beyond what is borne; `lasting` if it goes on."""

    first: int
    last: int
    errors: int
    calls: int
    lasting: bool


def findings(
    status: SystemStatus,
    chart: Chart,
    causes: Causes,
    firing: Mapping[str, datetime],
    silenced: Mapping[str, str] = MappingProxyType({}),
    *,
    about: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Finding, ...]:
    """What is wrong, the worst first; empty if nothing is. `firing` are alarms, and since when they fire;
    `about` says what each measures. One that says of a deployment what its calls say already is told with
    them. `silenced` are those that somebody knows of, and why nobody is told."""
    bursts = {line.deployment: seen for line in chart.lines if (seen := burst(line)) is not None}
    alarms = {errors_alarm(name): name for name, seen in bursts.items() if seen.lasting}
    others = {name: since for name, since in firing.items() if name not in alarms}
    told = {alarms[name] for name in firing if name in alarms}
    found = [
        *system_findings(status),
        *alarm_findings(others, silenced, about),
        *error_findings(chart, bursts, causes, told),
    ]
    order: dict[Level, int] = {"bad": 0, "warn": 1}
    return tuple(sorted(found, key=lambda each: order.get(each.level, 2)))


def system_findings(status: SystemStatus) -> Iterator[Finding]:
    """What the processes, replicas and the journal say of themselves."""
    journal = status.journal
    if not journal.store_up:
        detail = "Calls are served and recorded: the journal keeps them. Numbers here stop until it answers."
        detail += f" It said: {journal.store_detail}" if journal.store_detail else ""
        yield Finding(level="bad", title=f"The {journal.waits_for} does not answer.", detail=detail)
    elif journal.lag_s > LAG_S_WARN or journal.store_detail:
        detail = f"Nothing is lost. The newest {journal.lag_s:.0f} s are missing from the numbers here."
        slow = f" It is slow: {journal.store_detail}." if journal.store_detail else ""
        yield Finding(level="warn", title="Records arrive late.", detail=detail + slow)
    if journal.corrupt_frames:
        detail = "They were put away as dead letters, which the System page lists."
        n = journal.corrupt_frames
        of, made = ("piece", "a record") if n == 1 else ("pieces", "records")
        title = f"{n:,} {of} of the journal could not become {made}."
        yield Finding(level="warn", title=title, detail=detail)
    if status.retention.disk_full:
        n = status.retention.dropped
        gone = (
            f"; {n:,} {'record has' if n == 1 else 'records have'} lost theirs since the start" if n else ""
        )
        detail = f"The oldest requests and responses make room, numbers are kept{gone}. Free space on it."
        yield Finding(level="bad", title="The disk is nearly full.", detail=detail)
    if status.audit_trouble:
        title = "The audit log is not what it was."
        yield Finding(level="bad", title=title, detail=f"{status.audit_trouble}.")
    for unheard in status.untold:
        yield Finding(level="warn", title="A summary was not told.", detail=f"{unheard}.")
    for each in status.deployments:
        if each.state == "down":
            detail = each.detail or "No replica of its model is ready; `airboss status` says why."
            detail = f"It{detail[2:]}." if detail.startswith("it") else detail
            yield Finding(level="bad", title=f"{each.name} is down.", detail=detail, deployment=each.name)
        elif each.state == "starting":
            detail = each.detail or "Its model is being fetched or loaded."
            yield Finding(level="info", title=f"{each.name} is starting.", detail=detail)
    yield from process_findings(status)
    yield from out_findings(status)


def out_findings(status: SystemStatus) -> Iterator[Finding]:
    """Places of models that are out, whoever is asked instead: no call fails by it, and costs may rise."""
    out = [each for each in status.breakers if each.out_since is not None]
    for each in sorted(out, key=lambda each: each.instead is not None)[:OUT_NAMED]:
        yield Finding(
            level="bad" if each.instead is None else "warn",
            title=f"{each.provider}/{each.model} {OUT_TITLES[each.limited]}",
            detail=out_words(
                provider=each.provider,
                url=each.url,
                key=each.key,
                last_failure=each.last_failure,
                limited=each.limited,
                deployments=each.deployments,
                instead=each.instead,
                stranded=each.stranded,
                last_status=each.last_status,
            ),
            since=each.out_since,
            path=PROVIDERS,
        )
    more = len(out) - OUT_NAMED
    if more > 0:
        title = (
            f"{more} more {'place of a model has' if more == 1 else 'places of models have'} not answered."
        )
        detail = "The page Providers has them all."
        yield Finding(level="warn", title=title, detail=detail, path=PROVIDERS)


def alarm_findings(
    firing: Mapping[str, datetime], silenced: Mapping[str, str], about: Mapping[str, str]
) -> Iterator[Finding]:
    """Alarms that fire, those that began last first, and what is silenced after the others."""
    latest = sorted(firing, key=firing.__getitem__, reverse=True)
    for name in sorted(latest, key=silenced.__contains__)[:ALARMS_NAMED]:
        why, words = silenced.get(name), about.get(name, "")
        yield Finding(
            level="bad" if why is None else "warn",
            title=f"The alarm {name} fires",
            detail=words if why is None else f"{words} It is silenced: {why}".strip(),
            since=firing[name],
            alarm=name,
        )
    more = len(firing) - ALARMS_NAMED
    if more > 0:
        title = f"{more} more {'alarm fires' if more == 1 else 'alarms fire'}."
        yield Finding(level="bad", title=title, detail="The page Alerts has them all.", path="/alerts")


def process_findings(status: SystemStatus) -> Iterator[Finding]:
    """Those that die, and a server that they cannot reach."""
    for each in status.unrecordable:
        name, _, why = each.partition(": ")
        yield Finding(level="bad", title=f"{name} serves no call.", detail=f"{why[:1].upper()}{why[1:]}.")
    if status.ledger_trouble is not None:
        detail = f"Calls are served as before, and nothing can be changed: {status.ledger_trouble}."
        yield Finding(level="bad", title="There is trouble with the ledger.", detail=detail)
    for each in status.kept_plans:
        name, _, which = each.partition(": ")
        detail = f"The ledger was away when it started: it serves {which}, and keys as they were then."
        yield Finding(level="warn", title=f"{name} serves a plan from disk.", detail=detail)
    for process in status.processes:
        if process.state == "backing_off":
            detail = (
                process.detail or f"It was restarted {many(process.restarts, 'time')} and is tried again."
            )
            yield Finding(level="bad", title=f"{process.name} died.", detail=detail)
        if process.state == "silent":
            detail = f"It {process.detail}. Calls that it had begun wait; the others go to the next gateway."
            yield Finding(level="bad", title=f"{process.name} does not answer.", detail=detail)
    if status.counters_away:
        detail = "Calls under a limit or a budget get 503 until it is; `airboss doctor` says more."
        yield Finding(level="bad", title="Who counts limits cannot be reached.", detail=detail)


def node_findings(nodes: Sequence[Node], now: datetime) -> Iterator[Finding]:
    """Machines that have joined and are not heard of."""
    for each in nodes:
        silent_s = (now - each.heard_at).total_seconds()
        if silent_s > LAG_S_WARN:
            detail = (
                "What it recorded waits there, and so does who is to be forgotten. If it is gone for good:"
            )
            detail += f" `airboss node forget {each.name}`."
            title = f"{each.name} has not been heard of for {silent_s:.0f} s."
            yield Finding(level="bad", title=title, detail=detail)


def errors_alarm(deployment: str) -> str:
    """The alarm on errors that every deployment has by itself."""
    return f"{deployment}.errors"


def error_findings(
    chart: Chart, bursts: Mapping[str, Burst], causes: Causes, told: Collection[str]
) -> Iterator[Finding]:
    """Bursts of errors, deployment by deployment; of many those with the most errors, and how many more. The
    alarm on errors of those in `told` fires."""
    worst = sorted(bursts, key=lambda name: (not bursts[name].lasting, -bursts[name].errors))
    for line in chart.lines:
        if line.deployment not in worst[:BURSTS_NAMED]:
            continue
        found = bursts[line.deployment]
        rate = f"{100 * found.errors / found.calls:.0f}{NB}% errors"
        since = utc(max(chart.x[found.first], chart.since))
        until = None if found.lasting else utc(min(chart.x[found.last] + chart.step_s, chart.until))
        seen = cause(causes(line.deployment, since, until))
        yield Finding(
            level="bad" if found.lasting else "warn",
            title=f"{line.deployment}: {rate}" if found.lasting else f"{line.deployment} had {rate}",
            detail=f"{found.errors:,} of {many(found.calls, 'call')} failed{seen}."
            + (f" The alarm {errors_alarm(line.deployment)} fires." if line.deployment in told else ""),
            deployment=line.deployment,
            since=since,
            until=until,
        )
    more = len(bursts) - BURSTS_NAMED
    if more > 0:
        lasting = bursts[worst[BURSTS_NAMED]].lasting
        have = "had" if not lasting else "has" if more == 1 else "have"
        title = f"{more} more {'deployment' if more == 1 else 'deployments'} {have} many errors."
        yield Finding(level="bad" if lasting else "warn", title=title, detail="The table has them all.")


def cause(types: Sequence[str]) -> str:
    """The commonest error type, if one stands out."""
    if not types:
        return ""
    name, times = Counter(types).most_common(1)[0]
    if times == len(types):
        return f", all with {name}"
    return f", most often with {name}" if 2 * times >= len(types) else ""


def burst(line: Line) -> Burst | None:
    """The stretch with the largest sum of (errors - `ERRORS_BAD` x calls): where a change of the error rate
    began and ended. One pass (Kadane's maximum subarray); None if its sum is under `EXCESS_MIN`."""
    best, best_range = 0.0, (0, -1)
    total, first = 0.0, 0
    for index, (errors, calls) in enumerate(zip(line.failed, line.ended, strict=True)):
        if total <= 0.0:
            total, first = 0.0, index
        total += errors - ERRORS_BAD * calls
        if total > best:
            best, best_range = total, (first, index)
    if best < EXCESS_MIN:
        return None
    start, end = best_range
    return Burst(
        first=start,
        last=end,
        errors=sum(line.failed[start : end + 1]),
        calls=sum(line.ended[start : end + 1]),
        lasting=not any(line.ended[end + 1 :]),
    )
