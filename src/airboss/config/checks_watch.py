"""The rules of what watches live calls, and of who is told: scoring, notifiers."""

from __future__ import annotations

import re
from typing import Final

from airboss.config.rules import (
    check_headers,
    check_known,
    check_range,
    check_reference,
    check_secret,
    web_address,
)
from airboss.config.types import (
    Config,
    EmailConfig,
    NotifierConfig,
    RolloutConfig,
    ScoringConfig,
    ShadowConfig,
    TelemetryConfig,
)
from airboss.config.wording import Path, Wrong, dotted, quoted
from airboss.domain.plan import Named

SCORERS_MAX: Final = 20
RECIPIENTS_MAX: Final = 20
NAMED_MAX: Final = 1_000
_ADDRESS: Final = re.compile(r"[^\s@<>,;\"\x00-\x1f]{1,64}@[A-Za-z0-9.-]{1,253}")
_DURATION: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds(text: str) -> int | None:
    """The length of a time written as `30s`, `5m`, `2h` or `1d`; None where it is written otherwise."""
    found = _DURATION.fullmatch(text)
    return int(found[1]) * _SECONDS[found[2]] if found is not None else None


def check_scoring(path: Path, scoring: ScoringConfig, wrong: Wrong) -> None:
    """Raise what `wrong` makes of a rule that is broken. What the scorers say is theirs to check."""
    check_range((*path, "sample"), scoring.sample, 0.000_001, 1, wrong)
    check_range((*path, "judge_per_minute"), scoring.judge_per_minute, 1, 6_000, wrong)
    if not 1 <= len(scoring.scorers) <= SCORERS_MAX:
        at = (*path, "scorers")
        raise wrong(at, f"{dotted(at)} has {len(scoring.scorers)} scorers; name 1 to {SCORERS_MAX}")


def check_shadow(path: Path, shadow: ShadowConfig, wrong: Wrong) -> None:
    """Raise what `wrong` makes of a number that is out of its range."""
    check_range((*path, "sample"), shadow.sample, 0.000_001, 1, wrong)
    check_range((*path, "per_minute"), shadow.per_minute, 1, 6_000, wrong)


def check_named(path: Path, named: Named, config: Config, wrong: Wrong) -> None:
    """Raise what `wrong` makes of a list that is too long, of what no call can have, or of nobody."""
    lists = {field: getattr(named, field) for field in ("users", "keys", "teams")}
    for field, names in lists.items() | {f"tags.{tag}": each for tag, each in named.tags.items()}.items():
        at = (*path, *field.split(".", 1))
        if len(names) > NAMED_MAX:
            raise wrong(at, f"{dotted(at)} has {len(names)} names, of at most {NAMED_MAX}")
        if "" in names:
            raise wrong(at, f"{dotted(at)} has an empty name; leave it out")
    for team in named.teams:
        check_known((*path, "teams"), team, config.teams, "team", wrong)
    if "session_id" in named.tags:
        at = (*path, "tags", "session_id")
        raise wrong(at, f"{dotted(at)}: metadata.session_id is the session, no tag; name users")
    if not any(lists.values()) and not any(named.tags.values()):
        raise wrong(path, f"[{dotted(path)}] names nobody; give users, keys, teams or tags, or leave it out")


def check_rollout_named(path: Path, rollout: RolloutConfig, config: Config, wrong: Wrong) -> None:
    """Raise what `wrong` makes of whom a rollout names. Who is in both by different words is in `never`."""
    always, never = rollout.always, rollout.never
    for field, named in (("always", always), ("never", never)):
        if named is not None:
            check_named((*path, field), named, config, wrong)
    if always is None or never is None:
        return
    for field in ("users", "keys", "teams"):
        twice = sorted({*getattr(always, field)} & {*getattr(never, field)})
        if twice:
            at = (*path, "never", field)
            raise wrong(at, f"{dotted(at)}: {quoted(twice[0])} is in always too; take it out of one")


def check_notifier(path: Path, notifier: NotifierConfig, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first rule that is broken."""
    ways = [name for name in ("webhook", "slack", "email") if getattr(notifier, name) is not None]
    if len(ways) != 1:
        raise wrong(path, f"[{dotted(path)}] needs exactly one of webhook, slack and email")
    if notifier.secret is not None and ways != ["webhook"]:
        raise wrong((*path, "secret"), f"{dotted(path)}.secret signs what a webhook gets; {ways[0]} has none")
    if notifier.email is not None:
        _check_email((*path, "email"), notifier.email, wrong)
    for field in ("webhook", "slack", "secret"):
        value, at = getattr(notifier, field), (*path, field)
        if value is not None and field == "secret":
            check_secret(at, value, wrong)
        elif value is not None and not check_reference(at, value, wrong):
            check_webhook(at, value, wrong)


def check_webhook(path: Path, url: str, wrong: Wrong) -> None:
    """Raise what `wrong` makes of a URL that no notification can be sent to; the URL, which may be a secret,
    is not repeated."""
    parts = web_address(url)
    if parts is None:
        raise wrong(path, f'{dotted(path)} is no URL to send to; write "https://HOST/PATH"')
    if parts.username or parts.password:
        raise wrong(path, f"{dotted(path)} holds a user or password; sign with `secret` instead")
    if parts.fragment or not url.isprintable() or " " in url:
        raise wrong(path, f"{dotted(path)} holds a # or characters that no URL to send to has")


def check_telemetry(telemetry: TelemetryConfig, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first rule that is broken."""
    otlp = telemetry.otlp
    if otlp is None:
        return
    at = ("telemetry", "otlp")
    check_webhook((*at, "endpoint"), otlp.endpoint, wrong)
    if otlp.endpoint.rstrip("/").endswith(("/v1/traces", "/v1/metrics", "/v1/logs")):
        where = (*at, "endpoint")
        raise wrong(where, f"{dotted(where)} is a base URL; leave out what follows it from /v1/ on")
    check_range((*at, "sample"), otlp.sample, 0, 1, wrong)
    check_headers((*at, "headers"), otlp.headers, wrong)


def _check_email(path: Path, email: EmailConfig, wrong: Wrong) -> None:
    if not 1 <= len(email.to) <= RECIPIENTS_MAX:
        raise wrong(
            (*path, "to"), f"{dotted((*path, 'to'))} names {len(email.to)}; name 1 to {RECIPIENTS_MAX}"
        )
    for field, address in (("from", email.sender), *(("to", each) for each in email.to)):
        if not _ADDRESS.fullmatch(address):
            at = (*path, field)
            raise wrong(at, f'{dotted(at)} is {quoted(address)}; write an address, such as "ops@example.com"')
    if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,253}", email.host):
        raise wrong(
            (*path, "host"), f"{dotted((*path, 'host'))} is {quoted(email.host)}; write a host's name"
        )
    check_range((*path, "port"), email.port, 1, 65_535, wrong)
    if (email.user is None) != (email.password is None):
        raise wrong(path, f"{dotted(path)} needs user and password, or neither")
    if email.password is not None:
        check_secret((*path, "password"), email.password, wrong)
        if email.tls == "off":
            raise wrong((*path, "tls"), f"{dotted(path)} would send the password unencrypted; leave out tls")
