"""People taken out of ClickHouse, and what is too old to be kept.

A row that is deleted is not seen from then on, but stands in its part until that is written anew: so what
a person said is deleted and the parts with it are then written anew at once. What is too old goes by the day,
as a partition, which costs nothing; only the rest of the oldest day is deleted row by row, and goes as a
partition the day after.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airboss.domain.ports import Erased
from airboss.store import (
    clickhouse_bodies,
    clickhouse_people,
    clickhouse_rollups,
    clickhouse_scores,
    clickhouse_spans,
    clickhouse_tags,
)
from airboss.store.clickhouse_bodies import IDS_AT_ONCE
from airboss.store.clickhouse_http import ClickHouse, query
from airboss.store.joining import blank_opened, read_opened


def blank(house: ClickHouse, user: str, before: datetime) -> Erased:
    """As `RecordLog.erase`, for one person."""
    asked = {"user": user, "before": before}
    clickhouse_tags.forget(house, clickhouse_people.blank(house, user, before))
    ids = [record_id for record_id, _ in house.rows(query("records_of_user"), asked)]
    traced = [span_id for (span_id,) in house.rows(query("erase_traced"), asked)]
    judged = list(dict.fromkeys([*ids, *traced]))
    scores = 0
    for start in range(0, max(1, len(judged)), IDS_AT_ONCE):
        some = judged[start : start + IDS_AT_ONCE]
        scores += clickhouse_scores.erase(house, user=user, record_ids=some)
    # What reviewers wrote before they judged again, too, which is deleted already.
    house.run(f"alter table scores{house.on_cluster} apply deleted mask", hard=True)
    opened = _blank_opened(house, user, before)
    clickhouse_bodies.drop(house, ids)
    clickhouse_spans.erase(house, user, before)
    if ids:
        house.run(
            f"alter table records{house.on_cluster} update \"user\" = null, session = null, tags = '{{}}'"
            ' where "user" = $user and started_at <= $before',
            asked,
            hard=True,
        )
    return Erased(records=len(ids) + opened, scores=scores)


def _blank_opened(house: ClickHouse, user: str, before: datetime) -> int:
    """Blank the calls of this user, and of traces that name them, that are still open; returns how many."""
    found = 0
    named = 'select distinct trace_id from spans where "user" = $user and started_at <= $before'
    traces = {trace for (trace,) in house.rows(named, {"user": user, "before": before})}
    for record_id, text in house.rows("select id, opened from pending final where done = 0 order by id"):
        opened = read_opened(text.encode())
        if (opened.user == user or opened.trace_id in traces) and opened.started_at <= before:
            update = f"alter table pending{house.on_cluster} update opened = $opened where id = $id"
            house.run(update, {"opened": blank_opened(opened).decode(), "id": record_id}, hard=True)
            found += 1
    return found


def expire(
    house: ClickHouse, *, bodies_before: datetime | None, records_before: datetime | None, limit: int
) -> int:
    """As `RecordLog.expire`."""
    done = 0
    if records_before is not None:
        done += _drop(house, "records", ("records", "bodies", "scores"), records_before, limit)
        clickhouse_rollups.expire(house, records_before)
        clickhouse_people.expire(house, records_before)
        done += clickhouse_spans.expire(house, records_before, limit, whole="spans")
    if bodies_before is not None and done < limit:
        done += _drop(house, "bodies", ("bodies",), bodies_before, limit - done)
        done += clickhouse_spans.expire(house, bodies_before, limit, whole="texts")
    return done


def _drop(house: ClickHouse, counted: str, tables: Sequence[str], before: datetime, limit: int) -> int:
    """Delete what is older from these tables, about `limit` rows of `counted` at once; returns how many."""
    done = 0
    for day, rows in house.rows(query("old_days").format(table=counted), {"before": before}):
        if done and done + rows > limit:
            return done
        for table in reversed(tables):
            statement = f"alter table {table}{house.on_cluster} drop partition $day"
            house.run(statement, {"day": day})
        done += rows
    if done >= limit:
        return done
    asked = {"before": before, "limit": limit - done}
    old = [record_id for (record_id,) in house.rows(query(f"old_{counted}"), asked)]
    for start in range(0, len(old), IDS_AT_ONCE):
        some = {"ids": old[start : start + IDS_AT_ONCE]}
        for table in reversed(tables):
            column = "record_id" if table == "scores" else "id"
            house.run(f"delete from {table}{house.on_cluster} where {column} in $ids", some)  # noqa: S608 - as above
    return done + len(old)
