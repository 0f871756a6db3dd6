"""Dead letters in the admin API: what could not become a record, and another try."""

from __future__ import annotations

from typing import Final

import msgspec

from airboss.console.desk import Desk
from airboss.console.reading import note_letters
from airboss.console.route import Call, Route
from airboss.domain.status import DeadLetter

SHOWN_MAX: Final = 1_000


class LettersAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many dead letters there are, and of these the newest `letters`, at most 1,000."""

    count: int
    letters: tuple[DeadLetter, ...]


class RetryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many letters were `taken`, and are none any more, and how many are `left`; of these the newest
    `letters`, at most 1,000, each with why it is still one."""

    taken: int
    left: int
    letters: tuple[DeadLetter, ...]


def list_letters(desk: Desk, call: Call) -> LettersAnswer:
    """GET /api/v1/dead-letters."""
    found = desk.letters()
    note_letters(desk, call, found)
    return LettersAnswer(count=len(found), letters=tuple(found[:SHOWN_MAX]))


def retry(desk: Desk, call: Call) -> RetryAnswer:
    """POST /api/v1/dead-letters/retry."""
    taken, left = desk.retry_letters()
    desk.note(call, "records.retry", "dead letters", {"taken": taken, "left": len(left)})
    note_letters(desk, call, left)
    return RetryAnswer(taken=taken, left=len(left), letters=tuple(left[:SHOWN_MAX]))


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/dead-letters",
        summary="What could not become a record, the newest first",
        handle=list_letters,
        role="reader",
    ),
    Route(
        method="POST",
        path="/api/v1/dead-letters/retry",
        summary="Tries dead letters again: what can become a record now does, and goes",
        handle=retry,
        role="operator",
    ),
)
"""Every route of dead letters."""
