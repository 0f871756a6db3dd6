"""Sums by the minute and the hour, whichever store keeps them: what they hold, and what is asked of them.

A question adds up what is there for the whole hours and minutes of its period and reads the records at its
two ends; one that the sums cannot tell reads all records of its period, in the same way. Counts, tokens and
costs are exact so; quantiles come from histograms and are at most 2 % off. A question of few calls reads
them instead, and is exact altogether.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from airboss.config.tags import read_tag
from airboss.domain.ports import DeploymentStats, RecordFilter, ReleaseBucket, StatsBucket, UsageQuery
from airboss.store.usage import LATE, TAG, narrowed

FEW: Final = 200_000
"""Of so many calls or fewer every one is read, and the answer is exact."""
GROWTH: Final = 1.04
"""From one bin of a histogram to the next; a value is off by its square root at most."""
LEAST: Final = 0.001
"""What is no more than this is told as 0: a microsecond, or a thousandth of a millionth of a dollar."""
LEAST_BIN: Final = round(math.log(LEAST) / math.log(GROWTH))
HISTOGRAMS: Final = ("latency", "ttft", "cost")
"""Of answered calls: in milliseconds, and in millionths of a dollar."""
QUANTILES: Final = {
    "latency_p50_ms": ("latency", 0.5, 1),
    "latency_p95_ms": ("latency", 0.95, 1),
    "latency_p99_ms": ("latency", 0.99, 1),
    "ttft_p50_ms": ("ttft", 0.5, 1),
    "ttft_p95_ms": ("ttft", 0.95, 1),
    "cost_p95_usd": ("cost", 0.95, 1e-6),
}
"""Which histogram a quantile is of, which share lies below it, and what its unit is of the histogram's."""
SUMMED: Final = (
    "deployment", "release", "arm", "model", "provider", "key", "operation", "status", "error_type",
    "finish_reason",
)  # fmt: skip
"""What sums are told apart by."""
APART: Final = ("deployment", "release", "arm", "model", "provider", '"key"', "operation")
"""Columns of records that sums of people are apart by, besides them."""
TIMES: Final = 20
"""So many times as many calls are read, and rows exact, once those that come first have been chosen."""
DAY_S: Final = 86_400
FEW_TAGS: Final = 1_000
"""Where calls differ in their tags no more than this, they are put together before their JSON is read."""
NEXT: Final = "\x1f"
NONE: Final = "\x1e"
"""Between the names of a group where it is one text, and instead of one that is not there."""
ALL: Final = 2**62
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Told = TypeVar("Told", DeploymentStats, StatsBucket, ReleaseBucket)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of many calls: columns as SQL has them, and conditions on rows of `records` with what
    they are given. `summed`: the sums have all of it; `apart`: models or keys are among the columns or
    conditions. `names` are those of columns in both (tags as `tag`), `metric` is of what the most comes
    first, `order` what rows are ordered by before their groups. `chosen`: its conditions name its rows.
    `tags` are those in columns and conditions; `tagged`: all else in these is told apart by sums of tags.
    `ended` is a condition on records alone: sums are taken of what began `late` within the period."""

    since: datetime
    until: datetime
    by: tuple[str, ...]
    step_s: int | None = None
    without_key: str | None = None
    where: str = "true"
    ended: str = "true"
    late: timedelta = timedelta(0)
    given: dict[str, Any] = {}
    summed: bool = True
    apart: bool = False
    names: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    tagged: bool = False
    metric: str | None = None
    chosen: bool = False
    quantiles: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    order: str | None = None
    limit: int = ALL
    slow_ms: float | None = None
    late_ms: float | None = None
    costly_usd: float | None = None

    @property
    def of_records(self) -> str:
        """The conditions on records where these are read."""
        return self.where if self.ended == "true" else f"{self.where} and {self.ended}"

    @property
    def read(self) -> dict[str, Any]:
        """Bounds of sums by which the records of its period are counted."""
        return msgspec.structs.replace(self, late=timedelta(0)).bounds(summed=True)

    @property
    def by_the_minute(self) -> bool:
        """Whether sums by the minute can tell it."""
        return self.summed and (self.step_s or 60) % 60 == 0

    @property
    def by_the_day(self) -> bool:
        """Whether sums of tags by the day can tell it."""
        return self.tagged and (self.step_s or DAY_S) % DAY_S == 0

    @property
    def person(self) -> str | None:
        """The column of people that it is told by, where rows can be chosen before their calls are read."""
        columns = [column for column in self.by if column in ('"user"', "session")]
        return columns[0] if columns and self.step_s is None else None

    @property
    def bounded(self) -> bool:
        """Whether it counts answers beyond a bound, which no sum tells."""
        return (self.slow_ms, self.late_ms, self.costly_usd) != (None, None, None)

    def of_groups(
        self, person: str, groups: Sequence[Sequence[str | None]], within: Callable[[str, str], str]
    ) -> Question:
        """The same of these groups alone; `within` says in SQL that a column is in a parameter's list."""
        people = {row[self.by.index(person)] for row in groups}
        named = sorted(each for each in people if each is not None)
        given: dict[str, Any] = {"first_people": named} if named else {}
        one_of = [within(person, "first_people")] if named else []
        one_of += [f"{person} is null"] if None in people else []
        where = f"({' or '.join(one_of) or 'false'}) and {self.where}"
        if len(self.by) > 1 and groups:
            joined = f" || '{NEXT}' || ".join(f"coalesce({column}, '{NONE}')" for column in self.by)
            where = f"{where} and {within(f'({joined})', 'first_groups')}"
            given["first_groups"] = [
                NEXT.join(NONE if each is None else each for each in row) for row in groups
            ]
        given = {**self.given, **given}
        return msgspec.structs.replace(self, where=where, given=given, summed=False, chosen=True)

    @property
    def histograms(self) -> set[str]:
        """Those that its quantiles are of."""
        return {QUANTILES[name][0] for name in self.quantiles}

    def bounds(self, *, summed: bool) -> dict[str, Any]:
        """Which whole minutes, and which whole hours of them, sums are taken of; `until` twice for none."""
        minutes, minutes_end = inside(self.since + self.late, self.until - self.late, 60)
        if not summed:
            minutes = minutes_end = self.until
        hours, hours_end = inside(minutes, minutes_end, 3_600)
        if (self.step_s or 3_600) % 3_600:
            hours = hours_end = minutes_end
        return {
            "since": self.since,
            "until": self.until,
            "minutes": minutes,
            "minutes_end": minutes_end,
            "hours": hours,
            "hours_end": hours_end,
        }

    def asked(self) -> dict[str, Any]:
        """What else the query is given."""
        return {
            **self.given,
            "without": self.without_key,
            "slow_ms": self.slow_ms,
            "late_ms": self.late_ms,
            "costly_usd": self.costly_usd,
            "limit": self.limit,
        }


