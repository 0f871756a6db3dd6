"""The rules of alarms and of maintenance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final, get_args

from airboss.config.checks_watch import check_notifier, seconds
from airboss.config.rules import check_known, check_range
from airboss.config.summed import KEPT_DAYS_MIN
from airboss.config.tags import read_tag
from airboss.config.types import AlarmConfig, Config, DriftConfig, MaintenanceConfig
from airboss.config.wording import Path, Wrong, dotted, nearest, quoted
from airboss.domain.plan import Arm
from airboss.domain.record import EXTERNAL, Status
from airboss.domain.score import SCORE_NAME

METRICS: Final = (
    "error_rate", "refused_rate", "fallback_rate", "latency_p50", "latency_p95", "ttft_p50", "ttft_p95",
    "tokens_per_s", "input_tokens", "output_tokens", "cost_usd", "requests",
)  # fmt: skip
"""What an alarm may watch, beside `score:NAME`."""

RATES: Final = ("error_rate", "refused_rate", "fallback_rate")
"""Those of them that are shares, 0 to 1."""

SEQUENTIAL: Final = ("error_rate", "refused_rate", "fallback_rate", "latency_p95", "ttft_p95", "cost_usd")
"""What a sequential test may watch, beside scores between 0 and 1."""

RECORDING: Final = ("dead_letters", "bodies_dropped", "disk_full")
"""What an alarm of kind `recording` may watch."""

SUMS: Final = ("input_tokens", "output_tokens", "cost_usd", "requests")
"""Those that are sums, of however few calls."""

NARROWED: Final = ("threshold", "change", "burn_rate", "sequential")
"""Kinds that may watch some calls of a deployment alone."""

WHERE: Final = ("key", "team", "model", "release", "arm", "tag", "policy", "status", "error_type")
"""What these calls may be chosen by, in the words of `airboss records`."""

ENDS: Final = ("status", "error_type")
"""Those of these words that are of how calls ended."""

PEOPLE: Final = ("user", "session")
"""No such words: what an alarm says leaves by mail and webhooks, where no erasure comes."""

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NOTIFY_MAX: Final = 10
EVAL_REPEATS_MAX: Final = 20
EVAL_CALLS_MAX: Final = 100_000
PROMPTS_MAX: Final = 50
PROMPT_CHARS_MAX: Final = 8_000
_DAY_S: Final = 86_400
_WEEKLY: Final = re.compile(r"(\w{3}) ([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")


def check_alarms(config: Config, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first rule that is broken."""
    for name, notifier in config.notifiers.items():
        check_notifier(("notifiers", name), notifier, wrong)
    for name, maintenance in config.maintenance.items():
        _check_maintenance(("maintenance", name), maintenance, config, wrong)
    for name, deployment in config.deployments.items():
        _check_drift(("deployments", name, "drift"), deployment.drift, wrong)
    for name, alarm in config.alarms.items():
        path = ("alarms", name)
        _check_whose(path, alarm, config, wrong)
        _check_kind(path, alarm, wrong)
        _check_where(path, alarm, config, wrong)
        _check_reached(path, alarm, wrong)
        _check_least(path, alarm, wrong)
        _check_times(path, alarm, wrong)
        _check_notify(path, alarm.notify, config, wrong)
    _check_notify(("approvals",), config.approvals.notify or (), config, wrong)
    for name, summary in config.summaries.items():
        path = ("summaries", name)
        _check_notify(path, summary.notify or (), config, wrong)
        days, least = config.store.retention.records_days, KEPT_DAYS_MIN[summary.period]
        if days is not None and days < least:
            raise wrong(
                (*path, "period"),
                f"[{dotted(path)}] adds up records of {least} days, and store.retention keeps {days}",
            )


def _check_notify(path: Path, notify: Sequence[str], config: Config, wrong: Wrong) -> None:
    if len(notify) > NOTIFY_MAX:
        raise wrong((*path, "notify"), f"{dotted(path)} notifies {len(notify)}; at most {NOTIFY_MAX}")
    for name in notify:
        check_known((*path, "notify"), name, config.notifiers, "notifier", wrong)


