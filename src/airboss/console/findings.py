"""Is anything wrong, and since when? Pure: from the period's series and the system's status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import msgspec

from airboss.console.chart import Chart, Line, utc
from airboss.console.overview import ERRORS_BAD, Level
from airboss.console.text import NB
from airboss.domain.status import BreakerStatus, DeploymentStatus, SystemStatus
from airboss.store.wording import OUT_TITLES, failure_words, listed, many, no_answer, out_step, out_words
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
    elsewhere. `deployments` are those that it is about, `alarms` those that fire by it."""

    level: Level
    title: str
    detail: str
    deployment: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    alarm: str | None = None
    path: str | None = None
    deployments: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """What shows that a deployment fails: of its newest calls so many failed, and these alarms fire."""

    errors: int = 0
    calls: int = 0
    alarms: tuple[str, ...] = ()


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
    on_errors: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Finding, ...]:
    """What is wrong, the worst first; empty if nothing is. `firing` are alarms, and since when they fire;
    `about` says what each measures, `on_errors` of which deployment's errors it is. One that says of a
    deployment what its calls, or its state, say already is told with them. `silenced` are those that somebody
    knows of, and why nobody is told."""
    bursts = {line.deployment: seen for line in chart.lines if (seen := burst(line)) is not None}
    lasting = {name: seen for name, seen in bursts.items() if seen.lasting}
    down = {each.name for each in status.deployments if each.state == "down"}
    told: dict[str, list[str]] = {name: [] for name in lasting.keys() | down}
    others = {}
    for name, since in firing.items():
        if name in silenced or on_errors.get(name) not in told:
            others[name] = since
        else:
            told[on_errors[name]].append(name)
    failing = {name: failing_by(lasting.get(name), told[name]) for name in down}
    bursts = {name: seen for name, seen in bursts.items() if name not in down or not seen.lasting}
    found = [
        *system_findings(status, failing),
        *alarm_findings(others, silenced, about),
        *error_findings(chart, bursts, causes, told),
    ]
    order: dict[Level, int] = {"bad": 0, "warn": 1}
    return tuple(sorted(found, key=lambda each: order.get(each.level, 2)))


def system_findings(
    status: SystemStatus, failing: Mapping[str, Failing] = MappingProxyType({})
) -> Iterator[Finding]:
    """What the processes, replicas and the journal say of themselves; `failing` as in `down_findings`."""
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
    yield from down_findings(status, failing)
    for each in status.deployments:
        if each.state == "starting":
            detail = each.detail or "Its model is being fetched or loaded."
            yield Finding(level="info", title=f"{each.name} is starting.", detail=detail)
    yield from process_findings(status)
    yield from out_findings(status)


def down_findings(status: SystemStatus, failing: Mapping[str, Failing]) -> Iterator[Finding]:
    """Deployments that are down, those together that are so by the same places: one cause is one finding.
    `failing` is what else shows of them that nobody answers."""
    found: dict[tuple[int, ...] | str, list[DeploymentStatus]] = {}
    for each in status.deployments:
        if each.state == "down":
            places = tuple(n for n, one in enumerate(status.breakers) if each.name in one.stranded)
            lasts = any(status.breakers[n].out_since is not None for n in places)
            found.setdefault(places if lasts else each.name, []).append(each)
    for key, down in found.items():
        out = [] if isinstance(key, str) else [status.breakers[n] for n in key]
        names = tuple(each.name for each in down)
        seen = [failing[name] for name in names if name in failing]
        calls = sum(each.calls for each in seen)
        failed = f" {sum(each.errors for each in seen):,} of {many(calls, 'call')} failed." if calls else ""
        since = min((each.out_since for each in out if each.out_since is not None), default=None)
        yield Finding(
            level="bad",
            title=f"{listed(names)} {'is' if len(names) == 1 else 'are'} down{'' if since else '.'}",
            detail=(places_words(out, many_ask=len(names) > 1) if out else why_down(down[0])) + failed,
            deployment=names[0] if len(names) == 1 else None,
            deployments=names,
            since=since,
            path=PROVIDERS if out or down[0].kind != "local" else None,
            alarms=tuple(name for each in seen for name in each.alarms),
        )


def why_down(deployment: DeploymentStatus) -> str:
    """Why a deployment is down, of which no place has been out for long."""
    detail = deployment.detail or "No replica of its model is ready; `airboss status` says why."
    return f"It{detail[2:]}." if detail.startswith("it") else detail


