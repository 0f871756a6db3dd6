"""Keys in the admin API, for models and for the console: made, given another secret, taken away.

A secret is shown once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from airboss.config.types import Config
from airboss.console.desk import Desk
from airboss.console.key_terms import (
    KeyChange,
    NewKey,
    check_terms,
    configured,
    settings_in,
)
from airboss.console.route import Call, Route
from airboss.domain.errors import InvalidRequest, NotFound, WrongCall
from airboss.domain.plan import Allowance, Budget, Limits, Priority, Queue, ServingPlan
from airboss.domain.ports import ApiKey, Spent
from airboss.governance.budgets import members, period_end, periods_start, spent_of, user_budget
from airboss.governance.keys import (
    Terms,
    bound,
    living,
    made,
    new_key,
    own_policy,
    revoked,
    rotated,
    terms_of,
    with_role,
    with_terms,
)
from airboss.governance.ledger_notes import Change, Tell, change_noted, noted
from airboss.governance.sources import read_sources
from airboss.releases.sharing import has_price
from airboss.telemetry.metrics import LimitUse

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""As in the configuration's `[keys.NAME]`."""

STARTER = "default"
"""The key that `airboss up` prints. Its secret stands in the data directory as well."""

NAMED_MAX = 5
"""Deployments that a warning names."""

OWN = "airboss"
"""The key of our own calls."""


