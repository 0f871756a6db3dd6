"""`airboss keys`: who may call, and who may open the console. A secret is printed once."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Annotated, Any

import typer

from airboss.cli.api import place, reach
from airboss.cli.caught_up import catch_up
from airboss.cli.key_terms import NAMES, terms
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import (
    clipped,
    console,
    escape,
    local_time,
    plain,
    print_each,
    print_json,
    print_list,
    print_nothing,
    table_of,
)
from airboss.cli.status import age
from airboss.cli.when import parse_duration
from airboss.domain.errors import WrongCall
from airboss.store.wording import many

keys = typer.Typer(help="Keys: who may call models, and who may open the console.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The key's name.")]


DeploymentsOption = Annotated[
    str | None,
    typer.Option(help="What it may call: names, separated by commas; `all` for every one, or `none`."),
]
RequestsOption = Annotated[str | None, typer.Option(help="Calls in any minute, or `none`.")]
TokensOption = Annotated[str | None, typer.Option(help="Tokens in any minute, in and out, or `none`.")]
ConcurrencyOption = Annotated[str | None, typer.Option(help="Calls under way, or `none`.")]
BudgetOption = Annotated[str | None, typer.Option(help="US dollars that it may spend, or `none`.")]
PerOption = Annotated[str | None, typer.Option(help="What the budget is for: `month`, `week` or `day`.")]
UserRequestsOption = Annotated[
    str | None, typer.Option(help="Calls of each user in any minute, or `none`; a user is who a call names.")
]
UserTokensOption = Annotated[str | None, typer.Option(help="Tokens of each user in any minute, or `none`.")]
UserConcurrencyOption = Annotated[str | None, typer.Option(help="Calls of each user under way, or `none`.")]
UserBudgetOption = Annotated[str | None, typer.Option(help="US dollars that each user may spend, or `none`.")]
UserPerOption = Annotated[str | None, typer.Option(help="What that is for: `month`, `week` or `day`.")]
TeamOption = Annotated[
    str | None,
    typer.Option(help="Whose limits and budget it shares: a team's of the configuration, or `none`."),
]
PriorityOption = Annotated[
    str | None, typer.Option(help="Who goes first where calls wait: `high`, `normal` or `low`.")
]
PolicyOption = Annotated[
    str | None,
    typer.Option(help="What screens its calls beside what is called: a policy's name, or `none`."),
]
ExpiresOption = Annotated[
    str | None, typer.Option(help="When it ends: in 12h, 30d, or at 2026-12-31T23:59Z; or `never`.")
]


RoleOption = Annotated[
    str | None,
    typer.Option(help="For the console, not for models: `viewer`, `reader`, `operator` or `admin`."),
]


SourcesOption = Annotated[
    str | None,
    typer.Option(
        "--from", help="Where it is good from: addresses and networks, as 10.0.0.0/8, by commas; or `none`."
    ),
]


@keys.command("create")
def create(
    name: NameArgument,
    *,
    deployments: DeploymentsOption = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrency: ConcurrencyOption = None,
    budget: BudgetOption = None,
    per: PerOption = None,
    user_requests_per_minute: UserRequestsOption = None,
    user_tokens_per_minute: UserTokensOption = None,
    user_concurrency: UserConcurrencyOption = None,
    user_budget: UserBudgetOption = None,
    user_per: UserPerOption = None,
    team: TeamOption = None,
    priority: PriorityOption = None,
    policy: PolicyOption = None,
    expires: ExpiresOption = None,
    role: RoleOption = None,
    sources: SourcesOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print its secret, which nobody can print again. One with a role opens the console."""
    limits = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrency": concurrency,
    }
    each_user = {
        "requests_per_minute": user_requests_per_minute,
        "tokens_per_minute": user_tokens_per_minute,
        "concurrency": user_concurrency,
        "budget": user_budget,
        "per": user_per,
    }
    body = {"name": name} | terms(
        deployments=deployments,
        limits=limits,
        each_user=each_user,
        held={},
        budget=budget,
        per=per,
        team=team,
        priority=priority,
        policy=policy,
        expires=expires,
        role=role,
        sources=sources,
    )
    with reach(data_dir, url) as api:
        made = api.post("/api/v1/keys", body)
    if as_json:
        print_json({name: made[name] for name in ("name", "key", "role" if role else "deployments")})
        return
    say_secret(made)


