"""What a scorer says about one answer, before it becomes a `Score` of the record or item."""

from __future__ import annotations

import math
from datetime import datetime

import msgspec

from airboss.domain.score import Score, ScoreSubject, ScoreValue
from airboss.providers.cut import CUT, cut

CAUSE_CHARS_MAX = 500
"""A cause is for people; what was longer is cut, so that one sees it: its end may be half of a secret."""


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
    """No judgement, because of `cause`, which quotes a call behind its first colon alone (`unquoted`)."""
    return Mark(unscored=cut(cause.strip() or "no cause was given", CAUSE_CHARS_MAX - len(CUT)))


def unquoted(cause: str) -> str:
    """A cause without what it quotes, but with an answer's status: for what says of a person's item and stays
    when that is erased, such as a report or why a job failed."""
    first, _, rest = cause.partition(": ")
    status = rest.partition(": ")[0]
    return f"{first}: {status}" if len(status) == 3 and status.isdigit() else first


def without_quotes(mark: Mark) -> Mark:
    """A mark whose cause, if it has one, is `unquoted`."""
    return mark if mark.unscored is None else msgspec.structs.replace(mark, unscored=unquoted(mark.unscored))


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
