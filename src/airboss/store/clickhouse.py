"""The record log on a ClickHouse server or cluster.

There are no transactions, so a move is made of steps, each of which may be repeated:

1. A row of `offsets` says that the move, from the offset held to this end, is begun.
2. Bodies, then records, then what waits: each an insert with a token that follows from the move. The server
   knows the tokens of the last 10,000 inserts into a table and leaves out one that it has taken, day by day.
3. A row of `offsets` says that the move is done.

Killed in between, `begun` tells the mover where the move ended; made again with just those frames it has the
same tokens. Records get sequence numbers as they go in, beyond all that are there, also when they are made
again: who follows them has passed what others brought meanwhile. One mover writes, as everywhere; anybody may
read, and sees records whose move is under way too.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from airboss.config.clickhouse import read_url
from airboss.config.tags import read_tag
from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import (
    DeploymentStats,
    Erased,
    JournalMove,
    RecordFilter,
    ReleaseBucket,
    ScoreStats,
    Spent,
    StatsBucket,
    UsageQuery,
    WatchedCall,
)
from airboss.domain.record import ClosedCall, Found, InferenceRecord, OpenedCall
from airboss.domain.score import Score, read_condition
from airboss.domain.usage import RecordSort, UsageRow
from airboss.store import (
    clickhouse_bodies,
    clickhouse_erase,
    clickhouse_rollups,
    clickhouse_scores,
    clickhouse_search,
    clickhouse_spans,
    clickhouse_tags,
    clickhouse_usage,
    clickhouse_watch,
)
from airboss.store.clickhouse_http import ClickHouse, moment, query
from airboss.store.clickhouse_rows import (
    PENDING_COLUMNS,
    RECORD_COLUMNS,
    record_of,
    row_of,
    started,
)
from airboss.store.clickhouse_schema import migrate
from airboss.store.filters import CONDITIONS, ORDERS, found_kind
from airboss.store.joining import (
    ORPHANS_MAX,
    StoredRecord,
    calls_within,
    gateway_span,
    join,
    read_closed,
    read_opened,
    read_record,
    read_span,
)
from airboss.store.rows import COLUMNS, open_rows, watched
from airboss.store.searching import read_search
from airboss.store.span_rows import Span
from airboss.store.usage import narrowed

LIST_BYTES_MAX: Final = 64 * 1024 * 1024
"""A list with bodies ends early once it would hold more; it holds at least one record."""
FAR: Final = datetime(2200, 1, 1, tzinfo=UTC)
ROOM_AT_ONCE: Final = 4_096
BYTES_TAKEN: Final = (
    "select sum(bytes_on_disk) from system.parts"
    " where database = currentDatabase() and table = 'bodies' and active"
)
TIDY_EVERY: Final = 256
"""After so many moves, rows that newer ones have replaced are deleted."""
OFFSET_COLUMNS: Final = ("segment", "version", "taken", "begun", "gone")
_CONDITIONS: Final = {
    **CONDITIONS,
    "text": (
        "position(lowerUTF8(concat(id, '\\n', ifNull(\"user\", ''), '\\n', ifNull(session, ''), '\\n',"
        " ifNull(error_type, ''))), lowerUTF8($text)) > 0"
    ),
}
_ORDERS: Final[dict[RecordSort | None, str]] = {
    **ORDERS,
    "shuffled": "MD5(concat('{seed:d}:', id))",
}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """How far a segment has been taken; `begun` is the end of a move that may be half made."""

    taken: int = 0
    begun: int = 0
    version: int = 0


class ClickHouseRecordLog(clickhouse_spans.ClickHouseSpans):
    """Implements `TracedLog`. Safe to call from several threads, one of which makes moves.

    `url` is as in `read_url`. Raises StoreUnavailable where no ClickHouse answers there; the
    schema is then brought forward by the first call that finds one."""

    def __init__(self, url: str) -> None:
        self._house = ClickHouse(read_url(url))
        self._writing, self._beginning, self._scoring = (threading.Lock() for _ in range(3))
        self._tag_sums = clickhouse_tags.TagSums(self._house, clickhouse_rollups.numbers())
        self._ready = False
        self._next_seq = 0
        self._moves = 0

    def offset(self, segment: str) -> int:
        """As `RecordLog.offset`."""
        return self._place(segment).taken

    def begun(self, segment: str) -> int | None:
        """As `RecordLog.begun`."""
        return self._place(segment).begun or None

    def apply(self, move: JournalMove) -> int:
        """As `RecordLog.apply`, in steps."""
        with self._writing:
            place = self._place(move.segment)
            if place.taken != move.start:
                return place.taken
            if place.begun and place.begun != move.end:
                raise StoreUnavailable(f"{move.segment} has a move begun to {place.begun}, which comes first")
            calls, late = calls_within(move), self._late(move)
            records = [*map(read_record, move.records), *(join(*call) for call in (*calls, *late))]
            spans = [read_span(each) for each in move.spans]
            spans += [span for call in (*calls, *late) if (span := gateway_span(*call)) is not None]
            self._take(move, place, records, spans, ended=bool(late))
            self._moves += 1
        return move.end

    def _late(self, move: JournalMove) -> list[tuple[OpenedCall, ClosedCall]]:
        """The calls that a move closes and an earlier one opened."""
        closed = list(move.closed.keys() - move.opened.keys())
        waiting = self._rows("opened", {"ids": closed}) if closed else []
        return [(read_opened(text.encode()), read_closed(move.closed[each])) for each, text in waiting]

    def _take(
        self,
        move: JournalMove,
        place: Place,
        records: list[StoredRecord],
        spans: list[Span],
        *,
        ended: bool,
    ) -> None:
        """Insert what a move gave, and say that it is done. Raises ValueError before anything is inserted."""
        token = f"{move.segment}:{move.start}:{move.end}"
        if move.start == move.end:  # it moves no byte, so its calls are what it is known by
            token += f":{zlib.crc32(' '.join(sorted(move.closed)).encode())}"
        number = zlib.crc32(token.encode()) << 32 | zlib.crc32(token[::-1].encode())
        new = self._unknown({record.id: record for record in records}, number)
        rows = [row_of(seq, record, number) for seq, record in enumerate(new, start=self._next_seq)]
        bodies = clickhouse_bodies.bodies_of(new)
        pending = [
            (each, move.segment, _checked(move.segment, text), 0)
            for each, text in move.opened.items()
            if each not in move.closed
        ]
        over = [(each, move.segment, "", 1) for each in move.closed if each not in move.opened]
        scores = clickhouse_scores.read(move.scores)
        moving = move.start != move.end
        if moving and not place.begun:
            self._say(move.segment, place, taken=move.start, begun=move.end)
        self._next_seq += len(rows)
        insert = self._house.insert
        clickhouse_bodies.put(self._house, bodies, token, again=bool(place.begun))
        insert("records", RECORD_COLUMNS, rows, token)
        insert("pending", PENDING_COLUMNS, pending, token)
        moved_at = move.moved_at or datetime.now(UTC)
        clickhouse_spans.take(self._house, spans, moved_at, token, number)
        if scores:
            clickhouse_scores.take(self._house, scores, moved_at, token)
        if new:
            clickhouse_scores.attach(self._house, {record.id for record in records})
        if ended:
            insert("pending", PENDING_COLUMNS, over, f"{token}:ended")
        if moving:
            self._say(move.segment, place, taken=move.end, begun=0)

    def _make(self, payloads: Sequence[bytes], token: str) -> None:
        """Store records that came by no move of their own, under a token. The caller holds `_writing`."""
        records = {record.id: record for record in map(read_record, payloads)}
        number = zlib.crc32(token.encode()) << 32 | zlib.crc32(token[::-1].encode())
        new = self._unknown(records, number)
        rows = [row_of(seq, record, number) for seq, record in enumerate(new, start=self._next_seq)]
        self._next_seq += len(rows)
        clickhouse_bodies.put(self._house, clickhouse_bodies.bodies_of(new), token)
        self._house.insert("records", RECORD_COLUMNS, rows, token)
        clickhouse_scores.attach(self._house, {record.id for record in new})

    def _unknown(self, records: dict[str, StoredRecord], move: int) -> list[StoredRecord]:
        """Those that no other move has brought, in the order given."""
        if records:
            asked = {"first": min(records), "last": max(records), "ids": list(records), "move": move}
            for (known,) in self._rows("known", asked):
                records.pop(known, None)
        return list(records.values())

    def _say(self, segment: str, place: Place, *, taken: int, begun: int) -> None:
        version = place.version + (1 if begun else 2)
        row = (segment, version, taken, begun, 0)
        self._house.insert("offsets", OFFSET_COLUMNS, [row], f"{segment}:{version}")

    def _place(self, segment: str) -> Place:
        found = self._rows("offset", {"segment": segment})
        if not found:
            return Place()
        taken, begun, gone, version = found[0]
        return Place(version=version) if gone else Place(taken=taken, begun=begun, version=version)

    def _drop_replaced(self, *, hard: bool = False) -> None:
        """Delete what newer rows have replaced; `hard`: with the parts that held it written anew."""
        keys = {"pending": "id", "waiting_scores": "id", "waiting_calls": "id", "settlements": "token"}
        for table, key in keys.items():
            done = f"select {key} from {table} where done = 1"  # noqa: S608 - names of ours
            self._house.run(f"delete from {table} where {key} in ({done})")  # noqa: S608 - as above
            if hard:
                self._house.run(f"alter table {table}{self._house.on_cluster} apply deleted mask", hard=True)
        gone = "select segment from offsets where gone = 1"
        self._house.run(f"delete from offsets where segment in ({gone})")  # noqa: S608 - as above

    def orphans(self, segment_prefix: str) -> dict[str, bytes]:
        """As `RecordLog.orphans`: the first 1,000 by id."""
        found = self._rows("orphans", {"prefix": segment_prefix, "limit": ORPHANS_MAX})
        return {record_id: text.encode() for record_id, text in found}

    def forget(self, segment: str) -> None:
        """As `RecordLog.forget`."""
        with self._writing:
            place = self._place(segment)
            if place.version and (place.taken or place.begun):
                row = (segment, place.version + 1, 0, 0, 1)
                self._house.insert("offsets", OFFSET_COLUMNS, [row], f"{segment}:{place.version + 1}")

    def records(self, where: RecordFilter, *, limit: int, bodies: bool) -> Sequence[InferenceRecord]:
        """As `RecordLog.records`; a list with bodies may end early, once it holds 64 MB of them."""
        conditions, asked = _conditions(where)
        order = _ORDERS[where.sort].format(seed=where.seed or 0)
        if where.before is not None or where.after is not None:
            anchors = self._anchors(where)
            if anchors is None:
                return []
            asked.update(anchors)
        if where.before is not None:
            conditions += " and started_at <= $before_at and (started_at < $before_at or id < $before_id)"
        if where.after is not None:
            conditions += " and seq > $after_seq"
            order = "seq"
        return self._listed(conditions, {**asked, "limit": limit}, order, bodies=bodies)

    def _listed(
        self, conditions: str, asked: Mapping[str, Any], order: str, *, bodies: bool
    ) -> list[InferenceRecord]:
        """Records with what they show of their scores."""
        columns = ", ".join(f'"{name}"' for name in ("seq", *COLUMNS))
        rows = self._ask(query("list").format(columns=columns, where=conditions, order=order), asked)
        found = self._with_bodies(rows) if bodies else [record_of(row, (None, None)) for row in rows]
        shown = clickhouse_scores.shown(self._house, {record.id for record in found})
        return [
            msgspec.structs.replace(record, scores=shown[record.id]) if record.id in shown else record
            for record in found
        ]

    def _with_bodies(self, rows: list[list[Any]]) -> list[InferenceRecord]:
        """Records with their bodies, as many as fit."""
        if not rows:
            return []
        ids, times = [row[1] for row in rows], [started(row) for row in rows]
        asked = {"since": min(times), "until": max(times), "first": min(ids), "last": max(ids), "ids": ids}
        sizes = dict(self._rows("body_sizes", asked))
        total, fitting = 0, 0
        for record_id in ids:
            total += sizes.get(record_id, 0)
            if total > LIST_BYTES_MAX and fitting:
                break
            fitting += 1
        found = self._rows("bodies", {**asked, "ids": ids[:fitting]})
        texts = {each: (request or None, response or None) for each, request, response in found}
        return [record_of(row, texts.get(row[1], (None, None))) for row in rows[:fitting]]

    def _anchors(self, where: RecordFilter) -> dict[str, Any] | None:
        """Where the records stand that `before` and `after` name; None if one of them is not there."""
        anchors: dict[str, Any] = {}
        for name, record_id in (("before", where.before), ("after", where.after)):
            if record_id is None:
                continue
            if name == "after" and not record_id:
                anchors["after_seq"] = -1
                continue
            found = self._ask("select started_at, seq from records where id = $id", {"id": record_id})
            if not found:
                return None
            if name == "before":
                anchors.update(before_at=moment(found[0][0]), before_id=record_id)
            else:
                anchors["after_seq"] = found[0][1]
        return anchors

    def search(self, where: RecordFilter, words: str, *, limit: int, bodies: bool) -> Found:
        """As `RecordLog.search`."""
        search_for = read_search(words)
        conditions, asked = _conditions(where)
        self._begin()
        below = 2**63 - 1
        if where.before is not None:
            found = self._ask("select seq from records where id = $id", {"id": where.before})
            below = found[0][0] if found else 0
        ids, oldest = clickhouse_search.search(
            self._house, conditions, asked, search_for, below=below, limit=limit
        )
        records: list[InferenceRecord] = []
        if ids:
            these = {"first": min(ids), "last": max(ids), "ids": ids, "limit": len(ids)}
            named = "id between $first and $last and id in $ids"
            records = self._listed(named, these, "seq desc", bodies=bodies)
        looked_to = None
        if len(records) < len(ids):  # with bodies they may not all fit in memory
            looked_to = records[-1].id
        elif oldest is not None:
            first = self._ask(
                "select id from records where seq >= $seq order by seq limit 1", {"seq": oldest}
            )
            looked_to = first[0][0] if first else None
        return Found(records=tuple(records), looked_to=looked_to)

    def count(self, where: RecordFilter) -> int:
        """As `RecordLog.count`."""
        conditions, asked = _conditions(where)
        ((found,),) = self._ask(query("count").format(where=conditions), asked)
        return int(found)

    def stats(
        self, since: datetime, until: datetime, *, without_key: str | None = None
    ) -> Sequence[DeploymentStats]:
        """As `RecordLog.stats`; quantiles of many calls are within 2 %."""
        return clickhouse_watch.stats(self._ask, since, until, without_key)

    def series(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[StatsBucket]:
        """As `RecordLog.series`; quantiles of many calls are within 2 %."""
        return clickhouse_watch.series(self._ask, since, until, step_s)

    def traffic(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[ReleaseBucket]:
        """As `RecordLog.traffic`."""
        return clickhouse_watch.traffic(self._ask, since, until, step_s)

    def usage(self, asked: UsageQuery) -> Sequence[UsageRow]:
        """As `RecordLog.usage`; quantiles of many calls are within 2 %."""
        return clickhouse_usage.usage(self._ask, asked, *_conditions(narrowed(asked.where)))

    def spent(self, since: datetime, *, each_user: Collection[str] = ()) -> Sequence[Spent]:
        """As `RecordLog.spent`."""
        asked = {"since": since, "each_user": list(each_user)}
        return [clickhouse_watch.spent(row) for row in self._rows("spent", asked)]

    def watched(
        self, deployment: str, *, after: str, until: str, without_key: str, limit: int
    ) -> Sequence[WatchedCall]:
        """As `RecordLog.watched`."""
        asked = {"deployment": deployment, "after": after, "until": until, "without_key": without_key}
        closed = self._rows("watched", {**asked, "limit": limit})
        still_open = self._rows("watched_open", {"after": after, "until": until})
        scores = clickhouse_scores.shown(self._house, {row[0] for row in closed})
        calls = watched(closed, scores, moment)
        calls += clickhouse_watch.still_open(still_open, deployment, without_key)
        return sorted(calls, key=lambda call: call.id)[:limit]

    def put_scores(self, scores: Sequence[Score]) -> int:
        """As `RecordLog.put_scores`."""
        self._begin()
        with self._scoring:  # of who was killed meanwhile and begins again the first are still under way
            return clickhouse_scores.put(self._house, scores)

    def scores_of(self, record_ids: Collection[str]) -> Sequence[Score]:
        """As `RecordLog.scores_of`."""
        self._begin()
        return clickhouse_scores.of_records(self._house, record_ids)

    def score_stats(
        self, since: datetime, until: datetime, *, by_score_time: bool = False,
        without_key: str | None = None, where: RecordFilter | None = None,
    ) -> Sequence[ScoreStats]:  # fmt: skip
        """As `RecordLog.score_stats`."""
        conditions, given = _conditions(narrowed(where)) if where is not None else ("true", {})
        asked = {"since": since, "until": until, "without": without_key, **given}
        return clickhouse_scores.stats(self._ask, asked, conditions, by_score_time=by_score_time)

    def stray_scores(self, before: datetime, *, limit: int) -> Sequence[Score]:
        """As `RecordLog.stray_scores`."""
        found = self._rows("stray_scores", {"before": before, "limit": limit})
        return [msgspec.json.decode(text, type=Score) for (text,) in found]

    def drop_scores(self, score_ids: Collection[str]) -> None:
        """As `RecordLog.drop_scores`."""
        self._begin()
        clickhouse_scores.drop(self._house, score_ids)

    def erase(self, users: Mapping[str, datetime]) -> Mapping[str, Erased]:
        """As `RecordLog.erase`: rows are gone at once and the parts that held them written anew; ClickHouse
        deletes the old parts by itself within minutes."""
        self._begin()
        with self._tag_sums.still, self._writing:
            found = {
                user: clickhouse_erase.blank(self._house, user, before) for user, before in users.items()
            }
            self._drop_replaced(hard=True)  # they say what was asked, and by whom
            return found

    def expire(self, *, bodies_before: datetime | None, records_before: datetime | None, limit: int) -> int:
        """As `RecordLog.expire`; what is a whole day goes as one, by its partition."""
        self._begin()
        with self._tag_sums.still, self._writing:
            if records_before is not None:
                self._tag_sums.expire(records_before)
            return clickhouse_erase.expire(
                self._house, bodies_before=bodies_before, records_before=records_before, limit=limit
            )

    def make_room(self, bytes_max: int) -> int:
        """As `RecordLog.make_room`, of the bodies' parts, by whole days; of the only day, some thousand."""
        ((taken,),) = self._ask(BYTES_TAKEN, {})
        if taken <= bytes_max:
            return 0
        return self.expire(bodies_before=FAR, records_before=None, limit=ROOM_AT_ONCE)

    def tidy(self) -> bool:
        """As `RecordLog.tidy`: after many moves, rows that newer ones have replaced are deleted; a day's tags
        are summed up beside moves. Nothing before anybody has asked something."""
        if not self._ready:
            return False
        with self._writing:
            if self._moves >= TIDY_EVERY:
                self._moves = 0
                self._drop_replaced()
        return self._tag_sums.make()

    def close(self) -> None:
        """As `RecordLog.close`."""
        self._house.close()

    def _begin(self) -> None:
        """Have the schema there, once: threads that ask first together would drop what another one makes."""
        with self._beginning:
            if not self._ready:
                migrate(self._house)
                ((last,),) = self._house.rows("select max(seq) from records")
                self._next_seq = max(self._next_seq, last + 1)
                self._ready = True

    def _rows(self, name: str, asked: Mapping[str, Any]) -> list[list[Any]]:
        return self._ask(query(name), asked)

    def _ask(self, text: str, asked: Mapping[str, Any]) -> list[list[Any]]:
        self._begin()
        return self._house.rows(text, asked)


def _checked(segment: str, payload: bytes) -> str:
    """An open frame's text. Raises ValueError for one that no record could be made of."""
    for _ in open_rows(segment, payload):
        break
    return str(payload, "utf-8")


def _conditions(where: RecordFilter) -> tuple[str, dict[str, Any]]:
    """The condition that a filter is, paging aside, and its parameters."""
    given = {name: getattr(where, name) for name in _CONDITIONS}
    asked = {name: value for name, value in given.items() if value is not None}
    conditions = [_CONDITIONS[name] for name in asked]
    if where.tag is not None:
        name, value = read_tag(where.tag)
        conditions.append("JSONHas(tags, $tag_name) and JSONExtractString(tags, $tag_name) = $tag_value")
        asked |= {"tag_name": name, "tag_value": value}
    if where.policy is not None:
        conditions.append("position(policy, $found_kind) > 0")
        asked["found_kind"] = found_kind(where.policy)
    if where.score is not None:
        text, more = clickhouse_scores.condition(read_condition(where.score))
        conditions.append(text)
        asked |= more
    return " and ".join(conditions) or "true", asked
