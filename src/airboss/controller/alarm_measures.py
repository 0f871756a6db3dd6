"""What alarms measure, of every kind but the sequential: one question to the log for a length of window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from airboss.config.checks_alarms import SUMS
from airboss.controller.alarm_runs import Making, evaluated, probed
from airboss.controller.alarms import Reading
from airboss.domain.plan import Budget
from airboss.domain.ports import RecordFilter, RecordLog, ScoreStats, UsageQuery
from airboss.domain.record import ANSWERED_BY_FALLBACK
from airboss.domain.usage import UsageRow
from airboss.governance.budgets import money, period_end, period_words, spent_money
from airboss.store.alert_metrics import (
    INTERNAL_KEY,
    calls_in,
    chosen_by,
    counts,
    length,
    metric_of,
    not_good,
    shown,
)
from airboss.store.alert_rows import AlarmRule, Burnt
from airboss.store.alert_runs import EvalOutcome, ProbeOutcome, under_way
from airboss.store.wording import many

WINDOW_PARTS: Final = 60
"""A window is measured only so many times in its length: it cannot change faster."""

FRESH_S_MAX: Final = 300.0
"""So old a measure of a long window may be: a budget that is burnt today is not told tomorrow."""

BURNT_FRESH_S_MAX: Final = 60.0
"""So old what is left of a budget may be while it burns: a fire does not say that nothing is lost."""

WEEK: Final = timedelta(days=7)
NEAR: Final = (timedelta(0), timedelta(hours=1), timedelta(hours=-1))
"""A sum is compared with that of the same hour a week ago, and of the hours beside it: where people put their
clocks forward or back, their calls come an hour earlier or later."""

COMPARED_MIN: Final = 50
"""Calls, or scores, below which two weeks are not compared; of traffic itself twice as many."""

BURNS: Final = ((0.02, 3_600, 300), (0.05, 21_600, 1_800), (0.10, 259_200, 21_600))
"""A part of the budget used up within a long time, and still at that speed in a short one. For a budget of 30
days that is 14.4, 6 and 1 times too fast. Source: Google, The Site Reliability Workbook (2018), chapter 5."""

BURNT_MIN: Final = 3
"""Bad calls in the long time; one failure of five calls is no trend."""


GROWN_MAX: Final = 100
"""So many times of loss are kept; with more, the oldest count no more."""


Asked = tuple[float, float, float | None, RecordFilter]
"""What was measured: the window, how long ago, what is slow, and of which calls."""

Drifted = Callable[[str], "tuple[int, str, tuple[str, ...]] | None"]
"""How much of a deployment has drifted, in words, and ids of some of these calls; None while too little is
known."""


class BudgetUse(msgspec.Struct, frozen=True, kw_only=True):
    """A budget of a key, a team or each value of a tag, and what its calls have cost in the period of now: of
    values those of the one that spent most."""

    budget: Budget
    spent_usd: Decimal


class RecordingMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording alarm keeps: the count that it saw last, and by how much that had grown when."""

    seen: int
    grown: tuple[tuple[datetime, int], ...] = ()


class _Speed(msgspec.Struct, frozen=True, kw_only=True):
    """How many times too fast a budget burns by one of BURNS; `over` is whether that is above `bound` and no
    chance."""

    rate: float
    bound: float
    over: bool
    burnt: Burnt


