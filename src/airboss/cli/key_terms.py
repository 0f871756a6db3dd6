"""What options of `airboss keys` say of a key, as the admin API takes it. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, get_args

from airboss.cli.when import parse_until
from airboss.config.types import Role
from airboss.domain.errors import WrongCall
from airboss.domain.plan import Priority

NAMES = {"requests": "requests_per_minute", "tokens": "tokens_per_minute", "concurrency": "concurrency"}
"""Settings of `limits`, by what they limit."""


def terms(
    *,
    deployments: str | None,
    limits: dict[str, str | None],
    each_user: dict[str, str | None],
    held: dict[str, Any],
    budget: str | None,
    per: str | None,
    team: str | None,
    priority: str | None,
    policy: str | None,
    expires: str | None,
    role: str | None,
    sources: str | None,
) -> dict[str, Any]:
    """What options say, as the API takes it; `held` is the key as it is. Raises WrongCall."""
    body: dict[str, Any] = {}
    if deployments is not None:
        body["deployments"] = named(deployments)
    if any(each is not None for each in limits.values()):
        body["limits"] = limits_from(limits, held)
    if any(each is not None for each in each_user.values()):
        body["each_user"] = each_user_from(each_user, held)
    if budget is not None or per is not None:
        body["budget"] = budget_from(budget, per, held)
    named_one = {"team": team, "policy": policy}
    body |= {what: None if said == "none" else said for what, said in named_one.items() if said is not None}
    if priority is not None:
        body["priority"] = one_of(priority, get_args(Priority), "--priority")
    if expires is not None:
        at = parse_until(expires, now=datetime.now(UTC), option="--expires") if expires != "never" else None
        body["expires_at"] = at.isoformat() if at is not None else None
    if role is not None:
        body["role"] = one_of(role, get_args(Role), "--role")
    if sources is not None:
        body["sources"] = None if sources == "none" else [each.strip() for each in sources.split(",")]
    return body


def named(deployments: str) -> list[str] | None:
    """The deployments that an option names; None for all. Raises WrongCall where it names nothing, as of a
    variable that is not set: that would stop a key that programs use."""
    names = [each.strip() for each in deployments.split(",") if each.strip()]
    if not names:
        raise WrongCall("--deployments is empty; name some, or write `all` for every one, `none` for none")
    if names == ["all"]:
        return None
    return [] if names == ["none"] else names


def one_of(said: str, choices: tuple[str, ...], option: str) -> str:
    """What an option says that takes one of a few words. Raises WrongCall."""
    if said not in choices:
        raise WrongCall(f"{option} is {said!r}; it is {' or '.join(f'`{each}`' for each in choices)}")
    return said


def limits_from(said: dict[str, str | None], held: dict[str, Any]) -> dict[str, Any] | None:
    """The limits that a key has, with those that are said."""
    found: dict[str, Any] = {NAMES[each["what"]]: each["limit"] for each in held.get("limits", ())}
    if held.get("queue"):
        found["queue"] = held["queue"]
    found |= amounts(said, option="--")
    if found.get("concurrency") is None:
        found.pop("queue", None)
    return found if any(each is not None for each in found.values()) else None


def each_user_from(said: dict[str, str | None], held: dict[str, Any]) -> dict[str, Any] | None:
    """What each user of a key may have, with what is said."""
    before = held.get("each_user") or {}
    limits = {name: said[name] for name in NAMES.values() if name in said}
    limits = (before.get("limits") or {}) | amounts(limits, option="--user-")
    found: dict[str, Any] = {"budget": before.get("budget")}
    if said.get("budget") is not None or said.get("per") is not None:
        found["budget"] = budget_from(said.get("budget"), said.get("per"), found, option="--user-")
    if any(each is not None for each in limits.values()):
        found["limits"] = limits
    found = {name: each for name, each in found.items() if each is not None}
    return found or None


def amounts(said: dict[str, str | None], *, option: str) -> dict[str, int | float | None]:
    """What options say of limits; those that say nothing are left out. Raises WrongCall."""
    return {
        name: None if value == "none" else number(value, int, option + name.replace("_", "-"))
        for name, value in said.items()
        if value is not None
    }


def budget_from(
    usd: str | None, per: str | None, held: dict[str, Any], *, option: str = "--"
) -> dict[str, Any] | None:
    """The budget that a key has, with what is said."""
    if usd == "none":
        return None
    found = {each: held["budget"][each] for each in ("usd", "per")} if held.get("budget") else {}
    if usd is not None:
        found["usd"] = number(usd, float, f"{option}budget")
    if per is not None:
        if per not in ("day", "week", "month"):
            raise WrongCall(f"{option}per is {per!r}; a budget is per `day`, `week` or `month`")
        found["per"] = per
    if "usd" not in found:
        raise WrongCall(f"{option}per is of a budget, and there is none; give {option}budget too")
    return found


def number(text: str, kind: type[int | float], option: str) -> int | float:
    """A number. Raises WrongCall."""
    try:
        read = kind(text)
    except ValueError:
        read = None
    if read is None or not math.isfinite(read):
        raise WrongCall(f"{option} {text!r} is neither a number nor `none`")
    return read
