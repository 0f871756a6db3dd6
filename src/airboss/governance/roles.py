"""Roles: what a console key may. Each may all that those below it may, and what is not known may nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, get_args

from airboss.config import Config
from airboss.config.types import Role
from airboss.domain.ports import ApiKey
from airboss.domain.release import Policy
from airboss.governance.policies import ACTIONS, binding, custom_of, lessened

ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""From the least on."""

MAY: Final[Mapping[Role, str]] = {
    "viewer": "sees numbers and states, and nobody's words",
    "reader": "also reads what people and models have written",
    "operator": "also changes what is served, and starts evaluations and the like",
    "admin": "may all: keys, policies, providers, erasures",
}
"""What each may, in words."""

OPERATORS: Final = ("models", "releases", "deployments", "alarms", "maintenance")
"""Tables of the configuration that an operator may change. In the others stand who may do what, what is kept,
where calls go, and references to secrets, which could be sent to whoever an operator likes."""


def allows(held: str, needed: Role) -> bool:
    """Whether one who has the role `held` may what needs `needed`. Any other text is no role."""
    return held in ROLES and ROLES.index(held) >= ROLES.index(needed)


def who_may(keys: Iterable[ApiKey], needed: Role, now: datetime) -> tuple[str, ...]:
    """The names of the console keys that are good now and have such a role."""
    return tuple(key.name for key in keys if key.role and good(key, now) and allows(key.role, needed))


def good(key: ApiKey, now: datetime) -> bool:
    """Whether a key opens anything at all now."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def good_hashes(key: ApiKey, now: datetime) -> tuple[str, ...]:
    """The hashes of the secrets that a key has now: its own and, for a while, that from before a rotation."""
    until = key.previous_until
    if not good(key, now):
        return ()
    if key.previous_sha256 is None or until is None or until <= now:
        return (key.sha256,)
    return (key.sha256, key.previous_sha256)


def only_admins(before: Config, after: Config) -> str | None:
    """What of a change to the configuration is for an admin alone, None if nothing is."""
    for table in Config.__struct_fields__:
        if table not in OPERATORS and getattr(before, table) != getattr(after, table):
            return f"[{table}]"
    told = [(each.provider, each.model, each.price) for each in before.models.values()]
    for name, model in after.models.items():
        # Budgets are counted in it; a model without one is of the table of prices, or refused for a budget.
        if model.price is not None and (model.provider, model.model, model.price) not in told:
            return f"the price of [models.{name}]"
    now = bound_by(after)
    for name, policies in bound_by(before).items():
        if not policies <= now.get(name, frozenset()):
            return f"a policy that {name!r} is bound to"
    return None


def bound_by(config: Config) -> Mapping[str, frozenset[str]]:
    """The policies that hold for what is called by each name that a deployment has: its own, and its
    release's. A name that is gone is bound by nothing: it could come back without them."""
    found: dict[str, frozenset[str]] = {}
    for name, chosen in config.deployments.items():
        release = config.releases.get(chosen.release) if chosen.release is not None else None
        named = (chosen.policy, release.policy if release is not None else None)
        policies = frozenset(each for each in named if each is not None)
        found |= dict.fromkeys((name, *chosen.aliases), policies)
    return found


def loosened(deployment: Policy | None, before: Policy | None, after: Policy | None) -> bool:
    """Whether a release that has the policy `after`, in place of one with `before`, would have the deployment
    do less about some kind of data."""
    now = binding(deployment, after)
    if lessened(custom_of(deployment, before), custom_of(deployment, after)):
        return True
    return any(
        kind not in now or ACTIONS.index(now[kind]) < ACTIONS.index(action)
        for kind, action in binding(deployment, before).items()
    )