@keys.command("set")
def set_terms(
    name: NameArgument,
    *,
    deployments: DeploymentsOption = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    concurrency: ConcurrencyOption = None,
    budget: BudgetOption = None,
    per: PerOption = None,
    user_requests_per_minute: UserRequestsOption = None,
    user_tokens_per_minute: UserTokensOption = None,
    user_concurrency: UserConcurrencyOption = None,
    user_budget: UserBudgetOption = None,
    user_per: UserPerOption = None,
    team: TeamOption = None,
    priority: PriorityOption = None,
    policy: PolicyOption = None,
    expires: ExpiresOption = None,
    role: RoleOption = None,
    sources: SourcesOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what a key may; what is left out stays. Every gateway follows within a second."""
    limits = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrency": concurrency,
    }
    each_user = {
        "requests_per_minute": user_requests_per_minute,
        "tokens_per_minute": user_tokens_per_minute,
        "concurrency": user_concurrency,
        "budget": user_budget,
        "per": user_per,
    }
    with reach(data_dir, url) as api:
        held = {each["name"]: each for each in api.get("/api/v1/keys")["keys"]}.get(name, {})
        body = terms(
            deployments=deployments,
            limits=limits,
            each_user=each_user,
            held=held,
            budget=budget,
            per=per,
            team=team,
            priority=priority,
            policy=policy,
            expires=expires,
            role=role,
            sources=sources,
        )
        if not body:
            raise WrongCall("nothing to change was said; see `airboss keys set --help`")
        done = api.post(place("keys", name, "/set"), body)
    if as_json:
        print_json(done)
        return
    show([done])


@keys.command("list")
def list_keys(
    *, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """List the keys: what they may call, their limits and how much of them is used, and what they spend."""
    with reach(data_dir, url) as api:
        catch_up(api)
        found = api.get("/api/v1/keys")["keys"]
    none = "there are no keys yet; `airboss keys create NAME` makes one"
    print_list(found, show, none=none, as_json=as_json)


def show(found: list[dict[str, Any]]) -> None:
    """Keys in a table."""
    table = table_of("key", "may", "limits", "budget", "state", "age")
    for each in found:
        may = "everything" if each["deployments"] is None else ", ".join(each["deployments"]) or "nothing"
        may = f"the console, as {each['role']}" if each.get("role") else may
        state = each["state"] + (" (Airboss's own)" if each["internal"] else "")
        if each.get("team"):
            state += f", in team {each['team']['name']}"
        policies = (each.get("policy"), (each.get("team") or {}).get("policy"))
        if any(policies):
            state += f", under {' and '.join(dict.fromkeys(filter(None, policies)))}"
        if each["priority"] != "normal":
            state += f", {each['priority']} priority"
        if each["expires_at"] and each["state"] == "active":
            state += f", until {local_time(each['expires_at'])}"
        if each.get("sources"):
            state += f", from {', '.join(each['sources'])} alone"
        if each["previous_until"]:
            state += f", its last secret until {local_time(each['previous_until'])}"
        if each.get("unpriced"):
            state += f"; refused at {', '.join(each['unpriced'])}, whose price nobody knows"
        limits, budget = said_limits(each), said_budget(each)
        table.add_row(
            escape(each["name"]), escape(may), limits, budget, escape(state), age(each["created_at"])
        )
    console().print(table)


@keys.command("tags")
def list_tags(
    *, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """List tags whose values have a budget each, and what they have spent."""
    with reach(data_dir, url) as api:
        catch_up(api)
        found = api.get("/api/v1/tags")["tags"]
    if not found:
        print_nothing("no tag has a budget; write one as [tags.NAME] in the configuration")
        return
    if as_json:
        print_each(found)
        return
    from airboss.governance.budgets import money, spent_money  # noqa: PLC0415 - what JSON output need not load

    table = table_of("tag", "value", "spent", "calls")
    for tag in found:
        usd = money(Decimal(str(tag["usd"])))
        for each in tag["values"]:
            spent = f"{spent_money(Decimal(str(each['spent_usd'])))} of {usd} USD a {tag['per']}"
            table.add_row(
                escape(plain(tag["name"])),
                escape(clipped(plain(each["value"]), 60)),  # programs may send whole texts
                spent,
                str(each["requests"]),
            )
        if not tag["values"]:
            table.add_row(escape(plain(tag["name"])), "", f"nothing of {usd} USD a {tag['per']}", "0")
    console().print(table)


@keys.command("teams")
def list_teams(
    *, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """List teams: how many keys they have, with their budgets, and what their calls have cost this month."""
    with reach(data_dir, url) as api:
        catch_up(api)
        found = api.get("/api/v1/teams")["teams"]
    none = "there are no teams; write one as [teams.NAME] in the configuration"
    print_list(found, show_teams, none=none, as_json=as_json)


def show_teams(found: list[dict[str, Any]]) -> None:
    """Teams in a table."""
    from airboss.governance.budgets import spent_money  # noqa: PLC0415 - what JSON output need not load

    table = table_of("team", "keys", "budget", "budgets of keys", "calls this month", "spent this month")
    for each in found:
        name = each["name"] if each["configured"] else f"{each['name']} (not in the configuration)"
        own = [
            f"{key['name']}: {spent_of(key['budget'])}"
            for key in each["members"]
            if key["budget"] is not None
        ]
        unpriced = each["cost_unknown"]
        unknown = f", and {many(unpriced, 'call')} without a price" if unpriced else ""
        table.add_row(
            escape(plain(name)),
            str(each["keys"]),
            spent_of(each["budget"]) if each["budget"] is not None else "none",
            escape("\n".join(map(plain, own))) or "none",
            f"{each['requests']:,}",
            f"{spent_money(Decimal(str(each['spent_usd'])))} USD{unknown}",
        )
    console().print(table)


LIMITS = {"requests": "requests/min", "tokens": "tokens/min", "concurrency": "at once"}


def said_limits(key: dict[str, Any]) -> str:
    """Each limit with how much of it is used, what each user may, and what the team uses."""
    lines = [used(each) for each in key["limits"]]
    users = (key["each_user"] or {}).get("limits") or {}
    lines += [f"{users[name]:,} {LIMITS[what]} each user" for what, name in NAMES.items() if users.get(name)]
    if key.get("team"):
        lines += [f"team {key['team']['name']}: {used(each)}" for each in key["team"]["limits"]]
    return "\n".join(lines) or "none"


def used(limit: dict[str, Any]) -> str:
    """How much of a limit."""
    return f"{limit['used']:,} of {limit['limit']:,} {LIMITS[limit['what']]}"


def said_budget(key: dict[str, Any]) -> str:
    """What is spent of how much, and until when; what each user may spend, and what the team has."""
    from airboss.governance.budgets import money  # noqa: PLC0415 - what JSON output need not load

    each, team = (key["each_user"] or {}).get("budget"), key.get("team") or {}
    lines = [spent_of(key["budget"])] if key["budget"] is not None else []
    if each is not None:
        lines.append(f"{money(Decimal(str(each['usd'])))} USD a {each['per']} each user")
    if team.get("budget") is not None:
        lines.append(f"team {team['name']}: {spent_of(team['budget'])}")
    return "\n".join(lines) or "none"


def spent_of(budget: dict[str, Any]) -> str:
    """What is spent of a budget, and until when."""
    from airboss.governance.budgets import money, spent_money  # noqa: PLC0415 - as above

    so_far, usd = spent_money(Decimal(str(budget["spent_usd"]))), money(Decimal(str(budget["usd"])))
    return f"{so_far} of {usd} USD a {budget['per']}"


@keys.command("revoke")
def revoke(
    name: NameArgument,
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a key away: every gateway refuses it within a second."""
    with reach(data_dir, url) as api:
        done = api.post(place("keys", name, "/revoke"), {})
    if as_json:
        print_json(done)
        return
    sys.stdout.write(f"revoked {done['name']}\n")


@keys.command("rotate")
def rotate(
    name: NameArgument,
    *,
    grace: Annotated[
        str, typer.Option(help="So long the secret of now stays good too: 10m, 24h, 7d; at most 30d.")
    ] = "0s",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a key another secret and print it. The old one ends at once, unless --grace says otherwise."""
    grace_s = parse_duration(grace, option="--grace")
    with reach(data_dir, url) as api:
        done = api.post(place("keys", name, "/rotate"), {"grace_s": grace_s})
    if as_json:
        print_json({"name": done["name"], "key": done["key"], "previous_until": done["previous_until"]})
        return
    say_secret(done)
    until = done["previous_until"]
    ends = f"until {until[:19].replace('T', ' ')} UTC" if until else "no more"
    sys.stderr.write(f"the secret before is good {ends}\n")


def say_secret(made: dict[str, Any]) -> None:
    """The secret alone on stdout, so that it can be piped; the words on stderr."""
    sys.stderr.write(f"key {made['name']}; this is the only time that its secret is shown:\n")
    sys.stdout.write(f"{made['key']}\n")
