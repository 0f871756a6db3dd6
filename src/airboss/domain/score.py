"""What a person or a scorer thinks of one answer."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Literal

import msgspec

ScoreSource = Literal["human", "scorer"]
"""Who judged: a person (feedback, review) or a scorer (a function, a rule, a judging model)."""

ScoreSubject = Literal["record", "item"]
"""What was judged: the record of a call, or the answer to an item of a dataset."""

ScoreValue = float | bool | str
"""A number, a yes or no, or a label."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One judgement of one answer; never changed, a second opinion is a second score.

    Exactly one of `value` and `unscored` is set: `unscored` is the cause for which there is no value (the
    scorer failed, the judge's answer could not be read), so that a failure is never taken for a zero.
    `subject_id` is the id of the record or item, `by` the scorer's name or the key that gave the feedback.
    Raises ValueError where both or neither are set, a name or cause is empty, or a number is not finite.
    """

    id: str
    subject: ScoreSubject
    subject_id: str
    name: str
    source: ScoreSource
    by: str
    at: datetime
    value: ScoreValue | None = None
    unscored: str | None = None
    comment: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is neither a judgement nor the reason for its absence."""
        if not self.name:
            raise ValueError("a score has an empty name; name what it measures, such as helpfulness")
        if (self.value is None) == (self.unscored is None):
            raise ValueError(f"score {self.name!r} needs either a value or the cause of having none")
        if self.unscored is not None and not self.unscored:
            raise ValueError(f"score {self.name!r} is unscored without a cause; say what went wrong")
        if isinstance(self.value, float) and not math.isfinite(self.value):
            raise ValueError(f"score {self.name!r} is {self.value}; numbers of scores are finite")
