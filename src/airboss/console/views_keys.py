"""Keys on pages: who may call, how much of their limits and money is used, and forms that change it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from airboss.config.tags import written_tag
from airboss.console import api_keys, key_terms
from airboss.console.api_keys import BudgetShown, KeyShown, LimitShown, Secret, TeamShown
from airboss.console.api_tags import TagShown, ValueShown, tags_shown
from airboss.console.desk import Desk
from airboss.console.page import Action, Form, Once, Page, View, current_plan
from airboss.console.render import Visit
from airboss.domain.errors import InvalidRequest, NotFound, StoreUnavailable
from airboss.domain.plan import Allowance
from airboss.governance.budgets import money, period_words, spent_money
from airboss.governance.roles import MAY

WORDS = {"requests": "requests a minute", "tokens": "tokens a minute", "concurrency": "at once"}
NAMES = {"requests": "requests_per_minute", "tokens": "tokens_per_minute", "concurrency": "concurrency"}
LIMITS = tuple(NAMES.values())
EXPIRIES = ("7", "30", "90", "365")
"""Days that a form offers."""
GRACES = (
    ("0", "no more: at once"),
    ("3600", "for an hour"),
    ("86400", "for a day"),
    ("604800", "for 7 days"),
)
THOUSANDS = re.compile(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")
"""Commas that only group digits. In `12,50` one is meant as the point: that is asked about, not guessed."""
LINKED_CHARS_MAX = 500
"""Of a tag's value."""
NEARLY = 0.9
"""From this share on a bar is drawn as nearly full."""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """How much of something is used: a `share` of it, in words, and how that looks."""

    share: float
    words: str
    look: str


def bar(used: float, most: float, words: str) -> Bar:
    """A bar; one without an end is empty."""
    share = used / most if most else 0.0
    return Bar(share=share, words=words, look="full" if share >= 1 else "high" if share >= NEARLY else "")


def limit_bar(limit: LimitShown) -> Bar:
    """Of a limit."""
    return bar(limit.used, limit.limit, f"{limit.used:,} of {limit.limit:,} {WORDS[limit.what]}")


def budget_bar(budget: BudgetShown) -> Bar:
    """Of a budget."""
    words = f"${spent_money(budget.spent_usd)} of ${money(budget.usd)} {period_words(budget.per)}"
    return bar(float(budget.spent_usd), float(budget.usd), words)


def bars(whose: KeyShown | TeamShown) -> tuple[Bar, ...]:
    """All of a key's, or of a team's."""
    found = [limit_bar(each) for each in whose.limits]
    return (*found, *([budget_bar(whose.budget)] if whose.budget is not None else []))


def each_may(each: Allowance | None) -> tuple[str, ...]:
    """What each user of a key may have, in words."""
    limits, budget = (each.limits, each.budget) if each is not None else (None, None)
    said = [] if limits is None else [(getattr(limits, name), WORDS[what]) for what, name in NAMES.items()]
    found = [f"{most:,} {words}" for most, words in said if most is not None]
    return (*found, *([f"${money(budget.usd)} a {budget.per}"] if budget is not None else []))


def listing(desk: Desk, seen: Visit) -> View:
    """Every key, those that open nothing last."""
    found = sorted(api_keys.keys_shown(desk, seen.now), key=lambda key: (key.state != "active", key.name))
    rows = [(key, bars(key)) for key in found]
    teams = [
        (team, bars(team), [key for key in found if key.team is not None and key.team.name == team.name])
        for team in api_keys.teams_shown(desk, seen.now)
    ]
    drawn = {"keys": rows, "teams": teams, "each_may": each_may, "tags": tags(desk, seen)}
    return View("keys.html", **choices(desk) | drawn)


def tags(desk: Desk, seen: Visit) -> list[tuple[TagShown, str, list[tuple[str, str | None, Bar]]]] | None:
    """Tags with budgets, each with what a value may spend, in words, and its values: as a filter of records
    has them, and how much they have spent. None while records cannot be read."""
    try:
        found = tags_shown(desk, seen.now)
    except StoreUnavailable:
        return None
    return [
        (
            tag,
            f"${money(tag.usd)} a {tag.per}",
            [(each.value, called(tag.name, each.value), value_bar(tag, each)) for each in tag.values],
        )
        for tag in found
    ]


