"""The rules of what watches live calls: scoring, alarms, notifiers."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from airboss.config.rules import check_known, check_range
from airboss.config.types import AlarmConfig, Config, NotifierConfig, ScoringConfig
from airboss.config.wording import Path, Wrong, dotted, nearest, quoted
from airboss.domain.score import SCORE_NAME

METRICS: Final = ("error_rate", "latency_p95", "ttft_p95", "cost_usd", "requests")
"""What an alarm may watch, beside `score:NAME`."""

SCORERS_MAX: Final = 20
NOTIFY_MAX: Final = 10
_DURATION: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DAY_S: Final = 86_400


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


def check_alarms(config: Config, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first rule that is broken."""
    for name, notifier in config.notifiers.items():
        _check_notifier(("notifiers", name), notifier, wrong)
    for name, alarm in config.alarms.items():
        path = ("alarms", name)
        check_known((*path, "deployment"), alarm.deployment, config.deployments, "deployment", wrong)
        _check_metric(path, alarm, wrong)
        for field, text, least in (("window", alarm.window, 10), ("for", alarm.hold, 0)):
            length = seconds(text)
            if length is None or not least <= length <= _DAY_S:
                at = (*path, field)
                raise wrong(at, f'{dotted(at)} is {quoted(text)}; write {least}s to 1d, such as "5m"')
        if len(alarm.notify) > NOTIFY_MAX:
            raise wrong(
                (*path, "notify"), f"{dotted(path)} notifies {len(alarm.notify)}; at most {NOTIFY_MAX}"
            )
        for notifier_name in alarm.notify:
            check_known((*path, "notify"), notifier_name, config.notifiers, "notifier", wrong)


def _check_metric(path: Path, alarm: AlarmConfig, wrong: Wrong) -> None:
    at = (*path, "metric")
    scored = alarm.metric.startswith("score:")
    if scored and SCORE_NAME.fullmatch(alarm.metric.removeprefix("score:")) is None:
        raise wrong(
            at, f'{dotted(at)} is {quoted(alarm.metric)}; write "score:NAME", as in score:helpfulness'
        )
    if not scored and alarm.metric not in METRICS:
        known = (*METRICS, "score:NAME")
        raise wrong(
            at, f"{dotted(at)}: no metric is called {quoted(alarm.metric)}; {nearest(alarm.metric, known)}"
        )
    if (alarm.above is None) == (alarm.below is None):
        raise wrong(path, f"[{dotted(path)}] needs exactly one of above and below")
    least, most = (0.0, 1.0) if alarm.metric == "error_rate" else (-1e12, 1e12)
    for field in ("above", "below"):
        check_range((*path, field), getattr(alarm, field), least, most, wrong)


def _check_notifier(path: Path, notifier: NotifierConfig, wrong: Wrong) -> None:
    for field in ("webhook", "secret"):
        value = getattr(notifier, field)
        if value is None or _is_reference((*path, field), value, wrong):
            continue
        if field == "secret":
            # Its value is not repeated: it is a secret that does not belong here.
            at = (*path, field)
            raise wrong(at, f'{dotted(at)} must not be written out; use "env:NAME" or "file:/PATH"')
        check_webhook((*path, field), value, wrong)


def check_webhook(path: Path, url: str, wrong: Wrong) -> None:
    """Raise what `wrong` makes of a URL that no notification can be sent to; the URL, which may be a secret,
    is not repeated."""
    try:
        parts: SplitResult | None = urlsplit(url)
        port = parts.port if parts else None
    except ValueError:
        parts, port = None, None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise wrong(path, f'{dotted(path)} is no URL to send to; write "https://HOST/PATH"')
    if parts.username or parts.password:
        raise wrong(path, f"{dotted(path)} holds a user or password; sign with `secret` instead")
    if parts.fragment or not url.isprintable() or " " in url:
        raise wrong(path, f"{dotted(path)} holds a # or characters that no URL to send to has")


def _is_reference(path: Path, value: str, wrong: Wrong) -> bool:
    if value.startswith("env:") and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value[4:]):
        raise wrong(path, f'{dotted(path)}: after "env:" comes the name of an environment variable')
    if value.startswith("file:") and not value[5:].startswith("/"):
        raise wrong(path, f'{dotted(path)}: after "file:" comes an absolute path')
    return value.startswith(("env:", "file:"))
