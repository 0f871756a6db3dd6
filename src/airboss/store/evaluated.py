"""Which record an evaluation is of that came by OpenTelemetry: it names a span of a trace, or what the answer
is called. Until that is found out, its score waits under such a name in place of a record's id. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from airboss.domain.score import Score
from airboss.store.span_calls import MODEL_KINDS, record_ids
from airboss.store.span_rows import TraceSpan

NAMED: Final = "span:"
"""What such a name begins with, and no record's id does."""


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """What an evaluation says that it is of; "" for what it does not say."""

    trace_id: str = ""
    span_id: str = ""
    answer_id: str = ""


def subject_of(what: Evaluated) -> str:
    """The `Score.subject_id` of one that waits."""
    return f"{NAMED}{what.trace_id}:{what.span_id}:{what.answer_id}"


def evaluated_in(subject_id: str) -> Evaluated | None:
    """What a score that waits is of; None where it names its record."""
    if not subject_id.startswith(NAMED):
        return None
    trace_id, _, rest = subject_id.removeprefix(NAMED).partition(":")
    span_id, _, answer_id = rest.partition(":")
    return Evaluated(trace_id=trace_id, span_id=span_id, answer_id=answer_id)


def may_be_of(score: Score, record_ids: Collection[str]) -> bool:
    """Whether a score may be of one of these records: of one that waits under a name nobody knows."""
    return score.subject_id in record_ids or evaluated_in(score.subject_id) is not None


class Calls:
    """The model calls of a trace."""

    def __init__(self, spans: Sequence[TraceSpan]) -> None:
        self._by_id = {span.id: span for span in spans}
        # Of several of one name, which a program that is wrong may send, the last.
        self._by_name = {(span.span_id, span.key): span for span in spans}
        self._records = record_ids(spans)
        self._below: defaultdict[str, list[TraceSpan]] = defaultdict(list)
        for span in spans:
            if span.parent_id is not None:
                self._below[span.parent_id].append(span)
        self.models = [span.id for span in spans if span.kind in MODEL_KINDS and not span.gateway]

    def span(self, span_id: str, key: str) -> TraceSpan | None:
        """The span of that name that this key sent."""
        return self._by_name.get((span_id, key))

    def tells(self, span: TraceSpan) -> bool:
        """Whether a span tells of a model call."""
        return span.id in self._records

    def record_of(self, row_id: str) -> str | None:
        """The record of the call that the span of this row tells of; of one around others, of the only one in
        it. None where there is no such call, or several."""
        own = self._records.get(row_id)
        if own is not None or row_id not in self._records:
            return own
        around = self._by_id[row_id].span_id
        walked, found, waiting = {around}, set(), [around]
        while waiting:
            for each in self._below[waiting.pop()]:
                found.add(self._records.get(each.id))
                if each.span_id not in walked:
                    walked.add(each.span_id)
                    waiting.append(each.span_id)
        found.discard(None)
        return found.pop() if len(found) == 1 else None
