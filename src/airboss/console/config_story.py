"""What applying a configuration would do to those who call: in words, by deployment and by key. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from airboss.config import Config
from airboss.domain.ports import ApiKey
from airboss.governance.keys import bound
from airboss.releases.build import build_releases

Look = Literal["ok", "warn", "bad"]


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment that is not what it was. `calls` were made in the day before; None: nobody can tell."""

    name: str
    words: str
    look: Look
    calls: int | None


class Screened(msgspec.Struct, frozen=True, kw_only=True):
    """A key that is not under the policies that it was."""

    name: str
    words: str
    look: Look


def touched(before: Config, after: Config, calls: Mapping[str, int] | None) -> tuple[Touched, ...]:
    """Every deployment that applying `after` changes; by name. `calls` of a day, by deployment."""
    old, new = build_releases(before, engine_version=""), build_releases(after, engine_version="")
    found = []
    for name in sorted({*before.deployments, *after.deployments}):
        said: tuple[str, Look] | None
        if name not in after.deployments:
            said = ("is taken away: calls for it get 404", "bad")
        elif name not in before.deployments:
            said = ("is new: programs may call it", "ok")
        elif old.wanted(before, name).digest != new.wanted(after, name).digest:
            said = _another_release(careful=after.deployments[name].rollout is not None)
        elif _around(before, name) != _around(after, name):
            said = ("answers as before, with other settings, at once", "ok")
        else:
            said = None
        if said is not None:
            made = calls.get(name, 0) if calls is not None else None
            found.append(Touched(name=name, words=said[0], look=said[1], calls=made))
    return tuple(found)


def screened_otherwise(before: Config, after: Config, keys: Iterable[ApiKey]) -> tuple[Screened, ...]:
    """Every key whose own policies, or its team's, applying `after` changes, in their order."""
    found = []
    for key in keys:
        if key.role is not None or key.revoked_at is not None:
            continue
        old, new = (
            {name: config.policies.get(name) for name in bound(key, config).policies}
            for config in (before, after)
        )
        if old == new:
            continue
        if new:
            words = f"is screened by {' and '.join(new)}, whatever it calls, at once"
            found.append(Screened(name=key.name, words=words, look="ok"))
        else:
            words = "is screened by nothing but the policies of what it calls, at once"
            found.append(Screened(name=key.name, words=words, look="warn"))
    return tuple(found)


def _another_release(*, careful: bool) -> tuple[str, Look]:
    if careful:
        waits = "gets another release, which waits as a candidate until a rollout"
        return f"{waits}, or serves at once if it was stable here before", "ok"
    return "is answered by another release, at once: it has no rollout", "warn"


def _around(config: Config, name: str) -> tuple[object, ...]:
    """All that is said of a deployment apart from its release's content, and of who is asked for it."""
    chosen = config.deployments[name]
    release = config.releases[chosen.release] if chosen.release is not None else None
    models = (*config.asked(config.model_of(name)), *(release.fallbacks if release is not None else ()))
    asked = [config.models[each] for each in models]
    policies = [config.policies.get(chosen.policy or "")]
    return chosen, asked, [config.providers[each.provider] for each in asked], policies