class Measures:
    """Asks the log. One thread calls it; `forget_old` once a look, before the others."""

    def __init__(
        self,
        log: RecordLog,
        probing: Making[ProbeOutcome] | None = None,
        drifted: Drifted = lambda _deployment: None,
        evaluating: Making[EvalOutcome] | None = None,
    ) -> None:
        self._log = log
        self._drifted = drifted
        self._probing = probing
        self._evaluating = evaluating
        self._used: dict[Asked, tuple[datetime, Mapping[str, UsageRow]]] = {}
        self._scored: dict[
            tuple[float, float, RecordFilter | None], tuple[datetime, Sequence[ScoreStats]]
        ] = {}

    def forget_old(self, now: datetime) -> None:
        """Measure anew what may have changed."""
        self._used = {key: each for key, each in self._used.items() if fresh(key[0], each[0], now)}
        self._scored = {key: each for key, each in self._scored.items() if fresh(key[0], each[0], now)}

    def read(self, rule: AlarmRule, memory: object, now: datetime) -> Reading:
        """What the rule measures now. Raises StoreUnavailable."""
        if rule.kind == "burn_rate":
            return self._burn_rate(rule, now)
        if rule.kind == "change":
            return self._change(rule, now)
        if rule.kind in ("probe", "eval"):
            return self._run(rule, memory, now)
        if rule.kind == "drift":
            return self._drift(rule, memory)
        return self._value(rule, now, timedelta(0))

    def _run(self, rule: AlarmRule, memory: object, now: datetime) -> Reading:
        if rule.kind == "probe" and self._probing is not None:
            return probed(rule, memory, now, self._probing)
        if rule.kind == "eval" and self._evaluating is not None:
            return evaluated(rule, memory, now, self._evaluating)
        return Reading(why=f"nobody makes runs of kind {rule.kind} here", memory=memory)

    def let_go(self, rule: AlarmRule, memory: object) -> None:
        """End what was under way for a rule that is no more, or asks for something else now. Raises
        SetupError."""
        job = under_way(rule, memory)
        making = self._probing if rule.kind == "probe" else self._evaluating
        if job is not None and making is not None:
            making.cancel(job)

    def used(
        self, rule: AlarmRule, window_s: float, now: datetime, *, ago: timedelta = timedelta(0),
        slow_ms: float | None = None, error_type: str | None = None,
    ) -> UsageRow | None:  # fmt: skip
        """What of the rule's calls came to their end in the window that ended so long ago; None: none did. By
        when calls began, those that hang would be told late, or by a short window never."""
        where = chosen(rule) or RecordFilter()
        if error_type is not None:
            where = msgspec.structs.replace(where, error_type=error_type)
        key = (window_s, ago.total_seconds(), slow_ms, where)
        if key not in self._used:
            until = now - ago
            asked = UsageQuery(
                where=where,
                since=until - timedelta(seconds=window_s),
                until=until,
                by=("deployment",),
                without_key=INTERNAL_KEY,
                slow_ms=slow_ms,
                people=(),
                ended=True,
            )
            rows = {row.group[0] or "": row for row in self._log.usage(asked)}
            self._used[key] = (now, rows)
        return self._used[key][1].get(rule.deployment)

    def _value(self, rule: AlarmRule, now: datetime, ago: timedelta) -> Reading:
        window = length(rule.window_s)
        if rule.metric.startswith("score:"):
            return self._score(rule, now, ago, window)
        own = self.used(rule, rule.window_s, now, ago=ago)
        if rule.metric == "requests":
            return Reading(value=float(own.requests) if own is not None else 0.0)
        if rule.metric == "cost_usd":
            return _cost(own, window)
        if own is None:
            return Reading(why=f"no calls{chosen_by(dict(rule.where))} in the last {window}")
        return self._of_calls(rule, own, now, ago)

    def _of_calls(self, rule: AlarmRule, own: UsageRow, now: datetime, ago: timedelta) -> Reading:
        """What is of each call rather than of all, where there are as many as it takes."""
        window = length(rule.window_s)
        value, detail = None, None
        if rule.metric.endswith("_rate"):
            n, bad = self._share(rule, own, now, ago)
            if n:
                value, detail = bad / n, f"{bad:,} of {n:,} {'call' if n == 1 else 'calls'}"
        else:
            n = own.started if rule.metric.startswith("ttft") else own.answered
            value = metric_of(own, rule.metric)
        if value is None:
            return Reading(why=f"no answers in the last {window}")
        if 0 < n < rule.min_requests:
            return Reading(
                why=f"{n} of the {many(rule.min_requests, 'call')} to judge by in the last {window}"
            )
        return Reading(value=value, detail=detail)

    def _share(self, rule: AlarmRule, own: UsageRow, now: datetime, ago: timedelta) -> tuple[int, int]:
        """Of how many calls a rate is told, and how many of them are bad."""
        if rule.metric != "fallback_rate":
            return counts(rule.metric, own)
        kind = ANSWERED_BY_FALLBACK
        theirs = self.used(rule, rule.window_s, now, ago=ago, error_type=kind)
        return own.answered, theirs.answered if theirs is not None else 0

    def _score(self, rule: AlarmRule, now: datetime, ago: timedelta, window: str) -> Reading:
        name = rule.metric.removeprefix("score:")
        n, mean, unscored = self.scored(rule, rule.window_s, now, ago=ago)
        if mean is None:
            more = f", and {unscored} unscored" if unscored else ""
            return Reading(why=f"no scores {name!r} in the last {window}{more}")
        if n < rule.min_requests:
            return Reading(
                why=f"{n} of the {many(rule.min_requests, 'score')} to judge by in the last {window}"
            )
        return Reading(value=mean, detail=f"of {many(n, 'score')}")

    def scored(
        self, rule: AlarmRule, window_s: float, now: datetime, *, ago: timedelta = timedelta(0)
    ) -> tuple[int, float | None, int]:
        """How many scores of the rule's name were given, their mean, and how many calls stayed unscored. By
        when they were given: those of a call may come long after it."""
        where = chosen(rule)
        key = (window_s, ago.total_seconds(), where)
        if key not in self._scored:
            until = now - ago
            since = until - timedelta(seconds=window_s)
            found = self._log.score_stats(
                since, until, by_score_time=True, without_key=INTERNAL_KEY, where=where
            )
            self._scored[key] = (now, found)
        return mean_score(self._scored[key][1], rule)

    def _change(self, rule: AlarmRule, now: datetime) -> Reading:
        then, ago = self._then(rule, now)
        least = 2 * COMPARED_MIN if rule.metric == "requests" else COMPARED_MIN
        counts = [self._count(rule, now, each) for each in (ago, timedelta(0))]
        if then.value is None or counts[0] < least:
            beside = ", or an hour beside that," if ago != WEEK else ""
            return Reading(why=f"a week ago{beside} there were {counts[0]} of the {least} to compare with")
        present = self._value(rule, now, timedelta(0))
        if present.value is None or (counts[1] < least and rule.metric != "requests"):
            return Reading(why=present.why or f"now there are {counts[1]} of the {least} to compare")
        if rule.metric.endswith("_rate") or rule.metric.startswith("score:"):
            value = present.value - then.value
        elif then.value == 0:
            return Reading(why="a week ago it was 0, which nothing can be compared with")
        else:
            value = present.value / then.value - 1
        return Reading(value=value, detail=f"{shown(present.value)} now, {shown(then.value)} then")

    def _then(self, rule: AlarmRule, now: datetime) -> tuple[Reading, timedelta]:
        """What there was a week ago, and how long ago exactly: of a sum the least or the most of NEAR, by
        which the alarm fires last."""
        if rule.metric not in SUMS:
            return self._value(rule, now, WEEK), WEEK
        found = [(self._value(rule, now, WEEK - near), WEEK - near) for near in NEAR]
        known = [(each.value, each, ago) for each, ago in found if each.value is not None]
        if not known:
            return found[0]
        choose = min if rule.below else max
        _, then, ago = choose(known, key=lambda each: each[0])
        return then, ago

    def _count(self, rule: AlarmRule, now: datetime, ago: timedelta) -> int:
        if rule.metric.startswith("score:"):
            return self.scored(rule, rule.window_s, now, ago=ago)[0]
        own = self.used(rule, rule.window_s, now, ago=ago)
        return own.requests if own is not None else 0

    def _burn_rate(self, rule: AlarmRule, now: datetime) -> Reading:
        assert rule.slo is not None
        allowed = 1 - rule.slo.target
        speeds: list[_Speed] = []
        for part, long_s, short_s in BURNS:
            # At a speed of 1 the budget lasts its time: of a short one these parts go sooner than that.
            bound = max(1.0, part * rule.slo.window_s / long_s)
            slow_ms = rule.slo.latency_ms
            own = self.used(rule, long_s, now, slow_ms=slow_ms)
            n, bad = not_good(own, slow_ms)
            n_short, bad_short = not_good(self.used(rule, short_s, now, slow_ms=slow_ms), slow_ms)
            if own is None or not n:
                continue
            long = bad / n / allowed
            short = bad_short / n_short / allowed if n_short else 0.0
            rate = min(long, short)
            over = bad >= BURNT_MIN and rate > bound
            burnt = Burnt(long_s=long_s, failed=2 * own.errors >= bad)
            speeds.append(_Speed(rate=rate, bound=bound, over=over, burnt=burnt))
        if not speeds:
            return Reading(why=f"no calls{chosen_by(dict(rule.where))} in the last {length(BURNS[-1][1])}")
        # The fastest that is broken, else the one nearest to it.
        nearest = max(speeds, key=lambda each: each.rate / each.bound)
        told = next((each for each in speeds if each.over), nearest)
        budget_key = (rule.slo.window_s, 0.0, rule.slo.latency_ms, chosen(rule) or RecordFilter())
        if told.over and not younger(self._used.get(budget_key, (now, {}))[0], BURNT_FRESH_S_MAX, now):
            del self._used[budget_key]
        n, bad = not_good(
            self.used(rule, rule.slo.window_s, now, slow_ms=rule.slo.latency_ms),
            rule.slo.latency_ms,
        )
        left = 1 - bad / n / allowed if n else 1.0
        budget = f"the budget of {length(rule.slo.window_s)}"
        used = f"{budget} is used up {1 - left:.3g} times"
        words = f"{100 * left:.0f} % of {budget} is left" if left > 0 else used
        memory = msgspec.to_builtins(told.burnt)
        return Reading(value=told.rate, bound=told.bound, broken=told.over, detail=words, memory=memory)

    def _drift(self, rule: AlarmRule, memory: object) -> Reading:
        """What drifted. Once it was known, nothing has while what is usual is learned anew: what was found is
        accepted then."""
        found = self._drifted(rule.deployment)
        why = "too few calls so far to know what is usual"
        if found is None and memory is None:
            return Reading(why=why)
        count, words, calls = found or (0, why, ())
        return Reading(
            value=float(count),
            bound=0.0,
            broken=count > 0,
            detail=words or None,
            memory="known",
            records=calls,
        )