def weekly(text: str) -> tuple[int, timedelta, timedelta] | None:
    """The day (0 is Monday), the start and the length of `sun 02:00-04:00`; None where it is written
    otherwise. What ends before it begins ends the day after."""
    found = _WEEKLY.fullmatch(text.lower())
    if found is None or found[1] not in DAYS:
        return None
    starts = timedelta(hours=int(found[2]), minutes=int(found[3]))
    ends = timedelta(hours=int(found[4]), minutes=int(found[5]))
    if ends > timedelta(days=1) or ends == starts:
        return None
    return DAYS.index(found[1]), starts, (ends - starts) % timedelta(days=1) or timedelta(days=1)


def _check_whose(path: Path, alarm: AlarmConfig, config: Config, wrong: Wrong) -> None:
    """Of a key, a team or a tag, of Airboss itself, or else of a deployment. A key may be made without the
    configuration."""
    kind = alarm.compares
    fits = {"budget": ("key", "team", "tag"), "recording": ()}.get(kind, ("deployment",))
    said = [field for field in ("deployment", "key", "team", "tag") if getattr(alarm, field)]
    for field in said:
        if field not in fits:
            hint = f"; write where = {{ {field} = … }}" if kind in NARROWED else ""
            raise wrong((*path, field), f"[{dotted(path)}] of kind {quoted(kind)} has no {field}{hint}")
    if fits and not said:
        raise wrong(path, f"[{dotted(path)}] lacks {' or '.join(quoted(field) for field in fits)}")
    if len(said) > 1:
        raise wrong((*path, said[1]), f"[{dotted(path)}] has both {' and '.join(said)}; keep one")
    for field, known in (
        ("deployment", config.deployments),
        ("team", config.teams),
        ("tag", config.tags),
    ):
        if field in said:
            check_known((*path, field), getattr(alarm, field), known, field, wrong)


def _check_kind(path: Path, alarm: AlarmConfig, wrong: Wrong) -> None:
    kind = alarm.compares
    for field, fits in (("slo", "burn_rate"), ("probe", "probe"), ("eval", "eval")):
        if (getattr(alarm, field) is not None) != (kind == fits):
            says = f"needs {field}" if kind == fits else f"of kind {quoted(kind)} has no {field}"
            raise wrong(path, f"[{dotted(path)}] {says}")
    if kind in ("threshold", "change", "sequential", "recording"):
        _check_metric(path, alarm, wrong)
    elif alarm.metric is not None:
        raise wrong((*path, "metric"), f"[{dotted(path)}] of kind {quoted(kind)} has no metric")
    _check_bounds(path, alarm, wrong)
    check_range((*path, "alpha"), alarm.alpha, 0.000_001, 0.2, wrong)
    if alarm.slo is not None:
        check_range((*path, "slo", "target"), alarm.slo.target, 0.5, 0.99999, wrong)
        check_range((*path, "slo", "latency_ms"), alarm.slo.latency_ms, 1, 3_600_000, wrong)
    if alarm.eval is not None:
        at = (*path, "eval")
        check_range((*at, "repeats"), alarm.eval.repeats, 1, EVAL_REPEATS_MAX, wrong)
        check_range((*at, "calls"), alarm.eval.calls, 1, EVAL_CALLS_MAX, wrong)
        check_range((*at, "max_usd"), alarm.eval.max_usd, 0.000_001, 1e6, wrong)


def _check_bounds(path: Path, alarm: AlarmConfig, wrong: Wrong) -> None:
    kind = alarm.compares
    bounded = kind in ("threshold", "change")
    if bounded and (alarm.above is None) == (alarm.below is None):
        raise wrong(path, f"[{dotted(path)}] needs exactly one of above and below")
    if kind == "budget" and alarm.below is not None:
        raise wrong((*path, "below"), f"[{dotted(path)}] of kind {quoted(kind)} has no below")
    bounds = [field for field in ("above", "below") if getattr(alarm, field) is not None]
    if alarm.eval is not None and alarm.eval.baseline is not None:
        bounds.append("eval.baseline")
    if kind == "eval" and len(bounds) > 1:
        raise wrong(
            (*path, *bounds[1].split(".")), f"[{dotted(path)}] has both {' and '.join(bounds)}; keep one"
        )
    if not bounded and kind not in ("budget", "eval") and (alarm.above, alarm.below) != (None, None):
        raise wrong(path, f"[{dotted(path)}] of kind {quoted(kind)} has neither above nor below")
    rate = kind == "budget" or (kind == "threshold" and alarm.metric in RATES)
    least, most = (0.0, 1.0) if rate else (-1e12, 1e12)
    for field in ("above", "below"):
        check_range((*path, field), getattr(alarm, field), least, most, wrong)