class Sums(msgspec.Struct, frozen=True):
    """A table of sums: its columns beside the numbers, which of them an erasure blanks, and its numbers.

    It stands here because a structure with functions lives to the very end of the process, with all that its
    module knows: with DuckDB in it, that complains of leaks on stderr, forty lines at the end of a verb.
    """

    table: str
    columns: tuple[str, ...]
    people: tuple[str, ...]
    numbers: tuple[str, ...]

    def tells(self, asked: Question) -> bool:
        """Whether it knows all that a question names."""
        return asked.names <= {column.strip('"') for column in self.columns}


def of_deployments(since: datetime, until: datetime, without_key: str | None) -> Question:
    """What `RecordLog.stats` asks."""
    quantiles = ("latency_p50_ms", "latency_p95_ms", "ttft_p50_ms", "ttft_p95_ms")
    return Question(
        since=since, until=until, by=("deployment",), without_key=without_key, quantiles=quantiles
    )


def over_time(since: datetime, until: datetime, step_s: int) -> Question:
    """What `RecordLog.series` asks."""
    quantiles = ("latency_p50_ms", "latency_p95_ms", "ttft_p50_ms")
    return Question(since=since, until=until, by=("deployment",), step_s=step_s, quantiles=quantiles)


def of_releases(since: datetime, until: datetime, step_s: int) -> Question:
    """What `RecordLog.traffic` asks."""
    return Question(since=since, until=until, by=("deployment", "release", "arm"), step_s=step_s)


