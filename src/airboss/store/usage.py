"""Questions of usage: what may be asked, whichever store answers, and what its sums are of."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from airboss.domain.ports import RecordFilter, UsageQuery
from airboss.domain.usage import DIMENSIONS, USAGE_ORDERS

BY_MAX: Final = 2
ROWS_MAX: Final = 20_000
TAG: Final = "tag:"
TAG_CHARS_MAX: Final = 64
FEW: Final = 200_000
"""Of so many calls or fewer every one is read, and the answer is exact."""
GROWTH: Final = 1.04
"""From one bin of a histogram to the next; a value is off by its square root at most."""
LEAST: Final = 0.001
"""What is no more than this is told as 0: a microsecond, or a thousandth of a millionth of a dollar."""
LEAST_BIN: Final = round(math.log(LEAST) / math.log(GROWTH))
BINNED: Final = {"latency": "latency_ms", "ttft": "ttft_ms", "cost": "cost_usd * 1e6"}
"""The histograms of sums, and what of an answered call each is of."""
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
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def check(asked: UsageQuery) -> None:
    """Raise ValueError, with what would be right, for a question that no store answers."""
    if len(asked.by) > BY_MAX:
        raise ValueError(f"usage is told by at most {BY_MAX} groups, not {len(asked.by)}")
    for name in asked.by:
        tag = name.removeprefix(TAG)
        if name not in DIMENSIONS and (tag == name or not 0 < len(tag) <= TAG_CHARS_MAX):
            known = ", ".join((*DIMENSIONS, "tag:NAME"))
            raise ValueError(f"nothing is grouped by {name[:80]!r}; there are {known}")
    if asked.order not in USAGE_ORDERS:
        raise ValueError(f"nothing is ordered by {asked.order[:80]!r}; there are {', '.join(USAGE_ORDERS)}")
    if asked.step_s is not None and asked.step_s < 1:
        raise ValueError(f"step_s is {asked.step_s}; ask for steps of at least one second")
    if not 1 <= asked.limit <= ROWS_MAX:
        raise ValueError(f"limit is {asked.limit}; ask for 1 to {ROWS_MAX:,} rows")


def narrowed(where: RecordFilter) -> RecordFilter:
    """The part of a filter that counts for usage."""
    return msgspec.structs.replace(where, since=None, until=None, before=None, after=None, sort=None)


def is_summed(asked: UsageQuery) -> bool:
    """Whether sums tell apart what is asked for, and count it."""
    filters = msgspec.structs.asdict(narrowed(asked.where))
    names = {*asked.by, *(name for name, value in filters.items() if value is not None)}
    bounds = (asked.slow_ms, asked.late_ms, asked.costly_usd)
    return names <= set(SUMMED) and bounds == (None, None, None) and (asked.step_s or 60) % 60 == 0


def inside(since: datetime, until: datetime, width: int) -> tuple[datetime, datetime]:
    """The whole minutes or hours (`width` seconds) of a period; `until` twice if there is none."""
    step = timedelta(seconds=width)
    first, last = since + (_EPOCH - since) % step, until - (until - _EPOCH) % step
    return (first, last) if first < last else (until, until)


def read_tag(text: str) -> tuple[str, str]:
    """The name and the value of `NAME=VALUE`. Raises ValueError."""
    name, sign, value = text.partition("=")
    if not sign or not 0 < len(name) <= TAG_CHARS_MAX:
        raise ValueError(f"{text[:80]!r} is no tag; write NAME=VALUE, as in team=search")
    return name, value


def pointer(tag: str) -> str:
    """Where a tag stands in a record's tags, as a JSON pointer."""
    return "/" + tag.replace("~", "~0").replace("/", "~1")
