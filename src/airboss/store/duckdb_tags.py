"""Sums by the day and tags that the record log's DuckDB file keeps (`tag_sums`).

A tag with very many values, such as a request's id, would make sums as many as records: in a stretch of
records with more than OBJECTS_MAX objects of tags it is left out of them if it has more than VALUES_MAX, and
noted in `untold_tags`; questions of it read the records of these days. So do all by tag where a stretch would
have more than ROWS_MAX sums (of a short one as much less).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from airboss.store.duckdb_bins import numbers
from airboss.store.duckdb_run import ENGINE, Connection, query, reach, run
from airboss.store.rollups import DAY_S, Question, inside
from airboss.store.rows import naive

TABLE: Final = "tag_sums"
VALUES_MAX: Final = 1_000
NAMES_MAX: Final = 64
OBJECTS_MAX: Final = 4_096
"""Different objects of tags in a stretch."""
ROWS_MAX: Final = 65_536
APART: Final = (
    "deployment", "release", "arm", "model", "provider", '"key"', "operation", "status", "error_type",
    "finish_reason", "tags",
)  # fmt: skip
_STRETCH: Final = "select * from records where seq >= $first and seq < $last"
_TOLD: Final = (
    "to_json(map_from_entries(list_filter(map_entries(tags::json::map(varchar, varchar)),"
    " lambda tag: not list_contains($untold::varchar[], tag.key))))::varchar"
)
"""A record's tags without some."""
_BLANK: Final = "* replace ('{}' as tags, null::varchar as \"user\", null::varchar as session)"


def begin_anew(connection: Connection) -> None:
    """Forget sums that another DuckDB made, whose hashes of people may differ."""
    connection.begin()
    if run(connection, "select engine from hashed_by") != [(ENGINE,)]:
        run(connection, f"delete from {TABLE}")  # noqa: S608 - a name of ours
        run(connection, "delete from untold_tags")
        run(connection, "update summed_people set seq = 0 where name = ?", [TABLE])
        run(connection, "update hashed_by set engine = ?", [ENGINE])
    connection.commit()


def make(connection: Connection, table: str, first: int, last: int, *, share: float) -> list[str | None]:
    """Make the sums of a stretch of records in a table of this connection's own; returns the tags that have
    too many values to be in them, and None where there are no sums. `share` is how much of the longest
    stretch it is, 0 to 1."""
    given: dict[str, Any] = {"first": first, "last": last}
    untold = _too_many(connection, given)
    records, given = _told(untold, given)
    if None in untold or _counted(connection, f"{_KEYS} from ({records})", given) > ROWS_MAX * share:
        untold = [None]
        records, given = f"{_STRETCH} and false", {"first": first, "last": last}
    run(connection, f"create temp table {table} as {_summed(records)}", given)
    return untold


def note(connection: Connection, first: int, last: int, untold: Sequence[str | None]) -> None:
    """Note which tags are not in the sums of a stretch, within the transaction that takes these in."""
    if untold:
        given = {"first": first, "last": last}
        ((since, until),) = run(connection, query("days_of"), given)
        text = "insert into untold_tags select unnest($untold::varchar[]), $first, $last, $since, $until"
        run(connection, text, given | {"untold": list(untold), "since": since, "until": until})


def blank(connection: Connection, seqs: Sequence[int]) -> None:
    """Take these records' people and tags out of the sums, within a transaction and before they are blanked:
    what the records did stays, as nobody's and without tags."""
    if not seqs:
        return
    summed, _ = reach(connection, TABLE)
    given = {"seqs": list(seqs), "summed": summed}
    every = "select * from records where seq < $summed"
    # Nearly always all tags are told, and looking for those that are not costs more than all else.
    ((untold,),) = run(connection, "select count(*) from untold_tags")
    tagged = query("tagged") if untold else "{records}"
    gone = tagged.format(records=query("gone_tags"))
    others = query("other_tags").format(
        summed=tagged.format(records=every),
        apart=", ".join(APART),
        gone=gone,
        same=_same("sums"),
    )
    text = query("leave_tags").format(apart=", ".join(APART), gone=gone, same=_same("sums"))
    run(connection, text, given)
    run(connection, f"insert into {TABLE} {_summed(others)}", given)
    nobody = _summed(f"select {_BLANK} from ({gone})")  # noqa: S608 - of ours
    run(connection, f"insert into {TABLE} {nobody}", given)


def expire(connection: Connection, since: datetime) -> None:
    """Delete the sums of days before this one, within a transaction."""
    run(connection, f"delete from {TABLE} where start < ?", [since])  # noqa: S608 - a name of ours
    run(connection, "delete from untold_tags where until < ?", [since])


def told(connection: Connection, asked: Question) -> tuple[dict[str, Any], bool] | None:
    """Which days' sums a question takes, and whether all tags are in them; None where they do not tell it."""
    if not asked.by_the_day:
        return None
    summed, since = reach(connection, TABLE)
    days, days_end = (naive(each) for each in inside(asked.since, asked.until, DAY_S))
    if since is not None:
        days = min(max(days, since), days_end)
    given = {"minutes": days, "minutes_end": days_end}
    ((some, these),) = run(connection, query("untold"), {**given, "tags": sorted(asked.tags)})
    if these or not summed or days == days_end:
        return None
    return {**given, "rolled": summed}, not some


def _too_many(connection: Connection, given: dict[str, Any]) -> list[str | None]:
    """The tags that have too many values in these records; None where there are too many tags."""
    if _counted(connection, f"tags from ({_STRETCH})", given) <= OBJECTS_MAX:
        return []
    values = run(connection, query("tag_values"), given)
    if len(values) > NAMES_MAX:
        return [None]
    untold: list[str | None] = [name for name, count in values if count > VALUES_MAX]
    records, more = _told(untold, given)
    if _counted(connection, f"tags from ({records})", more) <= OBJECTS_MAX:
        return untold
    told = 1  # at most so many objects have the tags with the fewest values
    for name, count in values:
        told *= count + 1
        if told > OBJECTS_MAX and name not in untold:
            untold.append(name)
    return untold


def _told(untold: Sequence[str | None], given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The records of a stretch with those of their tags that are told, and what that is given."""
    if not untold:
        return _STRETCH, given
    records = f"select * replace ({_TOLD} as tags) from ({_STRETCH})"  # noqa: S608 - of ours
    return records, given | {"untold": list(untold)}


_KEYS: Final = f"date_trunc('day', started_at), {', '.join(APART)}"


def _counted(connection: Connection, columns: str, given: dict[str, Any]) -> int:
    """How many different ones there are."""
    ((found,),) = run(connection, f"select count(*) from (select distinct {columns})", given)  # noqa: S608 - of ours
    return int(found)


def _summed(records: str) -> str:
    same = {
        f"same_{table}": " and ".join(
            f"{table}.{each} is not distinct from numbers.{each}" for each in ("start", *APART)
        )
        for table in ("users", "sessions")
    }
    return query("sum_tags").format(records=records, numbers=numbers(), apart=", ".join(APART), **same)


def _same(table: str) -> str:
    return " and ".join(f"{table}.{each} is not distinct from gone.{each}" for each in APART)
