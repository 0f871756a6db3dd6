"""The alarms that every deployment, every key, team and tag with a budget, and Airboss itself have without
writing one."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from airboss.config.types import AlarmConfig, Config, DefaultAlarm

_SEQUENTIAL: Final[dict[DefaultAlarm, str]] = {
    "errors": "error_rate",
    "latency": "latency_p95",
    "cost": "cost_usd",
    "refusals": "refused_rate",
    "fallbacks": "fallback_rate",
}
OWN: Final = {
    "airboss.dead-letters": ("dead_letters", "0s"),
    "airboss.bodies-dropped": ("bodies_dropped", "0s"),
    "airboss.disk-full": ("disk_full", "30s"),
}
"""The alarms of Airboss itself: what they watch, and for how long it must be so."""
CALLED_MAX: Final = 50
"""Characters of a deployment or a tag in an alarm's name."""
ALWAYS_ERRORS: Final = 0.1
"""The share of errors of those whom a rollout always gives the canary that somebody is told of."""
ALWAYS_CALLS: Final = 10
"""So many of their calls in an hour it takes."""
TRAFFIC_GONE: Final = -0.95
"""A fall in calls, against the same hour last week, that is a standstill rather than a quiet day."""


def all_alarms(config: Config, keys: Iterable[str]) -> dict[str, AlarmConfig]:
    """Those of the file, the defaults of each deployment, of `keys`, which have a budget, of teams and tags
    with one, and, where there is a deployment, those of Airboss itself; one of the file that has a default's
    name takes its place. Defaults tell every notifier there is."""
    notify = tuple(config.notifiers)[:10]
    found = {}
    for deployment, called in _called(config.deployments).items():
        for name in _wanted(config, deployment):
            found[f"{called}.{name}"] = msgspec.structs.replace(_default(deployment, name), notify=notify)
        rollout = config.deployments[deployment].rollout
        if rollout is not None and rollout.always is not None:
            found[f"{called}.always"] = msgspec.structs.replace(_always(deployment), notify=notify)
    for key in keys:
        found[f"{key}.budget"] = AlarmConfig(kind="budget", key=key, window="1d", hold="0s", notify=notify)
    for team, may in config.teams.items():
        if may.budget is not None:  # no key's alarm is called so, whatever the key is
            found[f"{team}.team-budget"] = AlarmConfig(
                kind="budget", team=team, window="1d", hold="0s", notify=notify
            )
    for tag, called in _called(config.tags).items():
        found[f"{called}.tag-budget"] = AlarmConfig(
            kind="budget", tag=tag, window="1d", hold="0s", notify=notify
        )
    if config.deployments:
        for own, (metric, hold) in OWN.items():
            found[own] = AlarmConfig(kind="recording", metric=metric, window="1h", hold=hold, notify=notify)
    return {**found, **config.alarms}


def _called(names: Iterable[str]) -> dict[str, str]:
    """What default alarms call each deployment or tag, which may have a name that no alarm can have. Where
    two would be called so, those that have another name get some of its hash: none must take another's
    place."""
    plain = {each: re.sub(r"[^A-Za-z0-9._-]", "-", each)[:CALLED_MAX] for each in names}
    times = Counter(plain.values())
    return {
        each: called if each == called or times[called] == 1 else f"{called[: CALLED_MAX - 9]}-{_hash(each)}"
        for each, called in plain.items()
    }


def _wanted(config: Config, deployment: str) -> list[DefaultAlarm]:
    """The default alarms of a deployment; none on fallbacks where its release has none."""
    own = config.deployments[deployment]
    release = config.releases.get(own.release) if own.release is not None else None
    falls_back = release is not None and bool(release.fallbacks)
    return [each for each in own.default_alarms if each != "fallbacks" or falls_back]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _always(deployment: str) -> AlarmConfig:
    """Of those who always get the canary: what they see is no evidence, and so takes nothing back."""
    return AlarmConfig(
        kind="threshold",
        deployment=deployment,
        metric="error_rate",
        above=ALWAYS_ERRORS,
        where={"arm": "always"},
        window="1h",
        hold="0s",
        min_requests=ALWAYS_CALLS,
    )


def _default(deployment: str, name: DefaultAlarm) -> AlarmConfig:
    if name == "traffic":
        return AlarmConfig(
            kind="change",
            deployment=deployment,
            metric="requests",
            below=TRAFFIC_GONE,
            window="1h",
            hold="5m",
        )
    if name == "drift":
        return AlarmConfig(kind="drift", deployment=deployment, hold="0s")
    return AlarmConfig(
        kind="sequential", deployment=deployment, metric=_SEQUENTIAL[name], window="1h", hold="0s"
    )
