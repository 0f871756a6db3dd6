"""Questions of usage: what may be asked, whichever store answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from airboss.config.tags import TAG_CHARS_MAX
from airboss.domain.ports import RecordFilter, UsageQuery
from airboss.domain.record import InferenceRecord
from airboss.domain.usage import DIMENSIONS, USAGE_ORDERS

LATE: Final = timedelta(minutes=15)
"""So long after it began a call is still counted where calls are counted when they end (`UsageQuery.ended`):
those that hang are the ones that fail, and of those that fail at once alone everything would be bad."""
BY_MAX: Final = 2
ROWS_MAX: Final = 20_000
TAG: Final = "tag:"
LABEL_CHARS_MAX: Final = 16_384
"""Of a call's `user` and `metadata` together: they are columns of the record, not a place for text. Whoever
looks for a call, or has a person forgotten, may give as much."""

LABELS_KEPT_MAX: Final = 40 * 1024
"""Of a call's tags as JSON, where a quote is two characters and a control character six: a record's row has
room for so much."""


def check(asked: UsageQuery) -> None:
    """Raise ValueError, with what would be right, for a question that no store answers."""
    if len(asked.by) > BY_MAX:
        raise ValueError(f"usage is told by at most {BY_MAX} groups, not {len(asked.by)}")
    for name in asked.by:
        tag = name.removeprefix(TAG)
        if name not in DIMENSIONS and (tag == name or not 0 < len(tag) <= TAG_CHARS_MAX):
            known = ", ".join((*DIMENSIONS, "tag:NAME"))
            bare = tag == name and 0 < len(name) <= TAG_CHARS_MAX
            of_tag = f"; for a tag, write {TAG}{name}" if bare else ""
            raise ValueError(f"nothing is grouped by {name[:80]!r}{of_tag}; there are {known}")
    if asked.order not in USAGE_ORDERS:
        raise ValueError(f"nothing is ordered by {asked.order[:80]!r}; there are {', '.join(USAGE_ORDERS)}")
    if asked.step_s is not None and asked.step_s < 1:
        raise ValueError(f"step_s is {asked.step_s}; ask for steps of at least one second")
    if asked.ended and (asked.step_s or asked.people or _names_people(asked)):
        raise ValueError("usage by when calls ended is told without steps and people, and by no tag")
    if not 1 <= asked.limit <= ROWS_MAX:
        raise ValueError(f"limit is {asked.limit}; ask for 1 to {ROWS_MAX:,} rows")


def _names_people(asked: UsageQuery) -> bool:
    where = asked.where
    told = any(name in ("user", "session") or name.startswith(TAG) for name in asked.by)
    return told or any(each is not None for each in (where.user, where.session))


def by_team(teams: Mapping[str, str], parameters: dict[str, Any]) -> bool:
    """Give a question the teams of keys, as `team_keys` and `team_names`; whether there are any."""
    if teams:
        parameters |= {"team_keys": list(teams), "team_names": list(teams.values())}
    return bool(teams)


def tokens_per_s(record: InferenceRecord) -> float | None:
    """Output tokens by the time after the first one of a stream, by the whole time otherwise.

    None where either is unknown, or the time under a millisecond (`writing_ms >= 1` in queries): what came at
    once, and spans of no time, would be told as billions. None too where nothing was written: embeddings are
    no slow answers."""
    writing_ms = record.latency_ms - ((record.ttft_ms or 0.0) if record.stream else 0.0)
    if not record.output_tokens or writing_ms < 1:
        return None
    return record.output_tokens / writing_ms * 1000


def narrowed(where: RecordFilter) -> RecordFilter:
    """The part of a filter that counts for usage."""
    return msgspec.structs.replace(
        where, since=None, until=None, before=None, after=None, sort=None, seed=None
    )


def pointer(tag: str) -> str:
    """Where a tag stands in a record's tags, as a JSON pointer."""
    return "/" + tag.replace("~", "~0").replace("/", "~1")