def called(tag: str, value: str) -> str | None:
    """A value as a filter of records has it; None for what is too long for a link."""
    return written_tag(tag, value) if len(value) <= LINKED_CHARS_MAX else None


def value_bar(tag: TagShown, value: ValueShown) -> Bar:
    """Of a value's budget."""
    return budget_bar(BudgetShown(usd=tag.usd, per=tag.per, spent_usd=value.spent_usd, ends_at=tag.ends_at))


def one(desk: Desk, seen: Visit) -> View:
    """One key: what it uses and spends, and what can be done about it."""
    key = key_of(desk, seen)
    return View(
        "key.html",
        k=key,
        bars=bars(key),
        team_bars=bars(key.team) if key.team is not None else (),
        each_may=each_may(key.each_user),
        limits=dict(zip(LIMITS, (limit_of(key, what) for what in WORDS), strict=True)),
        preset=key.name == api_keys.STARTER and desk.keep_starter is None,
        graces=GRACES,
        **choices(desk),
    )


def key_of(desk: Desk, seen: Visit) -> KeyShown:
    """The key that a page is about. Raises NotFound."""
    name = seen.parts["name"]
    for key in api_keys.keys_shown(desk, seen.now):
        if key.name == name:
            return key
    raise NotFound(f"there is no key {name[:80]!r}; the list has all", code="key_not_found")


def limit_of(key: KeyShown, what: str) -> int | None:
    """One limit of a key, None where it has none."""
    return next((each.limit for each in key.limits if each.what == what), None)


def choices(desk: Desk) -> dict[str, Any]:
    """What forms offer."""
    plan = current_plan(desk)
    return {
        "deployments": sorted(each.name for each in plan.deployments) if plan is not None else [],
        "expiries": EXPIRIES,
        "roles": MAY,
        "team_names": sorted(plan.teams) if plan is not None else [],
        "policy_names": sorted(plan.policies) if plan is not None else [],
    }


def create(desk: Desk, form: Form) -> Once:
    """Make a key, and show its secret."""
    said = role_said(form) if form.text("role") else terms(form)
    made = api_keys.create_key(desk, form.call({"name": form.needed("name"), **said}))
    return secret(made, rotated=False)


def change(desk: Desk, form: Form) -> str:
    """Change what a key may, but for what the configuration says."""
    name = form.parts["name"]
    fixed = key_terms.settings_in(key_terms.configured(desk).keys.get(name))
    said = role_said(form) if form.text("console") else terms(form)
    api_keys.set_key(desk, form.call({k: v for k, v in said.items() if k not in fixed}))
    return f"/governance/keys/{name}"


def rotate(desk: Desk, form: Form) -> Once:
    """Give a key another secret, and show it."""
    made = api_keys.rotate_key(desk, form.call({"grace_s": whole(form, "grace_s") or 0}))
    return secret(made, rotated=True)


def revoke(desk: Desk, form: Form) -> str:
    """Take a key away."""
    api_keys.revoke_key(desk, form.call())
    return "/governance/keys"


def secret(made: Secret, *, rotated: bool) -> Once:
    """The page that shows a secret, which nobody can show again."""
    view = View("key_made.html", made=made, rotated=rotated)
    return Once(view=view, room="governance", tab="/governance/keys")


def terms(form: Form) -> dict[str, Any]:
    """What the fields of a form say of a key, as the admin API takes it. Raises InvalidRequest."""
    limits: dict[str, Any] = {name: whole(form, name) for name in LIMITS}
    size, wait_s = form.text("queue_size"), form.text("queue_wait_s")
    if limits["concurrency"] is not None and size and wait_s:
        limits["queue"] = {"size": whole(form, "queue_size"), "wait_s": number(form, "queue_wait_s")}
    each = {name: whole(form, f"user_{name}") for name in LIMITS}
    usd, user_usd = money_said(form, "usd"), money_said(form, "user_usd")
    each_user: dict[str, Any] = {"limits": each} if any(most is not None for most in each.values()) else {}
    if user_usd:
        each_user["budget"] = {"usd": user_usd, "per": form.text("user_per") or "month"}
    return {
        "deployments": chosen(form),
        "limits": limits if any(each is not None for each in limits.values()) else None,
        "budget": {"usd": usd, "per": form.text("per") or "month"} if usd else None,
        "each_user": each_user or None,
        **{name: form.text(name) or None for name in ("team", "policy") if name in form.fields},
        "priority": form.text("priority") or "normal",
        **(
            {"sources": form.text("sources").replace(",", " ").split() or None}
            if "sources" in form.fields
            else {}
        ),
        **ends(form),
    }


