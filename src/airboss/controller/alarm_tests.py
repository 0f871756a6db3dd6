"""Sequential alarms: whether more calls are bad than before, looked at every minute, seldom wrong.

An alarm of this kind learns what is usual from the week before (of a young deployment: from what there is),
and then tests, call by call, that no more are bad than that, for as long as what it learned from, at most a
week; then it learns anew. The chance of a false alarm is shared out over these epochs, so that it is `alpha`
a week. While an alarm fires nothing is learned, for a week at most: then the new state is the usual one.

A call is bad that failed, was refused, or was answered by a fallback; for latencies and costs, an answer
beyond BEYOND times the 95th percentile of before. Without a past there is no usual latency or cost; for all
others FRESH stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from airboss.controller.alarm_measures import chosen, mean_score
from airboss.controller.alarms import Reading
from airboss.domain.ports import RecordLog
from airboss.domain.usage import UsageRow
from airboss.evaluations import sequential
from airboss.evaluations.sequential import Test
from airboss.store.alert_metrics import BAD, INTERNAL_KEY, counted, length, money_words, question
from airboss.store.alert_rows import AlarmRule
from airboss.store.usage import LATE
from airboss.store.wording import many

WEEK: Final = timedelta(days=7)
EPOCH_MIN: Final = timedelta(hours=1)
STEP: Final = timedelta(minutes=1)
SCORE_STEP: Final = timedelta(minutes=5)
SETTLED: Final = timedelta(seconds=20)
"""A step is looked at so long after its end: calls reach the log a little later than they end."""

GAP: Final = timedelta(days=1)
"""What lies further back after a stop is not looked at any more."""

BEYOND: Final = 1.25
BASELINE_MIN: Final = 200
SCORES_MIN: Final = 50
SCORE_MARGIN: Final = 0.03
SCORE_LIMIT_MAX: Final = 0.95
"""Where a score is as bad as that, no test tells worse from it."""

HOUR_MIN: Final = 30
HOURS_MIN: Final = 20
"""Calls in an hour, and such hours, for hours to be compared."""

SAID_MIN: Final = 10.0
"""What comes by chance more often than once in so many times is not worth a word."""

CALM: Final = timedelta(minutes=5)
"""For so long it must be well after an outage; and one that is shorter, and whose calls are not too many of
the window's, is not told."""

RETRY: Final = timedelta(minutes=1)
"""How soon it is looked again for enough to learn from."""

FRESH: Final = {"error_rate": 0.05, "refused_rate": 0.2, "fallback_rate": 0.1}
"""What is well for a deployment without a past."""

LEAST: Final = {"error_rate": 0.02, "refused_rate": 0.05, "fallback_rate": 0.05}
"""Fewer bad calls than that are never worth waking anybody; of others twice the share that a p95 leaves."""
LEAST_BEYOND: Final = 0.1


