"""The record log in memory: for tests, and for trying things out. What it holds goes with the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from hashlib import md5
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

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
from airboss.domain.record import EXTERNAL, Found, InferenceRecord
from airboss.domain.score import Score, read_condition
from airboss.domain.usage import RecordSort, UsageRow
from airboss.store import memory_usage
from airboss.store.joining import (
    ORPHANS_MAX,
    StoredRecord,
    as_open,
    blank_opened,
    body,
    calls_within,
    gateway_span,
    join,
    read_closed,
    read_opened,
    read_record,
    read_score,
    read_span,
)
from airboss.store.memory_scores import Scores, stats_of_scores
from airboss.store.memory_spans import MemorySpans
from airboss.store.memory_stats import bucket, deployment_stats, quantile
from airboss.store.searching import read_search
from airboss.store.usage import narrowed

K = TypeVar("K")
DAWN, FAR = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)

_EQUAL: Final = (
    "deployment", "status", "model", "user", "key", "id", "release", "session", "arm", "error_type",
)  # fmt: skip


class MemoryRecordLog(MemorySpans):
    """Implements `TracedLog`. Safe to call from several threads. `apply` raises ValueError for a move with
    JSON that is no record, and then takes none of it."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._records: dict[str, InferenceRecord] = {}
        self._pending: dict[str, tuple[str, bytes]] = {}
        self._offsets: dict[str, int] = {}
        self._scores = Scores()
        self._closed = False

    def offset(self, segment: str) -> int:
        """As `RecordLog.offset`."""
        with self._lock:
            self._check()
            return self._offsets.get(segment, 0)

    def begun(self, segment: str) -> int | None:  # noqa: ARG002 - the port's
        """As `RecordLog.begun`: moves are taken whole."""
        return None

    def apply(self, move: JournalMove) -> int:
        """As `RecordLog.apply`."""
        with self._lock:
            self._check()
            held = self._offsets.get(move.segment, 0)
            if held != move.start:
                return held
            calls = calls_within(move)
            calls += [
                (read_opened(self._pending[record_id][1]), read_closed(closed))
                for record_id, closed in move.closed.items()
                if record_id in self._pending and record_id not in move.opened
            ]
            stored = [*map(read_record, move.records), *(join(*call) for call in calls)]
            records = [_whole(each) for each in stored]
            spans = [read_span(payload) for payload in move.spans]
            spans += [span for call in calls if (span := gateway_span(*call)) is not None]
            given = [read_score(payload) for payload in move.scores]
            for record in records:
                self._records.setdefault(record.id, record)
            self._scores.take(given, move.moved_at or datetime.now(UTC))
            self._take_spans(spans, move.moved_at or datetime.now(UTC))
            self._scores.attach(self._records)
            for record_id in move.closed:
                self._pending.pop(record_id, None)
            waits = move.opened.keys() - move.closed.keys()
            self._pending.update({each: (move.segment, move.opened[each]) for each in waits})
            if move.end != move.start:
                self._offsets[move.segment] = move.end
            return move.end

    def orphans(self, segment_prefix: str) -> dict[str, bytes]:
        """As `RecordLog.orphans`: the first 1,000 by id."""
        with self._lock:
            self._check()
            found = sorted(
                (record_id, opened)
                for record_id, (segment, opened) in self._pending.items()
                if segment.startswith(segment_prefix)
            )
            return dict(found[:ORPHANS_MAX])

    def forget(self, segment: str) -> None:
        """As `RecordLog.forget`."""
        with self._lock:
            self._check()
            self._offsets.pop(segment, None)

    def records(self, where: RecordFilter, *, limit: int, bodies: bool) -> Sequence[InferenceRecord]:
        """As `RecordLog.records`."""
        with self._lock:
            self._check()
            arrived, holds = self._shown(where)
            before = self._records.get(where.before) if where.before is not None else None
        if where.after is not None:
            ids = ["", *(record.id for record in arrived)]
            if where.after not in ids:
                return []
            arrived = arrived[ids.index(where.after) :]
        else:
            arrived.sort(key=_newness, reverse=True)
        if where.sort == "shuffled":
            arrived.sort(key=partial(_by_chance, where.seed or 0))
        elif where.sort is not None:
            arrived.sort(key=_SORTS[where.sort], reverse=True)
        if where.before is not None:
            if before is None:
                return []
            arrived = [record for record in arrived if _newness(record) < _newness(before)]
        found = list(islice(filter(holds, arrived), limit))
        if bodies:
            return found
        return [msgspec.structs.replace(record, request=None, response=None) for record in found]

    def search(self, where: RecordFilter, words: str, *, limit: int, bodies: bool) -> Found:
        """As `RecordLog.search`."""
        search_for = read_search(words)
        with self._lock:
            self._check()
            shown, holds = self._shown(where)
        arrived = {each.id: each for each in shown}
        if where.before is not None:
            ids = list(arrived)
            arrived = {
                each: arrived[each] for each in ids[: ids.index(where.before) if where.before in ids else 0]
            }
        found = [
            each if bodies else msgspec.structs.replace(each, request=None, response=None)
            for each in reversed(arrived.values())
            if holds(each) and search_for.found_in(each.request, each.response)
        ]
        return Found(
            records=tuple(found[:limit]), looked_to=found[limit - 1].id if len(found) > limit else None
        )

    def count(self, where: RecordFilter) -> int:
        """As `RecordLog.count`."""
        with self._lock:
            self._check()
            shown, holds = self._shown(where)
            return sum(map(holds, shown))

    def stats(
        self, since: datetime, until: datetime, *, without_key: str | None = None
    ) -> Sequence[DeploymentStats]:
        """As `RecordLog.stats`, with exact quantiles."""
        calls = [
            each for each in self._between(since, until) if without_key is None or each.key != without_key
        ]
        groups = _grouped(calls, lambda record: record.deployment)
        return [deployment_stats(deployment, group) for deployment, group in sorted(groups.items())]

    def series(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[StatsBucket]:
        """As `RecordLog.series`, with exact quantiles."""

        def step(record: InferenceRecord) -> tuple[str, int]:
            return record.deployment, int(record.started_at.timestamp() // step_s) * step_s

        groups = _grouped(self._between(since, until), step)
        return [bucket(name, start, group) for (name, start), group in sorted(groups.items())]

    def traffic(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[ReleaseBucket]:
        """As `RecordLog.traffic`."""

        def step(record: InferenceRecord) -> tuple[str, str, str, int]:
            start = int(record.started_at.timestamp() // step_s) * step_s
            return record.deployment, record.release, record.arm, start

        return [
            ReleaseBucket(
                deployment=deployment,
                release=release,
                arm=arm,
                start=datetime.fromtimestamp(start, UTC),
                requests=len(calls),
                errors=sum(each.status == "error" for each in calls),
                counted=sum(each.status not in {"cancelled", "refused"} for each in calls),
            )
            for (deployment, release, arm, start), calls in sorted(
                _grouped(self._between(since, until), step).items()
            )
        ]

    def usage(self, asked: UsageQuery) -> Sequence[UsageRow]:
        """As `RecordLog.usage`, with exact quantiles."""
        where = narrowed(asked.where)
        with self._lock:
            self._check()
            shown, holds = self._shown(where)
            found = list(filter(holds, shown))
        return memory_usage.usage(found, asked, quantile)

    def spent(self, since: datetime, *, each_user: Collection[str] = ()) -> Sequence[Spent]:
        """As `RecordLog.spent`."""
        sums: dict[tuple[str, date, str], Decimal] = {}
        with self._lock:
            self._check()
            for record in self._records.values():
                if record.arm == EXTERNAL:
                    continue
                if record.cost_usd is not None and record.started_at >= since:
                    user = (record.user or "") if record.key in each_user else ""
                    of = (record.key, record.started_at.astimezone(UTC).date(), user)
                    sums[of] = sums.get(of, Decimal(0)) + record.cost_usd
        return [
            Spent(key=key, day=day, usd=usd, user=user or None)
            for (key, day, user), usd in sorted(sums.items())
        ]

    def watched(
        self, deployment: str, *, after: str, until: str, without_key: str, limit: int
    ) -> Sequence[WatchedCall]:
        """As `RecordLog.watched`."""
        with self._lock:
            self._check()
            of_deployment, _ = self._shown(RecordFilter(deployment=deployment))
            closed = [
                _watched(each)
                for each in of_deployment
                if each.deployment == deployment
                and each.key != without_key
                and each.cache not in {"hit", "semantic", "known"}
            ]
            pending = [read_opened(frame) for _, frame in self._pending.values()]
            still_open = [
                as_open(each) for each in pending if each.deployment == deployment and each.key != without_key
            ]
        found = [each for each in (*closed, *still_open) if after < each.id < until]
        return sorted(found, key=lambda call: call.id)[:limit]

    def put_scores(self, scores: Sequence[Score]) -> int:
        """As `RecordLog.put_scores`."""
        with self._lock:
            self._check()
            return self._scores.put(scores, self._records)

    def scores_of(self, record_ids: Collection[str]) -> Sequence[Score]:
        """As `RecordLog.scores_of`."""
        with self._lock:
            self._check()
            return self._scores.of_records(record_ids)

    def score_stats(
        self, since: datetime, until: datetime, *, by_score_time: bool = False,
        without_key: str | None = None, where: RecordFilter | None = None,
    ) -> Sequence[ScoreStats]:  # fmt: skip
        """As `RecordLog.score_stats`."""
        matches = _matching(narrowed(where or RecordFilter()))
        with self._lock:
            self._check()
            given = [
                (score, self._records[score.subject_id])
                for score in self._scores.kept.values()
                if (without_key is None or self._records[score.subject_id].key != without_key)
                and matches(self._records[score.subject_id])
            ]
        return stats_of_scores(
            (score, record)
            for score, record in given
            if since <= (score.at if by_score_time else record.started_at) < until
        )

    def stray_scores(self, before: datetime, *, limit: int) -> Sequence[Score]:
        """As `RecordLog.stray_scores`."""
        with self._lock:
            self._check()
            return self._scores.stray(before, self._pending, limit)

    def drop_scores(self, score_ids: Collection[str]) -> None:
        """As `RecordLog.drop_scores`."""
        with self._lock:
            self._check()
            self._scores.drop(score_ids)

    def erase(self, users: Mapping[str, datetime]) -> Mapping[str, Erased]:
        """As `RecordLog.erase`."""
        with self._lock:
            self._check()
            return {user: self._erase(user, before) for user, before in users.items()}

    def _erase(self, user: str, before: datetime) -> Erased:
        named, traced = self._erase_spans(user, before)
        theirs = {
            each.id
            for each in self._records.values()
            if (each.user == user or each.id in traced) and each.started_at <= before
        }
        nothing: dict[str, Any] = {
            "user": None,
            "session": None,
            "tags": {},
            "request": None,
            "response": None,
        }
        for record_id in theirs:
            self._records[record_id] = msgspec.structs.replace(self._records[record_id], **nothing)
        opened = 0
        for record_id, (segment, frame) in list(self._pending.items()):
            call = read_opened(frame)
            if (call.user == user or call.trace_id in named) and call.started_at <= before:
                self._pending[record_id] = (segment, blank_opened(call))
                opened += 1
        return Erased(records=len(theirs) + opened, scores=self._scores.erase(user, theirs))

    def expire(self, *, bodies_before: datetime | None, records_before: datetime | None, limit: int) -> int:
        """As `RecordLog.expire`."""
        with self._lock:
            self._check()
            oldest = sorted(self._records.values(), key=lambda each: each.started_at)
            gone = [
                each for each in oldest if records_before is not None and each.started_at < records_before
            ]
            for record in gone[:limit]:
                del self._records[record.id]
                self._scores.expire(record.id)
            bodied = [
                each
                for each in oldest
                if bodies_before is not None
                and each.started_at < bodies_before
                and each.id in self._records
                and (each.request is not None or each.response is not None)
            ]
            for record in bodied[: limit - len(gone[:limit])]:
                self._records[record.id] = msgspec.structs.replace(record, request=None, response=None)
            spans = self._expire_spans(bodies_before, records_before, limit)
            return len(gone[:limit]) + len(bodied[: limit - len(gone[:limit])]) + spans

    def make_room(self, bytes_max: int) -> int:
        """As `RecordLog.make_room`: bytes are those of bodies as JSON."""
        taken = sum(
            len(msgspec.json.encode((each.request, each.response))) for each in self._between(DAWN, FAR)
        )
        return self.expire(bodies_before=FAR, records_before=None, limit=1) if taken > bytes_max else 0

    def tidy(self) -> bool:
        """As `RecordLog.tidy`: nothing waits."""
        return False

    def close(self) -> None:
        """As `RecordLog.close`."""
        with self._lock:
            self._closed = True

    def _shown(self, where: RecordFilter) -> tuple[list[InferenceRecord], Callable[[InferenceRecord], bool]]:
        """Every record with what it shows of its scores, as they arrived, and whether one matches. Raises
        ValueError for a condition on scores that is none, also where there is no record to try it on."""
        asked = read_condition(where.score) if where.score is not None else None
        shown = self._scores.shown()
        said = self._scores.shown(asked.by) if asked is not None else {}
        matches = _matching(where)

        def holds(record: InferenceRecord) -> bool:
            scored = asked is None or asked.holds(said.get(record.id, {}).get(asked.name))
            return scored and matches(record)

        return [
            msgspec.structs.replace(record, scores=shown[record.id]) if record.id in shown else record
            for record in self._records.values()
        ], holds

    def _between(self, since: datetime, until: datetime) -> list[InferenceRecord]:
        with self._lock:
            self._check()
            return [record for record in self._records.values() if since <= record.started_at < until]

    def _make(self, payload: bytes) -> None:
        record = _whole(read_record(payload))
        self._records.setdefault(record.id, record)

    def _check(self) -> None:
        if self._closed:
            raise StoreUnavailable("the record store in memory is closed")


def _whole(stored: StoredRecord) -> InferenceRecord:
    fields: dict[str, Any] = {name: getattr(stored, name) for name in InferenceRecord.__struct_fields__}
    fields["request"] = body(str(stored.request, "utf-8"))
    fields["response"] = body(str(stored.response, "utf-8"))
    return InferenceRecord(**fields)


def _watched(record: InferenceRecord) -> WatchedCall:
    """A record as a rollout sees it."""
    fields = {name: getattr(record, name) for name in WatchedCall.__struct_fields__ if name != "open"}
    return WatchedCall(**fields)


_SORTS: Final[dict[RecordSort, Callable[[InferenceRecord], Any]]] = {
    "slowest": lambda record: (record.latency_ms, record.id),
    "costliest": lambda record: (record.cost_usd is not None, record.cost_usd or Decimal(0), record.id),
    "longest": lambda record: (record.output_chars, record.id),
}


def _by_chance(seed: int, record: InferenceRecord) -> bytes:
    return md5(f"{seed}:{record.id}".encode(), usedforsecurity=False).digest()


def _newness(record: InferenceRecord) -> tuple[datetime, str]:
    return record.started_at, record.id


def _matching(where: RecordFilter) -> Callable[[InferenceRecord], bool]:
    """Whether a record matches. What every record would be asked anew is found once."""
    equal = [(name, wanted) for name in _EQUAL if (wanted := getattr(where, name)) is not None]
    text = (where.text or "").lower()

    def matches(record: InferenceRecord) -> bool:
        return (
            all(getattr(record, name) == wanted for name, wanted in equal)
            and (where.ids is None or record.id in where.ids)
            and (where.keys is None or record.key in where.keys)
            and (where.since is None or record.started_at >= where.since)
            and (where.until is None or record.started_at < where.until)
            and (not text or text in _searched(record))
            and (where.tag is None or _tagged_so(record, where.tag))
            and (where.slower_ms is None or (record.latency_ms or 0.0) > where.slower_ms)
            and (where.policy is None or any(each.kind == where.policy for each in record.policy))
        )

    return matches


def _searched(record: InferenceRecord) -> str:
    parts = (record.id, record.user, record.session, record.error_type)
    return "\n".join(each for each in parts if each is not None).lower()


def _tagged_so(record: InferenceRecord, asked: str) -> bool:
    name, value = read_tag(asked)
    return record.tags.get(name) == value


def _grouped(
    calls: Iterable[InferenceRecord], key: Callable[[InferenceRecord], K]
) -> dict[K, list[InferenceRecord]]:
    groups: dict[K, list[InferenceRecord]] = {}
    for record in calls:
        groups.setdefault(key(record), []).append(record)
    return groups
