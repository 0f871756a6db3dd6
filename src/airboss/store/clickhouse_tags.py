"""Sums by the day and tags that ClickHouse keeps (`tag_sums`).

Which tags are left out (`tagging`) is seen of all calls of a day, of which a view would see some: so they are
made of days that are over, one at a time, beside the mover. Those of a day that an erasure takes somebody out
of are deleted first, and made again later; those that late calls came to are made anew. A question takes the
sums of the days that have as many calls there as in `records`, and reads the calls of the others.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from airboss.domain.errors import StoreUnavailable
from airboss.store import tagging
from airboss.store.clickhouse_http import Ask, ClickHouse, query
from airboss.store.clickhouse_people import put_in_place
from airboss.store.rollups import DAY_S, Question, inside
from airboss.store.tagging import APART, TABLE

CALLS_A_SUM: Final = 8
"""A day that has fewer calls for each of its sums is told from these calls."""
LATE: Final = timedelta(hours=1)
"""A day is over this long after its end."""
LOOK_S: Final = 60.0
"""So often we look for days to sum up."""
RESTS: Final = 1.0
"""So many times as long as the server summed up a day it rests after it."""
CHANGING: Final = (
    "select mutation_id, latest_fail_reason from system.mutations"
    " where database = currentDatabase() and table = 'records' and not is_done"
    " order by latest_fail_reason != '' desc limit 1"
)
"""A change of records that is under way, one that fails first."""
NONE: Final = ""
"""In place of a tag: all of them are left out of a day."""
LONG_AGO: Final = datetime(1970, 1, 2, tzinfo=UTC)
IN_SUMS: Final = "toDate(start) in $tag_days"
IN_RECORDS: Final = "started_at >= $since and started_at < $until and toDate(started_at) not in $tag_days"
_TOLD: Final = (
    "toJSONString(cast(arrayFilter(tag -> not has($untold, tag.1), JSONExtractKeysAndValues(tags, 'String'))"
    " as Map(String, String)))"
)
"""A record's tags without some."""


class TagSums:
    """Makes them; `numbers` are those of sums with histograms, as SQL has them. Whoever blanks or deletes
    records holds `still` meanwhile."""

    def __init__(self, house: ClickHouse, numbers: str) -> None:
        self.still = threading.Lock()
        self._house = house
        self._numbers = numbers
        self._look_at = 0.0
        self._failed: Counter[str] = Counter()
        self._kept_since = LONG_AGO

    def make(self) -> bool:
        """Make the sums of a day, if one has none or those of other calls; whether there was one. None while
        records are changed: an erasure whose store was killed goes on in the server. Raises StoreUnavailable
        where such a change fails, or the day that has failed least."""
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_S  # also where the server is away
        with self.still:
            began = time.monotonic()
            if self._changing():
                return False
            asked = {"since": self._kept_since, "until": datetime.now(UTC) - LATE}
            found = self._house.rows(query("untagged_days"), asked)
            found.sort(key=lambda each: self._failed[each[0]])  # of these the newest first
            if any(self._tried(day, calls) for day, calls in found):  # the first nobody adds to meanwhile
                ended = time.monotonic()
                self._look_at = ended + RESTS * (ended - began)
                return True
        return False

    def _changing(self) -> bool:
        for name, why in self._house.rows(CHANGING):
            if why:
                raise StoreUnavailable(
                    "no day is summed up by tag, and calls are read instead, while ClickHouse fails to change"
                    f" records ({name}: {why[:500]}): mend what it says, or end the change by `kill mutation`"
                )
            return True
        return False

    def _tried(self, day: str, calls: int) -> bool:
        try:
            made = self._make(day, calls)
        except StoreUnavailable:
            self._failed[day] += 1
            raise
        self._failed.pop(day, None)
        return made

    def expire(self, before: datetime) -> None:
        """Delete the sums of days that began by then, and make none of these. The caller holds `still`."""
        ended = "select distinct toString(toDate(start)) from tag_sums where start < $before"
        forget(self._house, [day for (day,) in self._house.rows(ended, {"before": before})])
        midnight = before.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self._kept_since = max(self._kept_since, midnight + timedelta(days=1))

    def _make(self, day: str, calls: int) -> bool:
        def counted(what: str, without: Sequence[str]) -> int:
            text = f"select uniq({what}) from ({_records(without)})"  # noqa: S608 - of ours
            ((found,),) = self._house.rows(text, {"day": day, "untold": list(without)})
            return int(found)

        untold = tagging.left_out(
            lambda without: counted("tags", without),
            lambda: self._house.rows(query("tag_values"), {"day": day}),
        )
        rows_max = min(tagging.ROWS_MAX, calls // CALLS_A_SUM)
        if untold is None or counted(", ".join(f"ifNull({each}, '')" for each in APART), untold) > rows_max:
            untold = [NONE]
            text = (
                "(start, requests, untold)"
                " select toDateTime(toStartOfDay(started_at), 'UTC') as start, count(), $untold"
                " from records where toDate(started_at) = $day group by start"
            )
        else:
            text = query("sum_tags").format(
                apart=", ".join(APART),
                numbers=self._numbers,
                untold="cast($untold as Array(String))",
                records=_records(untold),
            )
        return put_in_place(self._house, TABLE, day, text, {"untold": untold})


def forget(house: ClickHouse, days: Sequence[str]) -> None:
    """Delete the sums of these days, and what was made of them and not put in place."""
    if days:
        house.run(f"truncate table remade_{TABLE}{house.on_cluster}")
    for day in days:
        house.run(f"alter table {TABLE}{house.on_cluster} drop partition $day", {"day": day}, hard=True)


class Told(msgspec.Struct, frozen=True):
    """The days whose sums a question takes; `few`: all tags of these are told, so calls share few objects."""

    days: list[str]
    few: bool

    def holds(self, later: Told | None) -> bool:
        """Whether no sums were deleted since, as an erasure does."""
        return later is not None and set(self.days) <= set(later.days)


def told(rows: Ask, asked: Question) -> Told | None:
    """Which sums a question takes; None where they do not tell it."""
    if not asked.by_the_day:
        return None
    days, days_end = inside(asked.since, asked.until, DAY_S)
    given = {"days": days, "days_end": days_end, "tags": [NONE, *sorted(asked.tags)]}
    found = rows(query("tagged_days"), given)
    return Told([day for day, _ in found], all(few for _, few in found)) if found else None


def _records(without: Sequence[str]) -> str:
    """The records of a day, with those of their tags that are told."""
    columns = f"* replace ({_TOLD} as tags)" if without else "*"
    return f"select {columns} from records where toDate(started_at) = $day"  # noqa: S608 - of ours
