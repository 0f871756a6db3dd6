"""How records are looked for and read in the record log's DuckDB file. Each function works within the
transaction of its caller."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from time import monotonic
from typing import Any, Final, TypeVar

import msgspec

from airboss.config.tags import read_tag
from airboss.domain.ports import RecordFilter, UsageQuery
from airboss.domain.record import InferenceRecord
from airboss.domain.score import read_condition
from airboss.domain.usage import RecordSort
from airboss.store import duckdb_scores
from airboss.store.duckdb_run import Connection, query, run
from airboss.store.filters import CONDITIONS, ORDERS, found_kind
from airboss.store.rollups import Question
from airboss.store.rows import COLUMNS, from_row, naive, whole
from airboss.store.usage import pointer

GROUP_PARTS_MAX: Final = 2048
"""Bodies are handled so many parts at a time (16 MB of ASCII)."""
LIST_PARTS_MAX: Final = 8192
"""A list with bodies ends early once it would hold more parts; it holds at least one record."""
LIST_S: Final = 4.0
"""So does one that has been read for so long: who asked waits for 20 s."""
_CONDITIONS: Final = {
    **CONDITIONS,
    # The range skips almost all row groups.
    "ids": "id between list_min($ids::varchar[]) and list_max($ids::varchar[])"
    " and id in (select unnest($ids::varchar[]))",
    "text": 'contains(lower(concat_ws(chr(10), id, "user", session, error_type)), lower($text))',
}
_ORDERS: Final[dict[RecordSort | None, str]] = {
    **ORDERS,
    "shuffled": "md5('{seed:d}:' || id)",
}

K = TypeVar("K")


def offset(connection: Connection, segment: str) -> int:
    """How much of a segment has been taken."""
    rows = run(connection, "select taken from offsets where segment = ?", [segment])
    return int(rows[0][0]) if rows else 0


def grouped(parts: Iterable[tuple[K, int]], most: int | None = None) -> Iterator[list[K]]:
    """The keys, in groups that have at most `most` parts together, GROUP_PARTS_MAX where it is None, or are
    of one key."""
    group: list[K] = []
    total, most = 0, GROUP_PARTS_MAX if most is None else most
    for key, count in parts:
        if group and total + count > most:
            yield group
            group, total = [], 0
        group.append(key)
        total += count
    if group:
        yield group


def waiting(connection: Connection, ids: Collection[str]) -> Iterator[list[str]]:
    """Those of these calls whose open frames wait, as many at a time as are read at once."""
    return grouped(run(connection, query("opened_parts"), {"ids": list(ids)}) if ids else ())


def opened(connection: Connection, ids: list[str]) -> dict[str, bytes]:
    """The open frames waiting of these calls, by id."""
    rows = sorted(run(connection, query("opened"), {"ids": ids}))
    return {
        record_id: "".join(text for _, _, text in parts).encode()
        for record_id, parts in groupby(rows, key=itemgetter(0))
    }


def of_seqs(connection: Connection, seqs: Sequence[int], *, bodies: bool) -> list[InferenceRecord]:
    """The records of these numbers, in that order."""
    if not seqs:
        return []
    columns = ", ".join(f'"{name}"' for name in ("seq", *COLUMNS))
    conditions = "seq between $first and $last and seq in (select unnest($seqs::bigint[]))"
    text = query("list").format(columns=columns, where=conditions, order="seq desc")
    rows = run(connection, text, {**_these(seqs), "limit": len(seqs)})
    found = with_bodies(connection, rows) if bodies else [from_row(row, None, None) for row in rows]
    return with_scores(connection, found)


def id_from(connection: Connection, seq: int | None) -> str | None:
    """The id of the first record from this number on."""
    if seq is None:
        return None
    text = "select id from records where seq >= $seq and seq < $seq + 100000 order by seq limit 1"
    found = run(connection, text, {"seq": seq})
    return found[0][0] if found else None


def with_bodies(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> list[InferenceRecord]:
    """Records with their bodies, fetched piece by piece until there are enough bytes of them."""
    by_seq = {row[0]: row for row in rows}
    records: list[InferenceRecord] = []
    parts = dict(run(connection, query("body_parts"), _these(by_seq))) if rows else {}
    total, deadline = 0, monotonic() + LIST_S
    for seqs in grouped((seq, parts.get(seq, 0)) for seq in by_seq):
        total += sum(parts.get(seq, 0) for seq in seqs)
        if records and (total > LIST_PARTS_MAX or monotonic() > deadline):
            break
        texts = bodies_of(connection, seqs)
        records += [from_row(by_seq[seq], *texts.get(seq, (None, None))) for seq in seqs]
    return records


def with_scores(connection: Connection, records: Sequence[InferenceRecord]) -> list[InferenceRecord]:
    """Records with what they show of their scores."""
    found = duckdb_scores.shown(connection, {record.id for record in records})
    return [
        msgspec.structs.replace(record, scores=found[record.id]) if record.id in found else record
        for record in records
    ]


def bodies_of(connection: Connection, seqs: Collection[int]) -> dict[int, tuple[str | None, str | None]]:
    """The request and response of those of these records that have one."""
    rows = sorted(run(connection, query("bodies"), _these(seqs)), key=itemgetter(0, 1))
    found = {}
    for seq, parts in groupby(rows, key=itemgetter(0)):
        _, _, requests, responses = zip(*parts, strict=True)
        found[seq] = (whole(requests), whole(responses))
    return found


def _these(seqs: Collection[int]) -> dict[str, Any]:
    return {"first": min(seqs), "last": max(seqs), "seqs": list(seqs)}


def conditions(where: RecordFilter) -> tuple[str, dict[str, Any]]:
    """The condition that a filter is, paging aside, and its parameters."""
    given = {name: getattr(where, name) for name in _CONDITIONS}
    asked = {name: value for name, value in given.items() if value is not None}
    conditions = [_CONDITIONS[name] for name in asked]
    if where.tag is not None:
        name, value = read_tag(where.tag)
        conditions.append("json_extract_string(tags, $tag_at) = $tag_value")
        asked |= {"tag_at": pointer(name), "tag_value": value}
    if where.policy is not None:
        conditions.append("contains(policy, $found_kind)")
        asked["found_kind"] = found_kind(where.policy)
    if where.score is not None:
        text, more = duckdb_scores.condition(read_condition(where.score))
        conditions.append(text)
        asked |= more
    return " and ".join(conditions) or "true", {
        key: naive(each) if isinstance(each, datetime) else each for key, each in asked.items()
    }


def beyond(asked: UsageQuery | Question, *, ok: str = "status = 'ok'") -> dict[str, str]:
    """How answers beyond a question's bounds are counted; without a bound not at all."""
    bounds = {
        "slow": ("latency_ms", "slow_ms", asked.slow_ms),
        "late": ("ttft_ms", "late_ms", asked.late_ms),
        "costly": ("cost_usd", "costly_usd", asked.costly_usd),
    }
    return {
        name: "0" if value is None else f"count(*) filter ({ok} and {column} > ${bound})"
        for name, (column, bound, value) in bounds.items()
    }


def order(where: RecordFilter) -> str:
    """How a list of records is ordered that does not follow arrivals."""
    return _ORDERS[where.sort].format(seed=where.seed or 0)


def anchors(connection: Connection, where: RecordFilter) -> dict[str, Any] | None:
    """Where the records stand that `before` and `after` name; None if one of them is not there."""
    anchors: dict[str, Any] = {}
    for name, record_id in (("before", where.before), ("after", where.after)):
        if record_id is None:
            continue
        if name == "after" and not record_id:
            anchors["after_seq"] = 0
            continue
        found = run(connection, "select started_at, seq from records where id = ?", [record_id])
        if not found:
            return None
        if name == "before":
            anchors.update(before_at=found[0][0], before_id=record_id)
        else:
            anchors["after_seq"] = found[0][1]
    return anchors


def dicts(found: Connection) -> list[dict[str, Any]]:
    """The rows of an answer by the names of their columns."""
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
