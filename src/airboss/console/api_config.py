"""The configuration in the admin API: what is in force, what another would change, and to apply one."""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec

from airboss.config import Config, parse_config
from airboss.config.rules import is_reference
from airboss.console import api_alarms, api_keys, api_rollouts
from airboss.console.changes import Change, Difference, Found, difference
from airboss.console.desk import Desk
from airboss.console.listing import found_in, listing
from airboss.console.route import Call, Route
from airboss.console.waits import for_another, must_wait
from airboss.domain.errors import ConfigError, InvalidRequest, NotFound
from airboss.domain.plan import DeploymentPlan, Standing
from airboss.governance.roles import only_admins
from airboss.releases.sharing import said_of
from airboss.releases.standing import coming

CONFIG_MAX = 4 * 1024 * 1024
"""The longest configuration, in the JSON of a client that escapes what it need not."""

NOTED_PATHS_MAX = 50
REASON_CHARS_MAX = 500
PLANS_MAX = 2**31
"""Numbers of plans are below this: a database has room for no others."""


class ConfigAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration in force, or that of the plan asked for, as text, and the plan it gave; both None
    before the first."""

    config: str | None
    plan: int | None


class ConfigIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration to apply or to compare. `source` names it in messages. With `plan` it is applied only
    while that plan's configuration is in force; `reason` goes into the audit log."""

    config: str
    source: str = "the request's config"
    plan: int | None = None
    reason: str = ""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment of a plan; `release` is the digest, and so is `candidate`: of what nobody gets before a
    rollout, and `coming`: of what takes over by itself once its engine is ready. None where there is nothing
    of the kind."""

    name: str
    aliases: tuple[str, ...]
    release: str
    model: str
    candidate: str | None
    coming: str | None = None


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What an applied configuration gave."""

    plan: int
    created_at: datetime
    deployments: tuple[Served, ...]
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    found: tuple[Found, ...]


def config(desk: Desk, call: Call) -> ConfigAnswer:
    """GET /api/v1/config."""
    wanted = call.params.get("plan")
    if wanted:
        number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 else 0
        text = config_of(desk, number)
        if text is None:
            raise NotFound(
                f"there is no plan {wanted[:40]!r}; `airboss status` names the one in force", param="plan"
            )
        return ConfigAnswer(config=text, plan=number)
    snapshot = desk.ledger.snapshot()
    return ConfigAnswer(
        config=desk.ledger.config(), plan=snapshot.plan.number if snapshot is not None else None
    )


def config_of(desk: Desk, plan: int) -> str | None:
    """The configuration of that plan; None where there is no such plan."""
    return desk.ledger.config(plan) if 0 < plan < PLANS_MAX else None


def read_intent(call: Call) -> ConfigIntent:
    """The body of a write; raises InvalidRequest."""
    try:
        intent = msgspec.json.decode(call.body, type=ConfigIntent)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = (
            f'the body is not {{"config": "…the text of airboss.toml…", "source": "airboss.toml"}}: {error}'
        )
        raise InvalidRequest(message, code="invalid_body") from None
    # Some editors put a mark before UTF-8; it is no part of the text.
    return msgspec.structs.replace(intent, config=intent.config.removeprefix("\ufeff"))


def diff(desk: Desk, call: Call) -> Difference:
    """POST /api/v1/config/diff."""
    intent = completed(desk, call, read_intent(call))
    found = difference(desk.ledger.config(), intent.config, source=intent.source[:200])
    return msgspec.structs.replace(found, found=found_in(desk, intent.config))


def completed(desk: Desk, call: Call, intent: ConfigIntent) -> ConfigIntent:
    """The intent with what providers list. Raises InvalidRequest."""
    text = listing(desk, call.caller, intent.config, source=intent.source[:200])
    return msgspec.structs.replace(intent, config=text)


def check_begun(desk: Desk, plan: int | None) -> None:
    """Refuse what was written to change the configuration of `plan`, where another is in force by now: it
    would take back what somebody else has changed. Raises InvalidRequest."""
    if plan is None or config_of(desk, plan) == desk.ledger.config():
        return
    snapshot = desk.ledger.snapshot()
    now = f"that of plan {snapshot.plan.number}" if snapshot is not None else "none"
    raise InvalidRequest(
        f"this was begun on the configuration of plan {plan}, and another is in force by now, {now}; nothing "
        "was applied: look at what changed meanwhile, and compare again",
        code="config_changed",
        param="plan",
    )