def recording(rule: AlarmRule, memory: object, lost: Mapping[str, int], now: datetime) -> Reading:
    """By how much what is lost has grown within the window, or whether the disk is nearly full. Counts are
    since the controller's start: a lower one than was seen last began anew at 0."""
    if rule.metric == "disk_full":
        full = lost.get(rule.metric, 0)
        detail = (
            "the oldest bodies make room; with none left, calls are refused once it is full" if full else None
        )
        return Reading(value=float(full), bound=0.0, detail=detail)
    kept = msgspec.convert(memory, RecordingMemory) if memory is not None else RecordingMemory(seen=0)
    count = lost.get(rule.metric, 0)
    more = count - (kept.seen if count >= kept.seen else 0)
    begin = now - timedelta(seconds=rule.window_s)
    grown = [each for each in kept.grown if each[0] > begin]
    if more:
        grown = [*grown, (now, more)][-GROWN_MAX:]
    memory = msgspec.to_builtins(RecordingMemory(seen=count, grown=tuple(grown)))
    value = float(sum(each for _, each in grown))
    detail = "the System page says which, and why" if value and rule.metric == "dead_letters" else None
    return Reading(value=value, bound=0.0, memory=memory, detail=detail)


def spending(rule: AlarmRule, uses: Mapping[str, BudgetUse], now: datetime) -> Reading:
    """What part of its budget a key, a team or the dearest value of a tag has spent."""
    kind, name = next((kind, name) for kind in ("team", "tag", "key") if (name := getattr(rule, kind)))
    use = uses.get(name if kind == "key" else f"{kind}/{name}")
    if use is None:
        whose = f"{kind} {name!r}"
        return Reading(why=f"there is no {whose} with a budget")
    budget, spent = use.budget, use.spent_usd
    share = float(spent / budget.usd) if budget.usd else 1.0
    period = period_words(budget.per)
    until = f"{period_end(budget, now):%Y-%m-%d}"
    whose = "the one that spent most: " if kind == "tag" else ""
    so_far = f"${spent_money(spent)} of ${money(budget.usd)}"
    return Reading(value=share, detail=f"{whose}{so_far} {period}; it begins anew on {until} UTC")


