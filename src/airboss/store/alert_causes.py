"""What calls that an alarm is about failed by, and whom they asked: for messages and for its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from airboss.domain.ports import RecordFilter, RecordLog
from airboss.domain.record import ANSWERED_BY_FALLBACK, InferenceRecord
from airboss.store.alert_metrics import INTERNAL_KEY
from airboss.store.alert_pages import page_of
from airboss.store.alert_rows import AlarmRow, begun_before, calls_of, looked_back
from airboss.store.wording import failure_words

NAMED: Final = 3
"""Causes that are told; of more their number."""
ERROR_CHARS: Final = 60
LOOKED_AT: Final = 100
"""Calls that are looked at; those of our own (shadows, prompts for drift), which no alarm counts, may stand
between the others."""
UNTOLD: Final = frozenset({"cancelled", "hedge_lost"})
"""Of attempts that were left, and have not failed."""


Met = tuple[str, int | None, str | None, str | None]
"""An error, its status, the provider and the model."""


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """An error that `calls` of `of` calls met, at a model of a provider; without one they met it before they
    asked anybody. `status_code` is the provider's, None if none came."""

    error_type: str
    status_code: int | None = None
    provider: str | None = None
    model: str | None = None
    calls: int
    of: int


def has_causes(asked: dict[str, Any]) -> bool:
    """Whether calls that are asked for so (`alert_rows.calls_of`) are bad by what they met."""
    return "status" in asked or "error_type" in asked


def calls_about(
    row: AlarmRow, log: RecordLog, now: datetime
) -> tuple[Sequence[InferenceRecord], tuple[Cause, ...]]:
    """Some of the calls that an alarm is about, and what they failed by; none of one that is about no list of
    calls. Raises StoreUnavailable, and ValueError where it chooses by what no record can have."""
    if page_of(row.rule, row.memory) is not None:
        return (), ()
    since = min(row.since, now) - looked_back(row.rule, row.memory)
    asked: dict[str, Any] = calls_of(row.rule, since, None, memory=row.memory)
    scored = row.rule.metric.startswith("score:")
    asked |= {"since": since - begun_before(row.rule), "keys": row.rule.keys}  # those of its team
    found = log.records(msgspec.convert(asked, RecordFilter), limit=LOOKED_AT, bodies=False)
    callers = [
        each
        for each in found
        if each.key != INTERNAL_KEY
        and (scored or each.started_at + timedelta(milliseconds=each.latency_ms) >= since)
    ]
    return callers, causes(callers) if has_causes(asked) else ()


def causes(records: Sequence[InferenceRecord]) -> tuple[Cause, ...]:
    """What these calls met, the commonest first, of the equally common what was met first: each call counts
    once for each of its errors. One that a fallback answered because who is asked first was left alone has
    met nothing, and is not counted."""
    met: Counter[Met] = Counter()
    of = 0
    for record in records:
        failed: list[Met] = [
            (each.error_type[:ERROR_CHARS], each.status_code, each.provider, each.model)
            for each in record.attempts
            if each.error_type is not None and each.error_type not in UNTOLD
        ]
        if not failed and record.error_type not in (None, ANSWERED_BY_FALLBACK):
            failed = [(record.error_type[:ERROR_CHARS], None, None, None)]
        of += bool(failed)
        met.update(dict.fromkeys(failed, 1))
    return tuple(
        Cause(error_type=error, status_code=status, provider=provider, model=model, calls=n, of=of)
        for (error, status, provider, model), n in met.most_common()
    )


def cause_words(found: Sequence[Cause]) -> str:
    """The causes that stand out: `mostly upstream_error (500) from main/gpt-4o`; empty if there are none."""
    if not found:
        return ""
    common = [each for each in found if 2 * each.calls >= each.of]
    if not common:
        first = found[0]
        return f"most often {_one(first)}, in {first.calls:,} of {first.of:,}"
    named = NAMED if len(common) > NAMED + 1 else len(common)  # in place of one more it is named
    *others, last = map(_one, common[:named])
    if more := len(common) - named:
        others, last = [*others, last], f"{more} more"
    return f"mostly {', '.join(others)} and {last}" if others else f"mostly {last}"


def _one(cause: Cause) -> str:
    words = failure_words(cause.error_type, cause.status_code)
    return f"{words} from {cause.provider}/{cause.model}" if cause.provider else words
