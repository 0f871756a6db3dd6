"""What was said in a call's attempts that failed: a member of the response in its record. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from airboss.dialects.chat_said import list_of
from airboss.providers.cut import cut

FAILED_ATTEMPTS: Final = "failed_attempts"
"""The member's name. Its client never got it."""
WORDS_CHARS_MAX: Final = 300
"""Of one attempt."""


class FailedAttempt(msgspec.Struct, frozen=True):
    """What was said in one of them; `attempt` is its number in the record, from 1."""

    attempt: int
    message: str


def attempt_words(response: Any) -> dict[int, str]:
    """What was said in attempts that failed, by their numbers, as a record's own `response` has it."""
    found = {}
    for each in list_of(response.get(FAILED_ATTEMPTS)) if isinstance(response, dict) else ():
        try:
            said = msgspec.convert(each, FailedAttempt)
        except msgspec.ValidationError:  # it was imported
            continue
        found[said.attempt] = cut(said.message, WORDS_CHARS_MAX)
    return found


def answered(response: Any) -> Any:
    """What a response has beside that; None where that is all."""
    if not isinstance(response, dict) or FAILED_ATTEMPTS not in response:
        return response
    return {name: value for name, value in response.items() if name != FAILED_ATTEMPTS} or None
