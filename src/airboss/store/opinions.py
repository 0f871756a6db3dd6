"""What may be said of an answer, by callers (feedback) and by people of the house (reviews), and which of a
reviewer's judgements stands.

What would have been right is a judgement like any other, or feedback, under a name of its own and with the
text as its comment: so it is replaced, sealed, erased, exported and imported as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.domain.score import SCORE_NAME, Score, ScoreSource, ScoreValue
from airboss.store.sealed_marks import UNOPENED

LABEL_CHARS_MAX: Final = 64
COMMENT_CHARS_MAX: Final = 4_000
CORRECTION: Final = "correction"
"""The name of a review or of feedback whose comment is what would have been right."""

CORRECTED: Final = "given"
"""Its value."""

CORRECTION_CHARS_MAX: Final = 20_000
REVIEWS: Final[tuple[ScoreSource, ...]] = ("review", "sample")
"""Whose scores are judgements by people of the house."""

YES_NO: Final = {"yes": True, "true": True, "no": False, "false": False}
TAKEN_BACK: Final = "taken back"
"""The cause of a review that says nothing any more."""

ERASED: Final = "erased"
"""The cause of having no value that a score has once a person of whom it may tell is forgotten."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What a log does with scores that it is given: it keeps `kept`, and drops those of the ids `gone`."""

    kept: tuple[Score, ...]
    gone: tuple[str, ...]


def has_words(score: Score) -> bool:
    """Whether it names somebody, or says anything but its value. What a judge says may quote the call."""
    return bool(score.user or score.comment or has_cause(score) or is_callers_label(score))


def is_callers_label(score: Score) -> bool:
    """Whether its value is words of a caller: no number, and no label of a scorer or reviewer."""
    return score.source == "human" and isinstance(score.value, str)


def has_cause(score: Score) -> bool:
    """Whether the cause of having no value says more than that something was taken back or erased."""
    cause = score.unscored
    return cause is not None and cause != TAKEN_BACK and not ERASED.startswith(cause)


def wordless(score: Score) -> Score:
    """It without who gave it and what they wrote; the cause of having no value is not longer than what was
    there."""
    cause, value = score.unscored, score.value
    if isinstance(value, str) and is_callers_label(score):
        cause, value = ERASED[: len(value)], None
    elif cause is not None and cause != TAKEN_BACK:
        cause = ERASED[: len(cause)]
    return msgspec.structs.replace(score, user=None, comment=None, value=value, unscored=cause)


def settle(given: Sequence[Score], there: Iterable[Score]) -> Settled:
    """Of reviews by one person of one record under one name the newest stands alone; one without a value
    takes back what was said, and is not kept itself. Other scores are all kept.

    `given` are new, `there` are scores that the log has of the same records.
    """
    newest: dict[tuple[str, str, str], Score] = {}
    reviews = [each for each in (*there, *given) if each.source in REVIEWS]
    for each in reviews:
        last = newest.get(_place(each))
        if last is None or (last.at, last.id) < (each.at, each.id):
            newest[_place(each)] = each
    new = {each.id for each in given}
    stands = {each.id for each in newest.values() if each.value is not None}
    return Settled(
        kept=tuple(each for each in given if each.source not in REVIEWS or each.id in stands),
        gone=tuple(each.id for each in reviews if each.id not in new and each.id not in stands),
    )


def reviewed(scores: Iterable[Score]) -> set[str]:
    """The records that there are reviews of among these scores."""
    return {each.subject_id for each in scores if each.source in REVIEWS}


def corrections(scores: Iterable[Score]) -> dict[str, Score]:
    """By record the newest of what people of the house say would have been right, else the newest that an app
    passed on. One that was erased, or does not open, is none."""
    found = [each for each in scores if is_correction(each)]
    return {
        each.subject_id: each
        for each in sorted(found, key=lambda each: (each.source in REVIEWS, each.at, each.id))
    }


def is_correction(score: Score) -> bool:
    """Whether a review, or feedback, says what would have been right."""
    given = score.name == CORRECTION and score.value == CORRECTED and score.source != "scorer"
    return given and score.comment is not None and not score.comment.startswith(UNOPENED)


def whose(score: Score) -> str:
    """Who said it: a person of the house, a scorer, or an app's user."""
    if score.source in REVIEWS:
        return score.by
    if score.source == "scorer":
        return f"scorer {score.by}"
    return f"{score.user} with key {score.by}" if score.user else f"key {score.by}"


def check_name(name: str) -> None:
    """Raise InvalidRequest for what a score cannot be called."""
    if SCORE_NAME.fullmatch(name) is None:
        raise InvalidRequest(
            f"'name' is {name[:80]!r}; use a letter, then letters, digits, '_', '.' or '-'; at most 64",
            param="name",
        )


def check_value(value: ScoreValue) -> None:
    """Raise InvalidRequest for a label that cannot be shown as one."""
    if isinstance(value, str) and not (
        0 < len(value) <= LABEL_CHARS_MAX and value.isprintable() and value == value.strip()
    ):
        raise InvalidRequest(
            f"'value' is a label of {len(value)} characters; use 1 to {LABEL_CHARS_MAX} that can be printed, "
            "without blanks around them",
            param="value",
        )


def read_value(text: str) -> ScoreValue:
    """A value as people write it: yes and no (also true and false), a number, else a label. Raises
    InvalidRequest for a number that is not finite."""
    if text.lower() in YES_NO:
        return YES_NO[text.lower()]
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        raise InvalidRequest(f"'value' is {text[:80]!r}, which is no finite number", param="value")
    return number


def plainly(value: ScoreValue) -> str:
    """A value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:g}"


def check_text(name: str, text: str | None, most: int) -> None:
    """Raise InvalidRequest for a text that is too long."""
    if text is not None and len(text) > most:
        raise InvalidRequest(f"{name!r} has {len(text)} characters; at most {most} are taken", param=name)


def said_right(text: str | None) -> str | None:
    """What somebody sent as what would have been right; None where that says nothing, as blanks do not."""
    return text if text is not None and text.strip() else None


def _place(score: Score) -> tuple[str, str, str]:
    return score.subject_id, score.name, score.by
