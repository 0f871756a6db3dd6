"""What a key is made for, as the admin API takes it, checks it and notes it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from airboss.config import Config, KeyConfig, parse_config
from airboss.config.checks_limits import check_budget, check_each_user, check_limit
from airboss.config.types import CALLS_ONLY, Role
from airboss.config.wording import nearest
from airboss.console.desk import Desk
from airboss.domain.errors import ConfigError, InvalidRequest, WrongCall
from airboss.domain.plan import Allowance, Budget, Limits, Priority
from airboss.governance.keys import Terms

SETTINGS = (*CALLS_ONLY, "role")
"""Of `[keys.NAME]`."""


class LimitsAsked(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`limits`, as `[keys.NAME]` takes them."""


class BudgetAsked(Budget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`budget`, as `[keys.NAME]` takes it."""


class EachUserAsked(Allowance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`each_user`, as `[keys.NAME]` takes it."""

    limits: LimitsAsked | None = None
    budget: BudgetAsked | None = None


Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its zone."""


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make. `deployments` None: it may call all. What `[keys.NAME]` says goes before the rest. With
    a `role` it opens the console instead, and only `expires_at` can be given beside it. `sources`: addresses
    and networks that it is good from; None: from everywhere. `policy` screens its calls; None: none of
    its own."""

    name: str
    deployments: tuple[str, ...] | None = None
    limits: LimitsAsked | None = None
    budget: BudgetAsked | None = None
    each_user: EachUserAsked | None = None
    team: str | None = None
    priority: Priority = "normal"
    policy: str | None = None
    expires_at: Moment | None = None
    role: Role | None = None
    sources: tuple[str, ...] | None = None


class KeyChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of a key; null takes a setting away, and what is left out stays."""

    deployments: tuple[str, ...] | UnsetType | None = UNSET
    limits: LimitsAsked | UnsetType | None = UNSET
    budget: BudgetAsked | UnsetType | None = UNSET
    each_user: EachUserAsked | UnsetType | None = UNSET
    team: str | UnsetType | None = UNSET
    priority: Priority | UnsetType = UNSET
    policy: str | UnsetType | None = UNSET
    expires_at: Moment | UnsetType | None = UNSET
    role: Role | UnsetType = UNSET
    sources: tuple[str, ...] | UnsetType | None = UNSET


def configured(desk: Desk) -> Config:
    """The configuration in force, whose `[keys]` and `[teams]` count here."""
    return parse_config(desk.ledger.config() or "", source="the configuration in force")


def settings_in(named: KeyConfig | None) -> tuple[str, ...]:
    """The settings of a key that stand in the configuration."""
    return tuple(name for name in SETTINGS if getattr(named, name, None) is not None)


def _wrong(_: tuple[str, ...], message: str) -> ConfigError:
    return ConfigError(message)


def check_terms(desk: Desk, terms: Terms, name: str, config: Config) -> None:
    """What the key of that name is made for must make sense, beside what the configuration says. Raises
    InvalidRequest, WrongCall."""
    if terms.role is not None:
        check_role(terms, config.keys.get(name))
        if terms.sources is not None:
            raise InvalidRequest(
                f"sources are about calls of models, and a key with a role ({terms.role}) makes none; leave "
                "them out",
                param="sources",
            )
    check_deployments(desk, terms.deployments)
    if terms.team is not None and terms.team not in config.teams:
        raise WrongCall(
            f"there is no team {terms.team[:80]!r} in the configuration; "
            f"{nearest(terms.team[:80], config.teams)}"
        )
    if terms.policy is not None and terms.policy not in config.policies:
        raise WrongCall(
            f"there is no policy {terms.policy[:80]!r} in the configuration; "
            f"{nearest(terms.policy[:80], config.policies)}"
        )
    try:
        if terms.limits is not None:
            check_limit(("limits",), terms.limits, _wrong)
        if terms.budget is not None:
            check_budget(("budget",), terms.budget, _wrong)
        if terms.each_user is not None:
            check_each_user(("each_user",), terms.each_user, _wrong)
    except ConfigError as error:
        raise InvalidRequest(str(error)) from None


def check_role(terms: Terms, named: KeyConfig | None) -> None:
    """A console key calls no models: what is about calls means nothing beside its role. Raises
    InvalidRequest."""
    for name in CALLS_ONLY:
        usual = "normal" if name == "priority" else None
        in_file = getattr(named, name, None) is not None
        if in_file or getattr(terms, name) != usual:
            where = "in the configuration's [keys.NAME] " if in_file else ""
            raise InvalidRequest(
                f"{where}{name} is about calls of models, and a key with a role ({terms.role}) makes "
                f"none; leave out {name}",
                param=name,
            )


def check_deployments(desk: Desk, deployments: tuple[str, ...] | None) -> None:
    """Every one is served, by its own name. Raises WrongCall."""
    snapshot = desk.ledger.snapshot()
    served = snapshot.plan.deployments if snapshot is not None else ()
    known = {each.name for each in served}
    meant = {alias: each.name for each in served for alias in each.aliases}
    for name in deployments or ():
        if name in meant:
            raise WrongCall(f"{name!r} is an alias of {meant[name]!r}; name the deployment itself")
        if name not in known:
            raise WrongCall(f"there is no deployment {name[:80]!r}; {nearest(name, known)}")
