"""What a scorer says about one answer, before it becomes a `Score` of the record or item."""

from __future__ import annotations

import math
from datetime import datetime

import msgspec

from airboss.domain.score import Score, ScoreSubject, ScoreValue

CAUSE_CHARS_MAX = 500
"""A cause is for people; what was longer is cut."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A value, or the cause for which there is none; never both, never neither.

    Make one with `scored` or `unscored`.
    """

    value: ScoreValue | None = None
    unscored: str | None = None
    comment: str | None = None


def scored(value: ScoreValue, comment: str | None = None) -> Mark:
    """A judgement; a number that is not finite is no judgement, and becomes unscored."""
    if isinstance(value, float) and not math.isfinite(value):
        return unscored(f"the scorer gave {value}, which is no finite number")
    return Mark(value=value, comment=comment)


def unscored(cause: str) -> Mark:
    """No judgement, because of `cause`."""
    return Mark(unscored=(cause.strip() or "no cause was given")[:CAUSE_CHARS_MAX])


def as_score(
    mark: Mark, *, id: str, subject: ScoreSubject, subject_id: str, name: str, by: str, at: datetime
) -> Score:
    """The mark as a score of a record or an item; `by` names the scorer."""
    return Score(
        id=id,
        subject=subject,
        subject_id=subject_id,
        name=name,
        source="scorer",
        by=by,
        at=at,
        value=mark.value,
        unscored=mark.unscored,
        comment=mark.comment,
    )