def _check_where(path: Path, alarm: AlarmConfig, config: Config, wrong: Wrong) -> None:
    """What can match no call, or is no word to choose by, is an error. A key may be made without the
    configuration, and a model may have answered under an earlier one."""
    at = (*path, "where")
    if alarm.where and alarm.compares not in NARROWED:
        raise wrong(at, f"[{dotted(path)}] of kind {quoted(alarm.compares)} has no where")
    for name, value in alarm.where.items():
        here = (*at, name)
        if name in PEOPLE:
            says = "names a person, and what alarms say leaves by mail and webhooks, where no erasure comes"
            raise wrong(here, f"{dotted(here)} {says}; choose by key or tag")
        if name not in WHERE:
            raise wrong(here, f"{dotted(at)}: no calls are chosen by {quoted(name)}; {nearest(name, WHERE)}")
        if not value.strip():
            raise wrong(here, f"{dotted(here)} is empty; leave it out where all are meant")
        if name in ENDS and alarm.metric != "requests":
            says = "chooses by how calls ended, of which any share is all or nothing"
            raise wrong(here, f'{dotted(here)} {says}; watch metric = "requests" with it')
        _check_word(here, value, config, wrong)


def _check_word(path: Path, value: str, config: Config, wrong: Wrong) -> None:
    """`value` is one that calls may have."""
    arms: tuple[str, ...] = (*get_args(Arm), EXTERNAL)
    match path[-1]:
        case "team":
            check_known(path, value, config.teams, "team", wrong)
        case "arm":
            check_known(path, value, dict.fromkeys(arms), "arm", wrong)
        case "status":
            check_known(path, value, dict.fromkeys(get_args(Status)), "status", wrong)
        case "release" if re.fullmatch(r"[0-9a-f]{64}", value) is None:
            says = "write the whole digest, which `airboss release list --json` shows"
            raise wrong(path, f"{dotted(path)} is {quoted(value)}; {says}")
        case "tag":
            try:
                read_tag(value)
            except ValueError as error:
                raise wrong(path, f"{dotted(path)}: {error}") from None


def alarm_oddities(config: Config) -> Iterator[str]:
    """What a checked alarm may say but is perhaps a slip; each fit to be shown to a person."""
    models = {each.model for each in config.models.values()}
    for name, alarm in config.alarms.items():
        model = alarm.where.get("model")
        if model is not None and model not in models:
            at = dotted(("alarms", name, "where", "model"))
            hint = nearest(model, models)
            yield f"{at}: no model of [models] is called {quoted(model)} by its provider; {hint}"
        bounded = alarm.above is not None or alarm.below is not None
        if alarm.eval is not None and _is_timed(alarm.eval.scorer) and not bounded:
            yield (
                f"{dotted(('alarms', name))}: times are held against those of a baseline, which was asked on "
                "another day: that may tell of the machine and not of the model; give `above` or `below`"
            )


def _is_timed(scorer: str | dict[str, Any]) -> bool:
    if isinstance(scorer, str):  # NAME=KIND:ARGUMENT, of which only the kind must be there
        return re.match(r"([\w.-]+=)?latency(:|$)", scorer) is not None
    return scorer.get("kind") == "latency"


def _check_reached(path: Path, alarm: AlarmConfig, wrong: Wrong) -> None:
    """An alarm that no value can break looks as if all were well: `above = 1` of a rate, which is 100 %."""
    metric = alarm.metric or ""
    if alarm.compares not in ("threshold", "change") or metric.startswith("score:"):
        return
    least, most = (-1.0 if alarm.compares == "change" else 0.0), (1.0 if metric in RATES else None)
    what = f"{'a change of ' if alarm.compares == 'change' else ''}{metric}"
    if alarm.above is not None and most is not None and alarm.above >= most:
        says = f"is never above {most:g}, so that this alarm would never fire; write a share, such as 0.05"
        raise wrong((*path, "above"), f"{dotted((*path, 'above'))} is {alarm.above:g}: {what} {says}")
    if alarm.below is not None and alarm.below <= least:
        says = f"is never below {least:g}, so that this alarm would never fire; write a number over that"
        raise wrong((*path, "below"), f"{dotted((*path, 'below'))} is {alarm.below:g}: {what} {says}")