def places_words(out: Sequence[BreakerStatus], *, many_ask: bool) -> str:
    """What is the matter with the places of deployments that are down, and what to do."""
    first = out[0]
    if len(out) == 1:
        return f"{first.provider}/{first.model} {OUT_TITLES[first.limited]}. {words_of([first])}"
    told = list(dict.fromkeys(map(place_words, out)))
    more = f"; and {len(told) - OUT_NAMED} more" if len(told) > OUT_NAMED else ""
    step = "The page Providers says what to do about each."
    if len(told) == 1:
        step = out_step(
            provider=first.provider,
            last_failure=first.last_failure,
            last_status=first.last_status,
            limited=first.limited,
        )
    whose = "their" if many_ask else "its"
    return f"None of {whose} {len(out)} places answers. {'; '.join(told[:OUT_NAMED])}{more}. {step}"


def place_words(place: BreakerStatus) -> str:
    """What is the matter with one of several places, in a few words."""
    name, failure = f"{place.provider}/{place.model}", place.last_failure
    if no_answer(failure, place.last_status):
        return f"{name} sends what is no answer, with status {place.last_status}"
    why = f": {failure_words(failure, place.last_status)}" if failure else ""
    return f"{name} {OUT_TITLES[place.limited]}{why}"


def out_findings(status: SystemStatus) -> Iterator[Finding]:
    """Places of models that are out, though no deployment is down by it: costs may rise. Those of one
    provider that fail alike are one."""
    down = {each.name for each in status.deployments if each.state == "down"}
    found: dict[tuple[object, ...], list[BreakerStatus]] = {}
    for each in status.breakers:
        if each.out_since is not None and not down.intersection(each.stranded):
            key = (each.provider, each.limited, each.last_failure, each.last_status, each.instead is None)
            found.setdefault(key, []).append(each)
    groups = sorted(found.values(), key=lambda each: each[0].instead is not None)
    for places in groups[:OUT_NAMED]:
        first = places[0]
        where = f"{first.provider}/{first.model}" if len(places) == 1 else f"Provider {first.provider}"
        yield Finding(
            level="bad" if first.instead is None else "warn",
            title=f"{where} {OUT_TITLES[first.limited]}",
            detail=words_of(places, asked=True),
            deployments=united(each.deployments for each in places),
            since=min(each.out_since for each in places if each.out_since is not None),
            path=PROVIDERS,
        )
    more = sum(map(len, groups[OUT_NAMED:]))
    if more > 0:
        title = (
            f"{more} more {'place of a model has' if more == 1 else 'places of models have'} not answered."
        )
        detail = "The page Providers has them all."
        yield Finding(level="warn", title=title, detail=detail, path=PROVIDERS)


def words_of(places: Sequence[BreakerStatus], *, asked: bool = False) -> str:
    """Where places of one provider that fail alike are, why, and what to do; `asked`: and who answers."""
    first = places[0]
    models = dict.fromkeys(each.model for each in places)
    instead = None if first.instead is None else ", ".join(united((each.instead or "",) for each in places))
    return out_words(
        provider=first.provider,
        url=first.url if len(places) == 1 else f"{len(places)} places ({listed(list(models))})",
        key=first.key if len(places) == 1 else None,
        last_failure=first.last_failure,
        last_status=first.last_status,
        limited=first.limited,
        deployments=united(each.deployments for each in places) if asked else (),
        instead=instead,
        stranded=united(each.stranded for each in places),
    )


def united(names: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Each name once, in the order they come."""
    return tuple(dict.fromkeys(name for each in names for name in each))


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


def failing_by(seen: Burst | None, alarms: Sequence[str]) -> Failing:
    """What shows that a deployment fails: its burst of errors, if there is one, and its alarms."""
    if seen is None:
        return Failing(alarms=tuple(alarms))
    return Failing(errors=seen.errors, calls=seen.calls, alarms=tuple(alarms))


def error_findings(
    chart: Chart, bursts: Mapping[str, Burst], causes: Causes, told: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Bursts of errors, deployment by deployment; of many those with the most errors, and how many more.
    `told` are the alarms that fire for the errors of each."""
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
            detail=f"{found.errors:,} of {many(found.calls, 'call')} failed{seen}.",
            alarms=tuple(told.get(line.deployment, ())) if found.lasting else (),
            deployment=line.deployment,
            deployments=(line.deployment,),
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