def role_said(form: Form) -> dict[str, Any]:
    """What the fields of a form say of a console key. Raises InvalidRequest."""
    return {**({"role": form.text("role")} if form.text("role") else {}), **ends(form)}


def ends(form: Form) -> dict[str, Any]:
    """When a key is to end, where the form says so. Raises InvalidRequest."""
    expires = form.text("expires")
    if expires == "never":
        return {"expires_at": None}
    return {"expires_at": in_days(form, "expires")} if expires else {}


def chosen(form: Form) -> list[str] | None:
    """The deployments that it may call; None for all, and none for now is a choice of its own. Raises
    InvalidRequest."""
    scope, ticked = form.text("scope"), form.every.get("deployments", ())
    if scope == "none":
        return []
    if scope == "some" and not ticked:
        raise InvalidRequest(
            "no deployment is chosen; choose one, all of them, or none for now", param="deployments"
        )
    return list(ticked) if scope == "some" else None


def money_said(form: Form, name: str) -> str:
    """A budget, an exact number of dollars; empty where there is none. Raises InvalidRequest."""
    text = ungrouped(form.text(name).lstrip("$").strip())
    try:
        if not text or Decimal(text).is_finite():
            return text
    except InvalidOperation:
        pass
    raise InvalidRequest(
        f"the budget is {form.text(name)[:40]!r}, and no amount in USD; write it as 12.50", param=name
    )


def ungrouped(text: str) -> str:
    """A number without the commas between its thousands; any other comma stays."""
    return text.replace(",", "") if THOUSANDS.fullmatch(text) else text


def in_days(form: Form, name: str) -> datetime:
    """A field that says in how many days. Raises InvalidRequest."""
    try:
        return form.now + timedelta(days=whole(form, name) or 0)
    except OverflowError:
        raise InvalidRequest(
            f"{name} is {form.text(name)!r} days, which no calendar has", param=name
        ) from None


def number(form: Form, name: str) -> float:
    """A field that is a number. Raises InvalidRequest."""
    try:
        return float(form.text(name))
    except ValueError:
        raise InvalidRequest(f"{name} is {form.text(name)[:40]!r}, and no number", param=name) from None


def whole(form: Form, name: str) -> int | None:
    """A field that is a whole number; None where it is empty. Raises InvalidRequest."""
    text = ungrouped(form.text(name))
    if not text:
        return None
    if not text.isdecimal() or len(text) > 15:
        raise InvalidRequest(
            f"{name} is {text[:40]!r}, and no whole number; leave it empty for no limit", param=name
        )
    return int(text)


PAGES: tuple[Page, ...] = (
    Page(
        path="/governance/keys",
        draw=listing,
        role="viewer",
        room="governance",
        tab="Keys",
        docs="how-to#keys-limits-and-budgets",
    ),
    Page(
        path="/governance/keys/{name}",
        draw=one,
        role="viewer",
        room="governance",
        under="/governance/keys",
        docs="how-to#keys-limits-and-budgets",
    ),
)
"""The pages of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(name="keys.create", path="/governance/keys", act=create, role="admin", done=""),
    Action(
        name="keys.set",
        path="/governance/keys/{name}/set",
        act=change,
        role="admin",
        done="Done: every gateway follows within a second.",
    ),
    Action(name="keys.rotate", path="/governance/keys/{name}/rotate", act=rotate, role="admin", done=""),
    Action(
        name="keys.revoke",
        path="/governance/keys/{name}/revoke",
        act=revoke,
        role="admin",
        done="The key opens nothing any more: every gateway refuses it within a second.",
    ),
)
"""What its forms do."""
