"""What would have been right, as pages ask for it and show it. A field for it begins with the answer, so that
this is put right where it is wrong instead of written anew; one that is left as it was says nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from airboss.console.difference import Piece, worded
from airboss.console.page import Form
from airboss.console.text import DECEPTIVE
from airboss.dialects.recorded import in_chat
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.evaluations.from_records import answer_text
from airboss.store.opinions import CORRECTION_CHARS_MAX, REVIEWS, corrections, whose


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """What the field begins with, and a digest of that. `mine`: it is what who asks wrote before."""

    text: str
    began: str
    mine: bool
    most: int = CORRECTION_CHARS_MAX


class Corrected(msgspec.Struct, frozen=True, kw_only=True):
    """The text that stands in place of an answer, beside it, and who wrote it; `pieces` has none where the
    two have little in common."""

    by: Score
    whose: str
    pieces: tuple[Piece, ...]


def field(record: InferenceRecord, scores: Sequence[Score], actor: str) -> Field:
    """The field of a form about a record with its bodies."""
    said_so = [each for each in scores if each.by == actor and each.source in REVIEWS]
    mine = corrections(said_so).get(record.id)
    text = fitting((mine.comment or "") if mine is not None else said(record))
    return Field(text=text, began=digest(text), mine=mine is not None and text != "")


def fitting(text: str) -> str:
    """A text for a field; none where in it one could not see what it is, and a browser would give other words
    back."""
    too_long = len(text) > CORRECTION_CHARS_MAX
    return "" if too_long or DECEPTIVE.search(text.replace("\r\n", "\n")) else text


def written(form: Form) -> str | None:
    """What was written into it; None where it is as it was, or was not there."""
    if "correction" not in form.fields:
        return None
    text = form.text("correction", most=CORRECTION_CHARS_MAX)
    return None if digest(text) == form.text("began") else text


def corrected(record: InferenceRecord, scores: Sequence[Score]) -> Corrected | None:
    """What would have been right of a record with its bodies, as its page shows it."""
    found = corrections(scores).get(record.id)
    if found is None:
        return None
    return Corrected(by=found, whose=whose(found), pieces=tuple(worded(said(record), found.comment or "")))


def said(record: InferenceRecord) -> str:
    """The text of the answer; empty where there is none."""
    return answer_text(in_chat(record).response)


def digest(text: str) -> str:
    """Of a text as a form gives it back, without blanks around it."""
    same = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    return hashlib.sha256(same.encode("utf-8", "surrogatepass")).hexdigest()[:16]