Step = tuple[datetime, int, int]
"""When, how many calls, and how many of them were bad."""


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """What a sequential alarm keeps: `of` is what it tests. `since` is when it learned, `ends` when it does
    anew, `until` how far it has looked. `bound` makes an answer bad (None: its status does). `test` None:
    there was too little to learn from, as `why` says. `alpha` is this epoch's share. `counted` is what was
    seen of the steps that may yet grow (None: of none), `arrived` what came at each look of the window.
    `anew` is when the test began again, all having been well."""

    of: str
    since: datetime
    ends: datetime
    until: datetime
    alpha: float
    test: Test | None = None
    bound: float | None = None
    usual: str = ""
    why: str | None = None
    counted: tuple[Step, ...] | None = None
    arrived: tuple[Step, ...] = ()
    anew: datetime | None = None


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which all was well, or was not, and what has come since it began: `n` calls, 1 at least."""

    began: datetime
    lasted: timedelta
    n: int
    bad: int

    @property
    def share(self) -> float:
        """Of them that are bad."""
        return self.bad / self.n


def look(rule: AlarmRule, memory: object, log: RecordLog, now: datetime) -> Reading:
    """Take what has happened since the last look. Raises StoreUnavailable."""
    of = f"{rule.metric}/{rule.alpha:g}{'/less' if rule.less_is_better else ''}"
    kept = msgspec.convert(memory, Epoch) if memory is not None else None
    if kept is None or kept.of != of or _over(kept, now):
        kept = learned(rule, of, log, now)
    if kept.test is None:
        return Reading(why=kept.why, memory=msgspec.to_builtins(kept))
    kept = _gone_on(rule, kept, log, now)
    return _reading(rule, kept, log, now)


def _over(epoch: Epoch, now: datetime) -> bool:
    if epoch.test is not None and sequential.rejected(epoch.test, epoch.alpha):
        return now >= epoch.since + WEEK
    return now >= epoch.ends


def learned(rule: AlarmRule, of: str, log: RecordLog, now: datetime) -> Epoch:
    """An epoch that begins now, with what the week before says is usual."""
    start = _floored(now, STEP)
    if rule.metric.startswith("score:"):
        return _learned_score(rule, of, log, start)
    used = _used(rule, log, start - WEEK, start)
    own, n, bad = used or (None, 0, 0)
    bound = _bound(rule.metric, own) if own is not None else None
    if bound is not None:
        own, n, bad = _used(rule, log, start - WEEK, start, bound=bound) or (own, n, bad)
    age = max(EPOCH_MIN, min(WEEK, start - own.first_at)) if own is not None else EPOCH_MIN
    fresh = FRESH.get(rule.metric)
    if n < BASELINE_MIN and fresh is None:
        why = f"no usual state yet: {n} of {BASELINE_MIN} answers to learn from"
        return Epoch(of=of, since=start, ends=start + RETRY, until=start, alpha=rule.alpha, why=why)
    if n < BASELINE_MIN:
        allowed, age = fresh, EPOCH_MIN
        usual = f"too few calls before to learn from, so {100 * FRESH[rule.metric]:g} % stands in"
    else:
        least = LEAST.get(rule.metric, LEAST_BEYOND)
        hours = _hours(rule, log, start, bound=bound)
        allowed = min(0.5, max(hours, sequential.limit(bad, n, least=least)))
        usual = f"before it was {100 * bad / n:.2g} % of {many(n, 'call')}"
    assert allowed is not None
    return Epoch(
        of=of,
        since=start,
        ends=start + age,
        until=start,
        alpha=rule.alpha * (age / WEEK),
        test=Test(limit=allowed, steps=int(age / STEP)),
        bound=bound,
        usual=usual,
    )


def _learned_score(rule: AlarmRule, of: str, log: RecordLog, start: datetime) -> Epoch:
    n, mean, _ = _scores(rule, log, start - WEEK, start)
    common = {"of": of, "since": start, "until": start}
    if mean is None or n < SCORES_MIN or not 0 <= mean <= 1:
        why = f"no usual state yet: {n} of {SCORES_MIN} scores between 0 and 1 to learn from"
        return msgspec.convert({**common, "ends": start + RETRY, "alpha": rule.alpha, "why": why}, Epoch)
    margin = max(SCORE_MARGIN, 1.3 / n**0.5)  # the most that the mean of n values in [0, 1] is off, at 99%
    limit = _bad(rule, mean) + margin
    if limit > SCORE_LIMIT_MAX:
        why = f"a mean of {mean:.3f}, of {many(n, 'score')}, cannot get worse by enough to be told"
        return msgspec.convert({**common, "ends": start + RETRY, "alpha": rule.alpha, "why": why}, Epoch)
    return Epoch(
        of=of,
        since=start,
        ends=start + WEEK,
        until=start,
        alpha=rule.alpha,
        test=Test(limit=limit, steps=int(WEEK / SCORE_STEP)),
        usual=f"before the mean was {mean:.3f}, of {many(n, 'score')}",
    )


def _gone_on(rule: AlarmRule, epoch: Epoch, log: RecordLog, now: datetime) -> Epoch:
    """The epoch after the steps that have passed."""
    scored = rule.metric.startswith("score:")
    step = SCORE_STEP if scored else STEP
    since = max(epoch.until, _floored(now - GAP, step))
    until = _floored(now - SETTLED, step)
    if until <= since:
        return epoch
    test = epoch.test
    assert test is not None
    if scored:
        while since < until:
            n, mean, _ = _scores(rule, log, since, since + step)
            if n and mean is not None:
                test = sequential.after(test, n=n, bad=n * _bad(rule, mean))
            since += step
        return msgspec.structs.replace(epoch, test=test, until=until)
    begin = since if epoch.counted is None else max(epoch.since, since - LATE)
    found = _steps(rule, log, begin, until, bound=epoch.bound)
    come = _new(found, epoch.counted or (), since)
    for _, n, bad in come:
        test = sequential.after(test, n=n, bad=bad)
    begin = until - timedelta(seconds=rule.window_s)
    return msgspec.structs.replace(
        epoch,
        test=test,
        until=until,
        counted=tuple(each for each in found if each[0] >= until - LATE),
        arrived=tuple(each for each in (*epoch.arrived, *come) if each[1] and each[0] >= begin),
    )


def _new(found: Sequence[Step], counted: Sequence[Step], since: datetime) -> list[Step]:
    """What has come since the last look, by the steps from `since` on; what came late is in the first."""
    known = {at: (n, bad) for at, n, bad in counted}
    come = {since: (0, 0)}
    for at, n, bad in found:
        n_known, bad_known = known.get(at, (0, 0))
        more = max(0, n - n_known)
        step = max(at, since)
        so_far = come.get(step, (0, 0))
        come[step] = (so_far[0] + more, so_far[1] + min(more, max(0, bad - bad_known)))
    return [(at, n, bad) for at, (n, bad) in come.items()]


def _reading(rule: AlarmRule, epoch: Epoch, log: RecordLog, now: datetime) -> Reading:
    if rule.metric.startswith("score:"):
        return _reading_scores(rule, epoch, log, now)
    test = epoch.test
    assert test is not None
    come = sum(n for _, n, _ in epoch.arrived), sum(bad for _, _, bad in epoch.arrived)
    since = now - timedelta(seconds=rule.window_s)
    _, *begun = _used(rule, log, since, now, bound=epoch.bound) or (None, 0, 0)
    shares = [bad / n for n, bad in (come, begun) if n]
    share, counted_ = (shares[0] if shares else None), ""
    broken, sure = sequential.rejected(test, epoch.alpha), _sure(test, epoch.alpha)
    if broken:
        ill, well = _ill(epoch), _well_since(epoch)
        few = bool(shares) and max(shares) <= test.limit
        if well is not None or (few and (ill is None or ill.share <= test.limit)):
            fresh = Test(limit=test.limit, steps=test.steps)
            epoch = msgspec.structs.replace(epoch, test=fresh, anew=epoch.until)
            broken, sure = False, ""
        elif few and ill is not None and ill.lasted < CALM:
            broken = False  # it may be over in a moment, and then it was not many
        told = well if well is not None else ill if broken else None
        if told is not None:
            share = told.share
            counted_ = f"since {told.began:%H:%M} UTC {told.bad:,} of {told.n:,} {BAD[rule.metric]}"
    if not counted_ and shares:
        n, bad = come if come[0] else begun
        counted_ = f"{bad:,} of {n:,} {BAD[rule.metric]} in the last {length(rule.window_s)}"
    slow = "" if epoch.bound is None else f"over {_amount(rule.metric, epoch.bound)} is too much"
    return Reading(
        value=share,
        why=None if share is not None else "no calls to look at",
        broken=broken,
        bound=test.limit,
        detail="; ".join(filter(None, (counted_, slow, epoch.usual, sure))),
        memory=msgspec.to_builtins(epoch),
    )


def _reading_scores(rule: AlarmRule, epoch: Epoch, log: RecordLog, now: datetime) -> Reading:
    test = epoch.test
    assert test is not None
    _, mean, _ = _scores(rule, log, now - timedelta(seconds=rule.window_s), now)
    broken, sure = sequential.rejected(test, epoch.alpha), _sure(test, epoch.alpha)
    if broken and mean is not None and _bad(rule, mean) <= test.limit:
        # Well again: from here on it is another test.
        epoch = msgspec.structs.replace(epoch, test=Test(limit=test.limit, steps=test.steps))
        broken = False
    return Reading(
        value=mean,
        why=None if mean is not None else "no scores to look at",
        broken=broken,
        bound=test.limit if rule.less_is_better else 1 - test.limit,
        detail="; ".join(filter(None, (epoch.usual, sure))),
        memory=msgspec.to_builtins(epoch),
    )


def _ill(epoch: Epoch) -> Stretch | None:
    """Since when more are bad than is usual, how long they were, and all that came since; None: they never
    were, of what has come since all was well."""
    assert epoch.test is not None
    arrived = [each for each in epoch.arrived if epoch.anew is None or each[0] >= epoch.anew]
    found = sequential.stretch([(n, bad) for _, n, bad in arrived], epoch.test.limit)
    if found is None:
        return None
    began, last = arrived[found[0]][0], arrived[found[1] - 1][0]
    return _since(arrived[found[0] :], began, last + STEP - began)


def _well_since(epoch: Epoch) -> Stretch | None:
    """Since when all is well again, and what came since: an outage is over long before it is out of a window
    of an hour. It must be well for as long as it was not, at least for CALM: one that comes and goes is told
    once."""
    assert epoch.test is not None
    arrived = epoch.arrived
    found = sequential.calm([(n, bad) for _, n, bad in arrived], epoch.test.limit)
    if found is None:
        return None
    began, since = arrived[found[0]][0], arrived[found[1] - 1][0] + STEP
    if epoch.until - since < max(CALM, since - began):
        return None
    return _since(arrived[found[1] :], since, epoch.until - since)


def _since(steps: Sequence[Step], began: datetime, lasted: timedelta) -> Stretch:
    n, bad = sum(n for _, n, _ in steps), sum(bad for _, _, bad in steps)
    return Stretch(began=began, lasted=lasted, n=n, bad=bad)


def _bound(metric: str, own: UsageRow) -> float | None:
    usual = {
        "latency_p95": own.latency_p95_ms,
        "ttft_p95": own.ttft_p95_ms,
        "cost_usd": own.cost_p95_usd,
    }.get(metric)
    return None if usual is None else BEYOND * usual


def _used(
    rule: AlarmRule, log: RecordLog, since: datetime, until: datetime, *, bound: float | None = None
) -> tuple[UsageRow, int, int] | None:
    return next(iter(counted(rule.metric, log, question(rule, since, until, bound))), None)


def _steps(
    rule: AlarmRule, log: RecordLog, since: datetime, until: datetime, *, bound: float | None
) -> list[Step]:
    asked = question(rule, since, until, bound)
    step_s = int(STEP.total_seconds())
    asked = msgspec.structs.replace(asked, step_s=step_s, limit=int((GAP + LATE) / STEP) + 1)
    return [(row.start, n, bad) for row, n, bad in counted(rule.metric, log, asked) if row.start is not None]


def _hours(rule: AlarmRule, log: RecordLog, start: datetime, *, bound: float | None) -> float:
    """The share of bad calls in an hour as bad as one in twenty: days have their hours, failures come in
    bunches, and what comes every day is usual."""
    asked = msgspec.structs.replace(question(rule, start - WEEK, start, bound), step_s=3_600)
    shares = sorted(bad / n for _, n, bad in counted(rule.metric, log, asked) if n >= HOUR_MIN)
    return shares[int(0.95 * len(shares))] if len(shares) >= HOURS_MIN else 0.0


def _scores(
    rule: AlarmRule, log: RecordLog, since: datetime, until: datetime
) -> tuple[int, float | None, int]:
    found = log.score_stats(since, until, by_score_time=True, without_key=INTERNAL_KEY, where=chosen(rule))
    return mean_score(found, rule)


def _bad(rule: AlarmRule, mean: float) -> float:
    """How bad scores of such a mean are, 0 to 1."""
    mean = min(1.0, max(0.0, mean))
    return mean if rule.less_is_better else 1 - mean


def _floored(at: datetime, step: timedelta) -> datetime:
    size = step.total_seconds()
    return datetime.fromtimestamp(at.timestamp() // size * size, at.tzinfo)


def _sure(test: Test, alpha: float) -> str:
    """How sure it is that more are bad than is usual, by Ville's inequality; empty as long as hardly."""
    if test.e_value < SAID_MIN:
        return ""
    does = f"chance alone does this once in {min(test.e_value, 1e6):,.0f} times at most"
    enough = "" if sequential.rejected(test, alpha) else f", and once in {1 / alpha:,.0f} is sure enough"
    return does + enough


def _amount(metric: str, bound: float) -> str:
    return money_words(bound) if metric == "cost_usd" else f"{bound:,.0f} ms"
