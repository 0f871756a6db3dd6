"""What a person or a scorer thinks of one answer."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, Literal, get_args

import msgspec

ScoreSource = Literal["human", "scorer", "review", "sample"]
"""Who judged: a caller (feedback), a scorer (a function, a rule, a judging model), or a person of the house;
`sample` if chance gave the record to that person, `review` otherwise."""

ScoreSubject = Literal["record", "item"]
"""What was judged: the record of a call, or the answer to an item of a dataset."""

ScoreValue = float | bool | str
"""A number, a yes or no, or a label."""

Comparison = Literal["<", "<=", ">", ">=", "=", "!="]
"""How a score is compared with a bound."""

_COMPARED: Final[dict[Comparison, Callable[[float, float], bool]]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq,
    "!=": operator.ne,
}  # fmt: skip

SCORE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
"""What a score may be called in feedback and filters: none of the signs that compare."""

SAID_BY: Final[dict[str | None, tuple[ScoreSource, ...]]] = {
    None: (), "feedback": ("human",), "scorer": ("scorer",), "review": ("review", "sample")
}  # fmt: skip
"""Whose scores a condition is about, by the word before its name: `review:right=no`."""

_CONDITION: Final = re.compile(
    rf"(?:([a-z]+):)?({SCORE_NAME.pattern})\s*(?:(<=|>=|!=|<|>|=)\s*(\S(?:.{{0,62}}\S)?))?"
)


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One judgement of one answer; never changed, a second opinion is a second score.

    Exactly one of `value` and `unscored` is set: `unscored` is the cause for which there is no value (the
    scorer failed, the judge's answer could not be read), so that a failure is never taken for a zero.
    `subject_id` is the id of the record or item, `by` the scorer's name, the feedback's key, or the reviewer.
    Raises ValueError where both or neither are set, a name or cause is empty, or a number is not finite."""

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


class ScoreCondition(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the score that a record has under `name`: the value shown in its `scores`.

    `number` set: the value is a number (yes counts as 1, no as 0) that compares so. `label` set: the value is
    that label, or another one with `!=`. Neither: there is a value at all. `by`: only these sources count."""

    name: str
    comparison: Comparison | None = None
    number: float | None = None
    label: str | None = None
    by: tuple[ScoreSource, ...] = ()

    def holds(self, value: ScoreValue | None) -> bool:
        """Whether a value answers to it; None (unscored, or no such score) never does."""
        if value is None:
            return False
        if self.label is not None:
            return isinstance(value, str) and (value == self.label) == (self.comparison == "=")
        if self.number is None:
            return True
        found = as_number(value)
        return found is not None and _COMPARED[self.comparison or "="](found, self.number)


def read_condition(text: str) -> ScoreCondition:
    """A condition as people write it: `helpfulness<0.5`, `tone=rude`, `review:right=no`, or a name alone.

    Raises ValueError, which says what would be right."""
    found = _CONDITION.fullmatch(text.strip())
    if found is None or found[1] not in SAID_BY:
        raise ValueError(f"{text[:80]!r} is no condition on a score; write helpfulness<0.5 or tone=rude")
    by, name, bound = SAID_BY[found[1]], found[2], found[4]
    comparison = next((each for each in get_args(Comparison) if each == found[3]), None)
    if comparison is None:
        return ScoreCondition(name=name, by=by)
    number = {"true": 1.0, "false": 0.0}.get(bound)
    if number is None:
        try:
            number = float(bound)
        except ValueError:
            number = None
    if number is not None and math.isfinite(number):
        return ScoreCondition(name=name, comparison=comparison, number=number, by=by)
    if comparison not in {"=", "!="}:
        raise ValueError(f"{bound[:80]!r} in {text[:80]!r} is no number; labels are compared with = and !=")
    return ScoreCondition(name=name, comparison=comparison, label=bound, by=by)


def as_number(value: ScoreValue | None) -> float | None:
    """A value to reckon with: yes is 1, no is 0, a label is no number."""
    return None if value is None or isinstance(value, str) else float(value)


def latest(scores: Iterable[Score]) -> dict[str, ScoreValue | None]:
    """What a record shows of its scores: by name the newest value, and None where all are unscored.

    A scorer that fails after others have judged hides nothing of what they found."""
    shown: dict[str, ScoreValue | None] = {}
    for score in sorted(scores, key=lambda each: (each.at, each.id)):
        if score.value is not None:
            shown[score.name] = score.value
        else:
            shown.setdefault(score.name)
    return shown