def chosen(rule: AlarmRule) -> RecordFilter | None:
    """The calls that a rule is narrowed to; None where all are meant, so that one question to the log serves
    every deployment."""
    return calls_in(rule) if rule.where else None


def mean_score(found: Sequence[ScoreStats], rule: AlarmRule) -> tuple[int, float | None, int]:
    """Of all releases of a rule's deployment: how many numbers, their mean, and how many unscored."""
    name = rule.metric.removeprefix("score:")
    own = [each for each in found if each.deployment == rule.deployment and each.name == name]
    n, unscored = sum(each.n for each in own), sum(each.unscored for each in own)
    mean = sum(each.mean * each.n for each in own if each.mean is not None) / n if n else None
    return n, mean, unscored


def _cost(own: UsageRow | None, window: str) -> Reading:
    if own is None or not own.requests:
        return Reading(value=0.0)
    why = f"no call of the last {window} has a known price" if own.cost_usd is None else None
    return Reading(value=own.cost_usd, why=why)


def fresh(window_s: float, at: datetime, now: datetime) -> bool:
    """Whether what was measured then of a window of that length need not be measured again."""
    return younger(at, min(max(window_s / WINDOW_PARTS, 1.0), FRESH_S_MAX), now)


def younger(at: datetime, seconds: float, now: datetime) -> bool:
    """Whether something is younger than that. What is of a time to come is not: the clock was set back."""
    return timedelta(0) <= now - at < timedelta(seconds=seconds)
