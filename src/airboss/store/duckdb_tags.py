"""Sums by the day and tags that the record log's DuckDB file keeps (`tag_sums`).

Tags that are left out of a stretch of records (`tagging`) are noted in `untold_tags`; questions of them read
the records of these days. So do all by tag where a stretch has no sums (it may have as much fewer as it is
shorter than the longest).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from airboss.store import tagging
from airboss.store.duckdb_bins import numbers
from airboss.store.duckdb_run import ENGINE, Connection, query, reach, run
from airboss.store.rollups import DAY_S, Question, inside
from airboss.store.rows import naive
from airboss.store.tagging import APART, TABLE

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

    def objects(without: Sequence[str]) -> int:
        told, more = _told(without, given)
        return _counted(connection, f"tags from ({told})", more)

    out = tagging.left_out(objects, lambda: run(connection, query("tag_values"), given))
    untold: list[str | None] = [None] if out is None else [*out]
    records, more = _told(untold, given)
    keys = f"{_KEYS} from ({records})"
    if out is None or _counted(connection, keys, more) > tagging.ROWS_MAX * share:
        untold = [None]
        records, more = f"{_STRETCH} and false", given
    run(connection, f"create temp table {table} as {_summed(records)}", more)
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