def parsed(text: str | None) -> Config:
    """A configuration that is known to be right, or none yet."""
    return parse_config(text, source="a configuration") if text is not None else Config()


def apply(desk: Desk, call: Call) -> Applied:
    """POST /api/v1/config."""
    intent = read_intent(call)
    if len(intent.reason) > REASON_CHARS_MAX:
        message = f"the reason has {len(intent.reason):,} characters, at most {REASON_CHARS_MAX} are kept"
        raise InvalidRequest(message, param="reason")
    intent = completed(desk, call, intent)
    before = desk.ledger.config()
    found = difference(before, intent.config, source=intent.source[:200])
    if not call.caller.may("admin") and (what := only_admins(parsed(before), parsed(intent.config))):
        call.need(desk, "admin", f"to change {what}")
    check_begun(desk, intent.plan)
    if not call.approved and must_wait(desk, call.caller):
        check_no_secret(parsed(intent.config))
        asked = pinned(desk, intent)
        for_another(desk, call, "config.apply", asked, subject="configuration", reason=intent.reason)
    detail = {
        "sha256": hashlib.sha256(intent.config.encode("utf-8", "surrogatepass")).hexdigest(),
        "changes": len(found.changes),
        "paths": [each.path for each in found.changes[:NOTED_PATHS_MAX]],
        **({"reason": intent.reason} if intent.reason else {}),
    }
    listed = found_in(desk, intent.config)
    try:
        with desk.rollouts.together():
            check_begun(desk, intent.plan)
            plan = desk.apply(intent.config, intent.source[:200])
            desk.note(call, "config.apply", "configuration", {"plan": plan.number, **detail})
    except ConfigError as error:
        raise InvalidRequest(str(error), code="invalid_config", param="config") from None
    standings = desk.ledger.standings()
    return Applied(
        plan=plan.number,
        created_at=plan.created_at,
        deployments=tuple(
            Served(
                name=each.name,
                aliases=each.aliases,
                release=each.stable.digest,
                model=said_of(each.stable)[0],
                candidate=waiting(each, standings.get(each.name)),
                coming=coming(each, standings.get(each.name)),
            )
            for each in plan.deployments
        ),
        changes=found.changes,
        found=listed,
        warnings=(
            *found.warnings,
            *desk.lacking(plan, parsed(intent.config)),
            *api_rollouts.kept_rules(desk, parsed(before), parsed(intent.config)),
            *api_keys.refusals(desk, plan),
            *api_alarms.unmatched(desk, parsed(intent.config)),
            *api_alarms.unasked(desk, parsed(intent.config)),
        ),
    )


def check_no_secret(wanted: Config) -> None:
    """Refuse to keep a provider's key where others read it: it is moved away only as it is applied. Raises
    InvalidRequest."""
    for name, provider in wanted.providers.items():
        if provider.api_key is not None and not is_reference(provider.api_key):
            raise InvalidRequest(
                f"providers.{name}.api_key is written out, and what waits for approval is shown as it is to "
                f'who may approve it; write "env:NAME" or "file:/PATH"',
                code="literal_secret",
                param="config",
            )


def pinned(desk: Desk, intent: ConfigIntent) -> ConfigIntent:
    """An intent that changes just what is in force now: what somebody approves is what they looked at."""
    now = desk.ledger.snapshot()
    number = now.plan.number if now is not None else None
    return msgspec.structs.replace(intent, plan=intent.plan or number)


def waiting(deployment: DeploymentPlan, standing: Standing | None) -> str | None:
    """The digest of what a configuration says and no caller gets, nor a rollout's canary."""
    if standing is None or standing.wanted in (deployment.stable.digest, coming(deployment, standing)):
        return None
    canary = deployment.canary
    exposed = canary is not None and canary.served.release.digest == standing.wanted
    return None if exposed else standing.wanted


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/config",
        summary="The configuration in force",
        handle=config,
        role="operator",
        params={"plan": "that of this plan, instead of the one in force"},
    ),
    Route(
        method="POST",
        path="/api/v1/config",
        summary="Apply a configuration: checked whole, published in one transaction",
        handle=apply,
        role="operator",
        body=ConfigIntent,
        body_max=CONFIG_MAX,
    ),
    Route(
        method="POST",
        path="/api/v1/config/diff",
        summary="What a configuration would change; changes nothing",
        handle=diff,
        role="operator",
        body=ConfigIntent,
        body_max=CONFIG_MAX,
    ),
)
"""The routes of this module."""