class LimitShown(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of a key or a team: of `requests` or `tokens` a minute, or of `concurrency`; and how much is
    used."""

    what: str
    limit: int
    used: int


class BudgetShown(msgspec.Struct, frozen=True, kw_only=True):
    """A budget of a key or a team, what its calls have cost in this period by their records, and when the
    next begins."""

    usd: Decimal
    per: Literal["month", "week", "day"]
    spent_usd: Decimal
    ends_at: datetime


class TeamShown(msgspec.Struct, frozen=True, kw_only=True):
    """A team, with what its keys use and spend together; those that are revoked have spent, too."""

    name: str
    limits: tuple[LimitShown, ...] = ()
    budget: BudgetShown | None = None
    policy: str | None = None


class KeyShown(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret. `previous_until` is until when the secret before a rotation is good too.
    `each_user` is what each of its users may have. `configured` are the settings that stand in `[keys.NAME]`,
    and are changed there. A key with a `role` opens the console, and calls nothing. `unpriced` are
    deployments that refuse its calls, for it or its team has a budget, and nobody knows what their model
    costs. `sources` are the networks that it is good from; None: from everywhere. `policy` binds its calls,
    beside its team's and those of what it calls."""

    name: str
    state: Literal["active", "expired", "revoked"]
    created_at: datetime
    deployments: tuple[str, ...] | None
    internal: bool
    previous_until: datetime | None
    revoked_at: datetime | None
    expires_at: datetime | None = None
    priority: Priority = "normal"
    queue: Queue | None = None
    limits: tuple[LimitShown, ...] = ()
    budget: BudgetShown | None = None
    each_user: Allowance | None = None
    team: TeamShown | None = None
    configured: tuple[str, ...] = ()
    role: str | None = None
    sources: tuple[str, ...] | None = None
    unpriced: tuple[str, ...] = ()
    policy: str | None = None


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """Every key, by name."""

    keys: tuple[KeyShown, ...]


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to rotate: for how many seconds the secret of now stays good beside the new one."""

    grace_s: float = 0.0


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A key with its secret, which nobody can show again."""

    name: str
    key: str
    deployments: tuple[str, ...] | None
    previous_until: datetime | None = None
    role: str | None = None


def list_keys(desk: Desk, call: Call) -> Keys:
    """GET /api/v1/keys."""
    return Keys(keys=keys_shown(desk, call.now))


def keys_shown(desk: Desk, now: datetime) -> tuple[KeyShown, ...]:
    """Every key, with what it uses and spends, and its team's."""
    config, keys, uses, served = configured(desk), desk.ledger.all_keys(), desk.uses(), desk.ledger.snapshot()
    limited = any(each.budget for each in keys) or any(each.budget for each in config.teams.values())
    spent = desk.spent(periods_start(now).date()) if limited else ()
    teams = teams_of(config, keys, uses, spent, now)
    return tuple(
        msgspec.structs.replace(
            shown(key, now),
            limits=limits_shown("key", key.name, key.limits, uses),
            budget=budget_shown((key.name,), key.budget, spent, now),
            team=teams.get(key.team) if key.team is not None else None,
            configured=settings_in(config.keys.get(key.name)),
            policy=own_policy(key, config) if key.role is None else None,
            unpriced=unpriced(key, served.plan) if served is not None else (),
        )
        for key in keys
    )


def teams_shown(desk: Desk, now: datetime) -> tuple[TeamShown, ...]:
    """Every team, by name, with what its keys use and spend."""
    config = configured(desk)
    spent = desk.spent(periods_start(now).date()) if config.teams else ()
    found = teams_of(config, desk.ledger.all_keys(), desk.uses(), spent, now)
    return tuple(found[name] for name in sorted(found))


def teams_of(
    config: Config, keys: Iterable[ApiKey], uses: Iterable[LimitUse], spent: Iterable[Spent], now: datetime
) -> dict[str, TeamShown]:
    """The same by name."""
    of_team = members(keys)
    return {
        name: TeamShown(
            name=name,
            limits=limits_shown("team", name, team.limits, uses),
            budget=budget_shown(of_team.get(name, ()), team.budget, spent, now),
            policy=team.policy,
        )
        for name, team in config.teams.items()
    }


def unpriced(key: ApiKey, plan: ServingPlan) -> tuple[str, ...]:
    """Deployments that a key may call and that refuse it for a budget: nobody knows what they cost."""
    team = plan.teams.get(key.team, Allowance()) if key.team is not None else Allowance()
    limited = any(each is not None for each in (key.budget, user_budget(key), team.budget))
    if not limited or key.revoked_at is not None:
        return ()
    return tuple(
        each.name
        for each in plan.deployments
        if not has_price(each.target) and (key.deployments is None or each.name in key.deployments)
    )


def refusals(desk: Desk, plan: ServingPlan) -> Iterator[str]:
    """What to say of keys, and tags, that a plan refuses somewhere for their budget, before programs hear."""
    unknown = [each.name for each in plan.deployments if not has_price(each.target)]
    if unknown and plan.tags:
        more = f" and {len(unknown) - NAMED_MAX} more" if len(unknown) > NAMED_MAX else ""
        yield (
            f"calls with the tag {' or '.join(map(repr, plan.tags))}, whose values have a budget in USD, are "
            f"refused at {', '.join(unknown[:NAMED_MAX])}{more}: nobody knows what that costs; give it a "
            "price under [models]"
        )
    for key in desk.ledger.all_keys():
        if names := unpriced(key, plan):
            own = key.budget is not None or user_budget(key) is not None
            has = "has" if own else f"is in team {key.team!r}, which has"
            yield (
                f"key {key.name!r} {has} a budget in USD, and is refused at {', '.join(names)}: nobody knows "
                "what that costs; give the model a price under [models]"
            )


def limits_shown(
    scope: Literal["key", "team"], name: str, limits: Limits | None, uses: Iterable[LimitUse]
) -> tuple[LimitShown, ...]:
    """The limits of a key or a team, with their use."""
    used = {use.what: int(use.used) for use in uses if (use.scope, use.name) == (scope, name)}
    limits = limits or Limits()
    said = {
        "requests": limits.requests_per_minute,
        "tokens": limits.tokens_per_minute,
        "concurrency": limits.concurrency,
    }
    return tuple(
        LimitShown(what=what, limit=limit, used=used.get(what, 0))
        for what, limit in said.items()
        if limit is not None
    )


def budget_shown(
    keys: Collection[str], budget: Budget | None, spent: Iterable[Spent], now: datetime
) -> BudgetShown | None:
    """A budget, with what these keys have spent of it."""
    if budget is None:
        return None
    return BudgetShown(
        usd=budget.usd,
        per=budget.per,
        spent_usd=spent_of(keys, budget, now, spent),
        ends_at=period_end(budget, now),
    )


def shown(key: ApiKey, now: datetime) -> KeyShown:
    """A key as it may be looked at."""
    until = key.previous_until
    expired = key.expires_at is not None and key.expires_at <= now
    return KeyShown(
        name=key.name,
        state="revoked" if key.revoked_at is not None else "expired" if expired else "active",
        created_at=key.created_at,
        deployments=key.deployments,
        internal=key.internal,
        previous_until=until if until is not None and until > now else None,
        revoked_at=key.revoked_at,
        expires_at=key.expires_at,
        priority=key.priority,
        queue=key.limits.queue if key.limits is not None else None,
        each_user=key.each_user,
        role=key.role,
        sources=key.sources,
    )


def create_key(desk: Desk, call: Call) -> Secret:
    """POST /api/v1/keys."""
    asked = call.intent(NewKey)
    if not NAME.fullmatch(asked.name):
        raise InvalidRequest(
            f"{asked.name[:80]!r} cannot be a key's name; use 1 to 64 of A-Z a-z 0-9 . _ -", param="name"
        )
    if asked.name == STARTER:
        raise WrongCall(f"{STARTER!r} is the key that `airboss up` prints; `airboss keys rotate {STARTER}`")
    if asked.name == OWN:
        raise WrongCall(f"{OWN!r} is the key of Airboss's own calls; choose another name")
    terms = Terms(
        deployments=asked.deployments,
        limits=asked.limits,
        budget=asked.budget,
        each_user=asked.each_user,
        team=asked.team,
        priority=asked.priority,
        expires_at=asked.expires_at,
        role=asked.role,
        sources=read_sources(asked.sources) if asked.sources is not None else None,
        policy=asked.policy,
    )
    secret = new_key()

    def make(before: ApiKey | None) -> ApiKey:
        config = configured(desk)  # as it is by now: another may have been applied meanwhile
        named, given = config.keys.get(asked.name), terms
        if named is not None and named.role is not None:
            given = msgspec.structs.replace(terms, role=named.role)
        check_terms(desk, given, asked.name, config)
        hands = call.caller.hands
        return bound(made(before, asked.name, secret, terms=given, now=call.now, hands=hands), config)

    key = _change(desk, call, "keys.create", asked.name, make, tell=noted)
    return Secret(name=key.name, key=secret, deployments=key.deployments, role=key.role)


def called(desk: Desk, call: Call) -> str:
    """The name in the path, of a key that is there or was. Raises NotFound."""
    name = call.path["name"]
    if all(key.name != name for key in desk.ledger.all_keys()):
        raise NotFound(
            f"key {name[:80]!r} is not there; `airboss keys list`, or GET /api/v1/keys, shows all",
            param="name",
        )
    return name


def set_key(desk: Desk, call: Call) -> KeyShown:
    """POST /api/v1/keys/{name}/set."""
    name = called(desk, call)
    asked = call.intent(KeyChange)
    changes: dict[str, Any] = {
        each: getattr(asked, each) for each in asked.__struct_fields__ if getattr(asked, each) is not UNSET
    }
    if changes.get("sources") is not None:
        changes["sources"] = read_sources(changes["sources"])
    said = Terms(**changes)

    def change(before: ApiKey | None) -> ApiKey:
        config = configured(desk)  # as for a new key
        named = config.keys.get(name)
        for each in settings_in(named):
            if each in changes:
                raise WrongCall(
                    f"[keys.{name}] says {each}, and goes before what a key is told; change it there, and "
                    "`airboss apply`"
                )
        key = living(before, name)
        if said.role is not None:
            key = with_role(key, said.role)
        check_terms(desk, msgspec.structs.replace(said, role=key.role), name, config)
        terms = msgspec.structs.replace(terms_of(key), **changes)
        return bound(with_terms(key, terms, now=call.now), config)

    _change(desk, call, "keys.set", name, change, tell=noted)
    return next(each for each in keys_shown(desk, call.now) if each.name == name)


def rotate_key(desk: Desk, call: Call) -> Secret:
    """POST /api/v1/keys/{name}/rotate."""
    name = called(desk, call)
    asked = call.intent(Rotation) if call.body.strip() else Rotation()
    check_starter(desk, name, "rotated")
    secret = new_key()

    def change(found: ApiKey | None) -> ApiKey:
        before = found
        if name == STARTER and found is not None:
            before = msgspec.structs.replace(found, revoked_at=None)
        hands = call.caller.hands
        key = rotated(before, name, secret, grace_s=asked.grace_s, now=call.now, hands=hands)
        if before != found:  # what was revoked stays so
            key = msgspec.structs.replace(key, previous_sha256=None, previous_until=None)
        return key

    def told(key: ApiKey) -> dict[str, object]:
        until = key.previous_until
        return {
            "grace_s": asked.grace_s,
            "previous_until": until.isoformat() if until is not None else None,
        }

    with desk.ledger.together():
        key = _change(desk, call, "keys.rotate", name, change, tell=told)
        if name == STARTER:
            assert desk.keep_starter is not None  # check_starter has looked
            # Under the ledger's lock: of several at once the last here is the one that the file keeps.
            desk.keep_starter(secret)
    return Secret(
        name=name,
        key=secret,
        deployments=key.deployments,
        previous_until=key.previous_until,
        role=key.role,
    )


def revoke_key(desk: Desk, call: Call) -> KeyShown:
    """POST /api/v1/keys/{name}/revoke."""
    name = called(desk, call)
    check_starter(desk, name, "revoked")

    def change(before: ApiKey | None) -> ApiKey:
        return revoked(before, name, now=call.now)

    key = _change(desk, call, "keys.revoke", name, change, tell=lambda _: {})
    return shown(key, call.now)


def _change(desk: Desk, call: Call, action: str, name: str, change: Change, *, tell: Tell) -> ApiKey:
    """Change a key, with the leaf that says so."""
    with desk.ledger.together():
        return change_noted(
            desk.ledger,
            desk.audit,
            name,
            change,
            lambda key, digests: desk.note(call, action, f"key {name}", {**tell(key), **digests}),
        )


def check_starter(desk: Desk, name: str, what: str) -> None:
    """A preset key is not ours to change. Raises WrongCall."""
    if name == STARTER and desk.keep_starter is None:
        raise WrongCall(
            f"key {STARTER!r} is preset by AIRBOSS_API_KEY and cannot be {what} here; "
            "set another where Airboss is started, and start it again"
        )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/keys",
        summary="Keys of the data plane and of the console, revoked ones included, without their secrets",
        handle=list_keys,
        role="viewer",
    ),
    Route(
        method="POST",
        path="/api/v1/keys",
        summary="Make a key; the answer is the only place where its secret is shown",
        handle=create_key,
        role="admin",
        body=NewKey,
    ),
    Route(
        method="POST",
        path="/api/v1/keys/{name}/set",
        summary="Change what a key may: deployments, limits, budget, users, priority, end, role; in a second",
        handle=set_key,
        role="admin",
        body=KeyChange,
    ),
    Route(
        method="POST",
        path="/api/v1/keys/{name}/rotate",
        summary="Give a key another secret; the old one ends at once, or after `grace_s` seconds",
        handle=rotate_key,
        role="admin",
        body=Rotation,
    ),
    Route(
        method="POST",
        path="/api/v1/keys/{name}/revoke",
        summary="Take a key away; every gateway refuses it within a second",
        handle=revoke_key,
        role="admin",
    ),
)
"""Every route about keys."""
