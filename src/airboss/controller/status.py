"""Puts together what `airboss status` and the console's System page show.

The types are in `domain.status`, so that the console can read them without importing the controller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

import msgspec

from airboss import __version__
from airboss.config import Config, parse_config
from airboss.controller.placement import shown_replicas
from airboss.controller.scaling import Calls, with_calls
from airboss.domain.plan import DeploymentPlan, Standing, Target
from airboss.domain.ports import Ledger, Placement, Replica
from airboss.domain.status import (
    BreakerStatus,
    DeploymentState,
    DeploymentStatus,
    JournalStatus,
    ProcessStatus,
    SystemStatus,
)
from airboss.releases.build import local_models
from airboss.releases.sharing import said_of, sharing
from airboss.replicas.placing import engine_of
from airboss.store.wording import OUT_TITLES, failure_words
from airboss.telemetry.metrics import BREAKERS, GONE_S, Counts, ShownPlace, TargetUse, shown_places
from airboss.telemetry.places import Out

SILENT: Final = timedelta(seconds=GONE_S)
"""A gateway that has not told of itself for so long hangs, or cannot write."""
NONE_SHUT: Final[Mapping[ShownPlace, str]] = MappingProxyType({})
NONE_OUT: Final[Mapping[ShownPlace, Out]] = MappingProxyType({})
NONE_LASTING: Final[Mapping[ShownPlace, BreakerStatus]] = MappingProxyType({})


def gather(
    told: SystemStatus,
    *,
    ledger: Ledger,
    calls: Calls | None = None,
    missing: Callable[[Target], Sequence[str]] = lambda _: (),
    shut: Mapping[ShownPlace, str] = NONE_SHUT,
    unwritable: str | None = None,
) -> SystemStatus:
    """What was `told` without the ledger, and what that says now. `calls` are what gateways count at each
    replica, where that is known, `missing` why keys of a target cannot be had, `shut` the places that are
    left alone by all gateways, and why, `unwritable` why nothing can be written to the ledger."""
    snapshot = ledger.snapshot()
    text = ledger.config()
    config = parse_config(text, source="the configuration in force") if text is not None else Config()
    models = local_models(config)
    placements = ledger.placements()
    replicas = with_calls(shown_replicas(ledger), placements, calls)
    plan = snapshot.plan if snapshot is not None else None
    lasting = {place_of(each): each for each in told.breakers if each.out_since is not None}
    return msgspec.structs.replace(
        told,
        ledger_trouble=unwritable,
        plan_number=plan.number if plan is not None else None,
        plan_created_at=plan.created_at if plan is not None else None,
        breakers=tuple(met(told.breakers, plan.deployments if plan else ())),
        deployments=tuple(
            with_rollout(
                deployment_status(
                    each,
                    replicas,
                    successors(each, config, placements, replicas),
                    missing=[*dict.fromkeys(why for one in sharing(each.target) for why in missing(one))],
                    shut=shut,
                    lasting=lasting,
                ),
                each,
                ledger.standings().get(each.name),
            )
            for each in (plan.deployments if plan else ())
        ),
        replicas=replicas,
        scaling=tuple(each for name, each in sorted(ledger.scalings().items()) if name in models),
    )


def told(
    *,
    journal: JournalStatus,
    processes: Sequence[ProcessStatus],
    data_dir: str,
    started_at: datetime | None,
    base_url: str | None,
    console_url: str | None,
    targets: Sequence[TargetUse] = (),
    out: Mapping[ShownPlace, Out] = NONE_OUT,
    counters_away: int = 0,
    kept_plans: Sequence[str] = (),
    unrecordable: Sequence[str] = (),
) -> SystemStatus:
    """What is known without the ledger. `started_at` None means that no Airboss is running on this data
    directory; `targets` are how each place does, `out` which are out; `counters_away`,
    `kept_plans` and `unrecordable` as `SystemStatus` has them."""
    return SystemStatus(
        version=__version__,
        running=started_at is not None,
        started_at=started_at,
        data_dir=data_dir,
        base_url=base_url,
        console_url=console_url,
        plan_number=None,
        plan_created_at=None,
        deployments=(),
        replicas=(),
        processes=tuple(processes),
        journal=journal,
        breakers=tuple(open_breakers(targets, out)),
        counters_away=counters_away,
        kept_plans=tuple(kept_plans),
        unrecordable=tuple(unrecordable),
    )


def with_silence(
    processes: Sequence[ProcessStatus], counts: Mapping[str, Counts], now: datetime
) -> list[ProcessStatus]:
    """The processes; gateways that have not told of themselves for SILENT, or never, hang. Who answers is no
    such one, whatever it could write."""
    found = []
    for each in processes:
        said = counts.get(each.name)
        heard = each.since if said is None else said.written_at
        tells = each.state == "ready" and each.name.startswith("gateway-")
        if tells and now - max(heard, each.since) > SILENT:
            why = f"has said nothing of itself since {heard:%H:%M:%S} UTC: it hangs, or cannot write"
            found.append(msgspec.structs.replace(each, state="silent", since=heard, detail=why))
        else:
            found.append(each)
    return found


def kept_plans(counts: Mapping[str, Counts]) -> Iterator[str]:
    """Which gateways serve a plan from disk, and when the ledger last had it."""
    for name, each in counts.items():
        if each.kept_at is not None:
            yield f"{name}: plan {each.plan}, which the ledger had at {each.kept_at:%Y-%m-%d %H:%M:%S} UTC"


def open_breakers(targets: Sequence[TargetUse], out: Mapping[ShownPlace, Out]) -> Iterator[BreakerStatus]:
    """The places that are being left alone or are out, and since when."""
    for use in targets:
        state = BREAKERS[use.state]
        found = out.get((use.provider, use.model, use.url, use.key))
        if state != "closed" or found is not None:
            yield BreakerStatus(
                provider=use.provider,
                model=use.model,
                url=use.url,
                state=state,
                last_failure=use.last_error or None,
                last_status=use.last_status or None,
                key=use.key or None,
                out_since=found.since if found is not None else None,
                limited=found.limited if found is not None else None,
            )


def met(breakers: Sequence[BreakerStatus], plans: Sequence[DeploymentPlan]) -> Iterator[BreakerStatus]:
    """Breakers with the deployments whose calls meet them, and who is asked instead, one for each where they
    differ. What only a candidate asks is not out: its rollout judges it."""
    places = [place_of(each) for each in breakers]
    for each, place in zip(breakers, places, strict=True):
        asked = {
            plan.name: (plan.target, *plan.target.fallbacks)
            for plan in plans
            if any(place in shown_places(one) for one in (plan.target, *plan.target.fallbacks))
        }
        if not asked and each.state == "closed":
            continue
        others = {name: instead_of(place, targets, places) for name, targets in asked.items()}
        stranded = tuple(name for name, other in others.items() if other is None)
        instead = ", ".join(dict.fromkeys(map(str, others.values())))
        yield msgspec.structs.replace(
            each,
            out_since=each.out_since if asked else None,
            deployments=tuple(asked),
            instead=instead if others and not stranded else None,
            stranded=stranded,
        )


def place_of(breaker: BreakerStatus) -> ShownPlace:
    """Whose breaker it is."""
    return (breaker.provider, breaker.model, breaker.url, breaker.key or "")


def instead_of(place: ShownPlace, targets: Sequence[Target], shut: Sequence[ShownPlace]) -> str | None:
    """Which of the targets, in their order, is asked while a place is not; None: none that is well."""
    for one in targets:
        places = shown_places(one)
        if any(each not in shut for each in places):
            name = f"{one.provider}/{one.upstream_model}"
            return f"another place of {name}" if place in places else name
    return None


def successors(
    deployment: DeploymentPlan, config: Config, placements: Sequence[Placement], replicas: Sequence[Replica]
) -> list[Replica]:
    """The replicas that are to serve a deployment, by the configuration, and do not yet."""
    if deployment.name not in config.deployments:
        return []
    model, target = config.model_of(deployment.name), deployment.target
    now = (target.upstream_model, target.engine)
    coming = {
        each.id
        for each in placements
        if each.model == model and each.draining_since is None and engine_of(each) != now
    }
    return [each for each in replicas if each.id in coming]


def deployment_status(
    deployment: DeploymentPlan,
    replicas: Sequence[Replica],
    successors: Sequence[Replica] = (),
    *,
    missing: Sequence[str] = (),
    shut: Mapping[ShownPlace, str] = NONE_SHUT,
    lasting: Mapping[ShownPlace, BreakerStatus] = NONE_LASTING,
) -> DeploymentStatus:
    """Where one deployment stands, by the replicas that serve it; `successors` are to take over from them.
    `missing` says why keys of its provider cannot be had: without any nothing is sent on; nor is it where all
    places are `shut`, or out (`lasting`), but to a fallback."""
    own = [each for each in replicas if each.url in deployment.target.base_urls]
    asked = sharing(deployment.target)

    def named(one: Target) -> str:
        return f"{one.provider}/{one.upstream_model}: " if len(asked) > 1 else ""

    state: DeploymentState = "ready"
    if deployment.target.kind == "local":
        state = local_state(own)
    elif missing and all(any(one.refs()) for one in asked):  # who needs no key answers whatever is missing
        state = "down" if len(missing) == len({ref for one in asked for ref in one.refs()}) else state
    alone = next(
        (named(one) + why for one in asked if (why := left_alone(one, shut, lasting)) is not None), None
    )
    if alone is not None and state == "ready":
        asked_too = (*asked, *deployment.target.fallbacks)
        other = next((one for one in asked_too if left_alone(one, shut, lasting) is None), None)
        state = "down" if other is None else "ready"
        alone += f"; {other.provider}/{other.upstream_model} answers instead" if other is not None else ""
    model, provider = said_of(deployment.stable)
    return DeploymentStatus(
        name=deployment.name,
        aliases=deployment.aliases,
        model=model,
        release=deployment.stable.digest,
        release_name=deployment.stable.name,
        provider=provider,
        kind=deployment.target.kind,
        state=state,
        detail=replacement(successors)
        or next((each.detail for each in own if each.detail and each.state != "ready"), None)
        or next(iter(missing), None)
        or alone,
    )


def left_alone(
    target: Target, shut: Mapping[ShownPlace, str], lasting: Mapping[ShownPlace, BreakerStatus]
) -> str | None:
    """Why no place of a target answers now; None: one may."""
    places = shown_places(target)
    if not places or any(each not in shut and each not in lasting for each in places):
        return None
    for each in places:
        if (out := lasting.get(each)) is not None and out.out_since is not None:
            why = f" with {failure_words(out.last_failure, out.last_status)}" if out.last_failure else ""
            return f"it {OUT_TITLES[out.limited]} since {out.out_since:%Y-%m-%d %H:%M} UTC{why}"
    why = next((f" after {shut[each]}" for each in places if shut[each]), "")
    which = "its breaker has" if len(places) == 1 else f"the breakers of its {len(places)} places have"
    return f"{which} opened{why}: single calls try whether it is back"


def with_rollout(
    found: DeploymentStatus, deployment: DeploymentPlan, standing: Standing | None
) -> DeploymentStatus:
    """The status with what is exposed beside stable, or waits to be."""
    canary = deployment.canary
    if canary is not None:
        return msgspec.structs.replace(
            found, canary=canary.served.release.digest, canary_weight=canary.weight
        )
    waits = standing is not None and standing.wanted != deployment.stable.digest
    return msgspec.structs.replace(found, candidate=standing.wanted) if standing and waits else found


def replacement(successors: Sequence[Replica]) -> str | None:
    """What there is to say about replicas that are to take over."""
    failed = next((each for each in successors if each.state == "failed"), None)
    if failed is not None:
        why = (failed.detail or "failed").rstrip(".")
        return f"replica {failed.id} {why}; the engine before it serves on"
    if successors:
        first = successors[0]
        return f"replica {first.id} is {first.state}; the engine before it serves until it is ready"
    return None


def local_state(replicas: Sequence[Replica]) -> DeploymentState:
    """One ready replica is enough to serve; none at all is `down`."""
    states = {each.state for each in replicas}
    if "ready" in states:
        return "ready"
    return "starting" if states & {"fetching", "starting"} else "down"
