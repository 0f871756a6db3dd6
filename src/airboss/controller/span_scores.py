"""Scores that came by OpenTelemetry, for which a record is looked for: they name a span of their call, or
what its answer is called (`store.evaluated`). One whose call does not come is put away as feedback is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from msgspec.structs import replace

from airboss.domain.ports import Clock, RecordFilter
from airboss.domain.score import Score
from airboss.store.evaluated import Calls, Evaluated, evaluated_in
from airboss.store.span_answers import answer_ids
from airboss.store.span_rows import TracedLog

EVERY_S: Final = 1.0
RESTS: Final = 10.0
"""After a look it rests so many times as long as that took, at least EVERY_S."""
TRIED_S: Final = 0.5
"""Records wait meanwhile."""
AT_ONCE: Final = 1_000
"""As many records and spans as a log is asked for."""
WAITING_MAX: Final = 10_000
"""Of those that wait as many are looked at: where an app sends a tenth of its traces and evaluates all, most
wait in vain, and must not keep the others from being tried."""
SINCE: Final = timedelta(days=1)
"""So long after a call it is found by what its answer is called, in another trace or without one."""
NOWHERE: Final = ""
"""In place of a record's id: the span is there and tells of no model call. It stands in its trace alone."""


class SpanScores:
    """Looks for the records while there are scores that wait, each ever less often. One thread calls it."""

    def __init__(self, record_log: TracedLog, clock: Clock) -> None:
        self._log = record_log
        self._clock = clock
        self._waiting = True
        self._next_at = 0.0
        self._due: dict[str, tuple[float, float]] = {}
        """When a score is tried next, and after how long again, by its id."""

    def attach(self, *, moved: bool) -> None:
        """Attach those whose record is there; `moved`: more may have come. Raises StoreUnavailable."""
        self._waiting |= moved
        at = self._clock.monotonic()
        if not self._waiting or at < self._next_at:
            return
        self._next_at = at + EVERY_S
        strays = self._log.stray_scores(self._clock.now(), limit=WAITING_MAX)
        waiting = [each for each in strays if evaluated_in(each.subject_id) is not None]
        self._waiting = bool(waiting)
        self._due = {each.id: self._due.get(each.id, (at, EVERY_S)) for each in waiting}
        calls = lru_cache(1)(lambda trace_id: Calls(self._log.trace(trace_id)))
        found: dict[str, str] = {}
        for score in sorted(waiting, key=lambda each: (self._due[each.id][0], each.subject_id)):
            due, wait_s = self._due[score.id]
            if due > at or self._clock.monotonic() >= at + TRIED_S or len(found) == AT_ONCE:
                break
            self._due[score.id] = (at + wait_s, 2 * wait_s)
            record = record_of(self._log, score, calls)
            if record is not None:
                found[score.id] = record
        self._attach([each for each in waiting if each.id in found], found)
        self._next_at = max(self._next_at, at + (1 + RESTS) * (self._clock.monotonic() - at))

    def _attach(self, scores: list[Score], found: Mapping[str, str]) -> None:
        ids = tuple({found[each.id] for each in scores} - {NOWHERE})
        keys = {}
        if ids:
            records = self._log.records(RecordFilter(ids=ids), limit=len(ids), bodies=False)
            keys = {each.id: each.key for each in records}
        mine = [each for each in scores if keys.get(found[each.id]) == each.by]
        if mine:
            self._log.put_scores([replace(each, subject_id=found[each.id]) for each in mine])
        done = [each.id for each in scores if each in mine or found[each.id] == NOWHERE]
        if done:
            self._log.drop_scores(done)


def record_of(log: TracedLog, score: Score, calls: Callable[[str], Calls] | None = None) -> str | None:
    """The id that the record has, or will have, of the call that a score is of; NOWHERE for none ever; None
    while nobody knows. `calls`: what is known of a trace. Raises StoreUnavailable."""
    named = evaluated_in(score.subject_id)
    if named is None:
        return score.subject_id
    if named.span_id:
        trace = calls(named.trace_id) if calls is not None else Calls(log.trace(named.trace_id))
        found = _in_trace(log, named, score.by, trace)
        if found is not None:
            return found
    return _by_answer(log, named.answer_id, score) if named.answer_id else None


def _in_trace(log: TracedLog, named: Evaluated, key: str, trace: Calls) -> str | None:
    """In the trace it is the call of that answer, else that of the span, unless that answered otherwise."""
    span = trace.span(named.span_id, key)
    answers: dict[str, str] = {}
    if named.answer_id:
        models = trace.models[:AT_ONCE]
        answers = answer_ids(log.spans_of(models)) if models else {}
        mine = next((each for each, answer in answers.items() if answer == named.answer_id), None)
        if mine is not None:
            return trace.record_of(mine)
    if span is None:
        return None
    if trace.tells(span):
        return trace.record_of(span.id) if span.id not in answers else None
    return None if named.answer_id else NOWHERE


def _by_answer(log: TracedLog, answer_id: str, score: Score) -> str | None:
    """By what the answer is called, which may be the record's own id; bodies that are sealed do not tell."""
    if log.records(RecordFilter(id=answer_id.lower()), limit=1, bodies=False):
        return answer_id.lower()
    where = RecordFilter(key=score.by, since=score.at - SINCE, until=score.at + timedelta(minutes=1))
    try:
        found = log.search(where, f'"{answer_id}"', limit=2, bodies=True).records
    except ValueError:  # sealed, or no word
        return None
    named = [each.id for each in found if _answer(each.response) == answer_id]
    return named[0] if len(named) == 1 else None


def _answer(response: Any) -> Any:
    return response.get("id") if isinstance(response, Mapping) else None