def _check_least(path: Path, alarm: AlarmConfig, wrong: Wrong) -> None:
    at = (*path, "min_requests")
    check_range(at, alarm.min_requests, 1, 1_000_000, wrong)
    if alarm.min_requests > 1 and alarm.compares != "threshold":
        raise wrong(at, f"[{dotted(path)}] of kind {quoted(alarm.compares)} has no min_requests")
    if alarm.min_requests > 1 and alarm.metric in SUMS:
        raise wrong(at, f"{dotted(at)}: {alarm.metric} is a sum, of however few calls; leave it out")


def _check_metric(path: Path, alarm: AlarmConfig, wrong: Wrong) -> None:
    at = (*path, "metric")
    if alarm.compares == "recording":
        if alarm.metric not in RECORDING:
            says = f"watches one of {', '.join(RECORDING)}, not {quoted(alarm.metric or '')}"
            raise wrong(at, f"[{dotted(path)}] of kind {quoted('recording')} {says}")
        return
    if alarm.metric is None:
        raise wrong(path, f'[{dotted(path)}] lacks "metric"; there are {", ".join((*METRICS, "score:NAME"))}')
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
    if alarm.compares == "sequential" and not scored and alarm.metric not in SEQUENTIAL:
        those = ", ".join((*SEQUENTIAL, "score:NAME"))
        raise wrong(at, f"{dotted(at)} is {quoted(alarm.metric)}; a sequential alarm watches one of {those}")


def _check_times(path: Path, alarm: AlarmConfig, wrong: Wrong) -> None:
    for field, text, least in (("window", alarm.window, 10), ("for", alarm.hold, 0)):
        _check_lasts((*path, field), text, (least, _DAY_S), f'{least}s to 1d, such as "5m"', wrong)
    _check_lasts((*path, "every"), alarm.every, (3_600, 90 * _DAY_S), '1h to 90d, such as "1d"', wrong)
    if alarm.remind is not None:
        _check_lasts((*path, "remind"), alarm.remind, (60, 7 * _DAY_S), '1m to 7d, such as "4h"', wrong)
    if alarm.slo is not None:
        at = (*path, "slo", "window")
        _check_lasts(at, alarm.slo.window, (_DAY_S, 90 * _DAY_S), '1d to 90d, such as "30d"', wrong)


def _check_lasts(at: Path, text: str, bounds_s: tuple[int, int], expected: str, wrong: Wrong) -> None:
    length = seconds(text)
    if length is None or not bounds_s[0] <= length <= bounds_s[1]:
        raise wrong(at, f"{dotted(at)} is {quoted(text)}; write {expected}")


def _check_drift(path: Path, drift: DriftConfig, wrong: Wrong) -> None:
    check_range((*path, "reference"), drift.reference, 50, 2_000, wrong)
    check_range((*path, "alpha"), drift.alpha, 0.000_001, 0.2, wrong)
    if len(drift.prompts) > PROMPTS_MAX or not all(
        0 < len(each) <= PROMPT_CHARS_MAX for each in drift.prompts
    ):
        at = (*path, "prompts")
        raise wrong(
            at, f"{dotted(at)} holds at most {PROMPTS_MAX} texts of 1 to {PROMPT_CHARS_MAX:,} characters"
        )
    _check_lasts((*path, "every"), drift.every, (60, 30 * _DAY_S), '1m to 30d, such as "6h"', wrong)


def _check_maintenance(path: Path, maintenance: MaintenanceConfig, config: Config, wrong: Wrong) -> None:
    once = maintenance.starts is not None and maintenance.ends is not None
    partly = maintenance.starts is not None or maintenance.ends is not None
    if (maintenance.weekly is None) != once or (partly and not once):
        raise wrong(path, f"[{dotted(path)}] needs starts and ends, or weekly")
    if maintenance.starts is not None and maintenance.ends is not None:
        for field in ("starts", "ends"):
            if getattr(maintenance, field).tzinfo is None:
                at = (*path, field)
                raise wrong(at, f"{dotted(at)} has no zone; write 2026-12-01T02:00:00Z")
        if maintenance.starts >= maintenance.ends:
            raise wrong((*path, "ends"), f"[{dotted(path)}] ends before it starts; swap them")
    if maintenance.weekly is not None and weekly(maintenance.weekly) is None:
        at = (*path, "weekly")
        raise wrong(at, f'{dotted(at)} is {quoted(maintenance.weekly)}; write "sun 02:00-04:00", in UTC')
    for name in maintenance.deployments or ():
        check_known((*path, "deployments"), name, config.deployments, "deployment", wrong)
