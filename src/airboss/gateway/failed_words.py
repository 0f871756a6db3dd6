"""What was said in attempts that failed, for the record of a call that others were made for after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from airboss.dialects.failed_attempts import FAILED_ATTEMPTS, WORDS_CHARS_MAX, FailedAttempt
from airboss.domain.errors import ApiError, UpstreamFailed, UpstreamRefused
from airboss.gateway.attempts import Try
from airboss.gateway.judge import HedgeLost
from airboss.gateway.serving import Serving
from airboss.providers.cut import cut

if TYPE_CHECKING:
    from airboss.gateway.screened import CallScreen

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def failed_words(
    tries: Sequence[Try], screen: CallScreen | None, serving: Serving
) -> tuple[FailedAttempt, ...]:
    """The words of those that failed, without what policies mask and without secrets. The one that lost a
    race, or was left, has not failed."""
    found = []
    for number, tried in enumerate(tries, 1):
        failure = tried.answer.failure
        if tried.error is None or failure is None or isinstance(failure, HedgeLost):
            continue
        theirs = isinstance(failure, UpstreamFailed | UpstreamRefused)
        # Of its own: the failure itself may be every call's, as that a key is missing.
        said = (UpstreamFailed if theirs else ApiError)(failure.message.encode("utf-8", "replace").decode())
        if screen is not None:
            screen.clear(said)
        serving.hush(said)
        if said.message:  # cut at last: half of a value would be known to nobody
            found.append(FailedAttempt(number, cut(said.message, WORDS_CHARS_MAX)))
    return tuple(found)


def with_failed(response: bytes | None, failed: Sequence[FailedAttempt]) -> bytes | None:
    """A response as it is recorded, with the words of attempts that failed. What is no object has no room
    for them."""
    try:
        members = _members.decode(response or b"{}")
    except msgspec.DecodeError:
        return response
    return msgspec.json.encode(members | {FAILED_ATTEMPTS: failed})