def of_usage(
    asked: UsageQuery, groups: list[str], conditions: str, given: dict[str, Any], ended: str = "true"
) -> Question:
    """What `RecordLog.usage` asks, of these columns and under these conditions; `ended` is that of a question
    by when calls ended."""
    late = LATE if asked.ended else timedelta(0)
    return Question(
        since=asked.since - late,
        until=asked.until,
        by=tuple(groups),
        step_s=asked.step_s,
        without_key=asked.without_key,
        where=conditions,
        ended=ended,
        late=late,
        given=given,
        summed=_is_summed(asked),
        tags=frozenset(_tags(asked)),
        tagged=_is_tagged(asked) and not asked.ended,  # those of days know no end of a call
        names=frozenset(_names(asked)),
        metric=asked.order,
        apart=bool({"model", "key", "team"} & {*asked.by, *_names(asked)}),
        quantiles=tuple(name for name in QUANTILES if asked.costs or name != "cost_p95_usd"),
        people=asked.people,
        order="counts.start" if asked.step_s is not None else f"{asked.order} desc nulls last",
        limit=asked.limit,
        slow_ms=asked.slow_ms,
        late_ms=asked.late_ms,
        costly_usd=asked.costly_usd,
    )


def told(kind: type[Told], values: dict[str, Any]) -> Told:
    """A row by deployment, release and arm (`g0` …), as what a question is answered with."""
    values = values | {name: values.get(f"g{at}") for at, name in enumerate(("deployment", "release", "arm"))}
    fields = {name: values[name] for name in kind.__struct_fields__ if name in values}
    if kind is not ReleaseBucket:
        fields["approximate"] = True
    return kind(**fields)


def inside(since: datetime, until: datetime, width: int) -> tuple[datetime, datetime]:
    """The whole minutes or hours (`width` seconds) of a period; `until` twice if there is none."""
    step = timedelta(seconds=width)
    first, last = since + (_EPOCH - since) % step, until - (until - _EPOCH) % step
    return (first, last) if first < last else (until, until)


def _is_summed(asked: UsageQuery) -> bool:
    """Whether sums tell apart what is asked for, and count it."""
    return _names(asked) <= set(SUMMED) and not _is_bounded(asked)


def _is_tagged(asked: UsageQuery) -> bool:
    """Whether sums of tags tell apart what is asked for, and count it."""
    others = {name for name in _names(asked) if name != "tag" and not name.startswith(TAG)}
    return bool(_tags(asked)) and others <= set(SUMMED) and not _is_bounded(asked)


def _is_bounded(asked: UsageQuery) -> bool:
    return (asked.slow_ms, asked.late_ms, asked.costly_usd) != (None, None, None)


def _tags(asked: UsageQuery) -> set[str]:
    """The names of tags that it is told by and narrowed by."""
    narrowed_by = [] if asked.where.tag is None else [read_tag(asked.where.tag)[0]]
    return {*narrowed_by, *(name.removeprefix(TAG) for name in asked.by if name.startswith(TAG))}


def _names(asked: UsageQuery) -> set[str]:
    """What it is told by and narrowed by; of a team its keys tell."""
    where, everything = narrowed(asked.where), RecordFilter()
    names = (name for name in where.__struct_fields__ if getattr(where, name) != getattr(everything, name))
    return {"key" if name in ("team", "keys") else name for name in (*asked.by, *names)}
