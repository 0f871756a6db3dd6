"""Sums by the day that the record log's DuckDB file keeps: of people (`duckdb_people`) and of tags
(`duckdb_tags`).

Records are summed up a long stretch at a time, by their `seq`: first beside the file, while records come in;
then what was made is taken in, in one transaction with how far it goes. Nobody may blank or delete records
meanwhile, or it is made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from airboss.store import duckdb_people, duckdb_tags, tagging
from airboss.store.duckdb_run import Connection, query, reach, run
from airboss.store.rows import naive

STRETCH: Final = 524_288
"""So many records are summed up together at most."""
LEAST: Final = 65_536
"""And so many at least, where the day that they came to is over: a person's calls are as few rows as may be
so, and those in no sum yet little more than the calls of the day that goes on."""
MADE: Final = "made_sums"


class Made(msgspec.Struct, frozen=True):
    """Sums of a stretch for one table, which lie in a table of their connection's own."""

    table: str
    first: int
    last: int
    untold: tuple[str | None, ...] = ()


def make(connection: Connection, *, next_seq: int) -> Made | None:
    """Sum up the next stretch for one table, outside of any transaction, if it is whole."""
    ends: dict[int, int | None] = {}  # as a rule all go as far
    for table in (*(sums.table for sums in duckdb_people.TABLES), tagging.TABLE):
        first, _ = reach(connection, table)
        if first not in ends:
            ends[first] = _end(connection, first, next_seq)
        last = ends[first]
        if last is None:
            continue
        run(connection, f"drop table if exists temp.{MADE}")
        if table == tagging.TABLE:
            untold = duckdb_tags.make(connection, MADE, first, last, share=(last - first) / STRETCH)
            return Made(table, first, last, tuple(untold))
        (sums,) = (each for each in duckdb_people.TABLES if each.table == table)
        duckdb_people.make(connection, sums, MADE, first, last)
        return Made(table, first, last)
    return None


def _end(connection: Connection, first: int, next_seq: int) -> int | None:
    """Where the stretch ends that begins with this record; None while it is not whole."""
    least = first + min(LEAST, STRETCH)
    if least > next_seq:
        return None
    asked = {"first": first, "least": least}
    ((day_end,),) = run(connection, query("day_end"), asked)
    if day_end is not None:
        asked = {"least": least, "most": first + STRETCH, "day_end": day_end}
        ((end,),) = run(connection, query("first_of_next_day"), asked)
        if end is not None:
            return int(end)
    return first + STRETCH if first + STRETCH <= next_seq else None


def take_in(connection: Connection, made: Made) -> None:
    """Begin a transaction with what was made. Nobody sees it, nor waits for it, until it is kept."""
    connection.begin()
    run(connection, f"insert into {made.table} from temp.{MADE}")
    duckdb_tags.note(connection, made.first, made.last, made.untold)


def keep(connection: Connection, made: Made) -> None:
    """End that transaction, with how far the sums go. The caller lets nobody write meanwhile."""
    asked = {"seq": made.last, "name": made.table}
    run(connection, "update summed_people set seq = $seq where name = $name", asked)
    connection.commit()


def blank(connection: Connection, seqs: Sequence[int]) -> None:
    """Take these records' people out of the sums, within a transaction and before they are blanked."""
    duckdb_people.blank(connection, seqs)
    duckdb_tags.blank(connection, seqs)


def expire(connection: Connection, before: datetime) -> None:
    """Delete the sums of days that began by then, within a transaction: what is left of the last of them is
    read from its records."""
    midnight = naive(before).replace(hour=0, minute=0, second=0, microsecond=0)
    since = midnight if midnight == naive(before) else midnight + timedelta(days=1)
    duckdb_people.expire(connection, since)
    duckdb_tags.expire(connection, since)
    text = "update summed_people set since = greatest(coalesce(since, $since), $since)"
    run(connection, text, {"since": since})
