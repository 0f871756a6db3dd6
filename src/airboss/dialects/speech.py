"""The seam: how a client that does not speak chat is understood and answered. Pure.

Inside of the gateway a request is OpenAI's chat request, an answer is a `chat.completion`, and a stream is
`chat.completion.chunk` events. A `Speech`, a new one for each call, has the client's request as chat and says
chat's answers in the client's words. Keys, rollouts, policies, records, retries and costs know chat alone.
What no other dialect has words for and chat has not either (Anthropic's signed thoughts, its cache marks)
rides along in members that `providers.anthropic_request` knows; `plain` takes it out where the upstream
speaks OpenAI's dialect itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from airboss.domain.errors import ApiError, InvalidRequest
from airboss.domain.plan import Target
from airboss.domain.release import Release
from airboss.providers.dialect import Outgoing

Json = dict[str, Any]
"""A JSON object."""

encode = msgspec.json.Encoder().encode


class Unsaid(InvalidRequest):
    """Chat has no words for a part of a request."""

    default_code = "unsupported"


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens. `input` includes `cached` (read from the provider's cache) and `written` (to it), `output`
    includes `reasoning`."""

    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0
    reasoning: int = 0


class Ranges(msgspec.Struct, frozen=True, kw_only=True):
    """How far numbers of a request go in a dialect, where a model of ours serves it: `temperature` from 0,
    `stops` texts to stop at, `top_k` from so much on, None where any is taken."""

    temperature: float = 2
    stops: int = 4
    top_k: int | None = None


CHATS = Ranges()
"""Of chat, and of all that OpenAI has."""


class Passing(msgspec.Struct, frozen=True, kw_only=True):
    """How a request goes on in the client's own words: `outgoing` without a body, and `changes` to the
    members of the client's, None for one that is left out."""

    outgoing: Outgoing
    changes: Mapping[str, bytes | None]


class Speech(Protocol):
    """One call in the client's dialect. A whole answer that is valid JSON can be said, however odd it is. An
    event that is beyond all bounds, or contradicts those before it, raises UpstreamFailed; one with what the
    dialect has no words for, UpstreamRefused."""

    record_id: str
    """The id of the call's record, set before anything is answered: ids are made of it."""
    estimate: Counts | None
    """The usage to tell where the upstream told none; set before the last word."""
    passes: bool
    """Whether the client has heard an upstream's own words, so that nobody else can go on with them."""
    over: bool
    """Whether the answer has come to its end, whatever it says of why; set before a whole one is said."""
    beyond: bool
    """Whether the answer asked for holds what chat has no words for."""
    screens: bool
    """Whether a policy that changes what is said can read the client's own words, and its upstream's."""
    shows: bool
    """Whether it has words for pictures."""
    ranges: Ranges
    """How far the numbers of its requests go."""
    unsaid: Sequence[ApiError]
    """What of the request chat has no words for. Unless the request is passed on as it is, the call is
    refused with the first of them, or goes on without them where the provider says so."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """What was left out of the request."""

    def passing(
        self, written: bytes, /, target: Target, release: Release, lead: Sequence[Mapping[str, str]]
    ) -> Passing | None:
        """How `written`, the client's own words, goes to a target that speaks the same dialect, whose answers
        are then said as they come. `lead` are the release's messages, which go before the client's.
        None where the target speaks another dialect, or the release asks for what this one has no words for;
        the call then goes on as chat."""

    @property
    def native(self) -> bool:
        """Whether the request has gone on in the client's own words, and its answer comes in them."""

    def screened(self, written: bytes, chat: bytes) -> None:
        """A policy has changed the request: this is what the client has `written`, and the same as chat."""

    def translated(self) -> None:
        """The call goes on as chat, for whatever reason."""

    def elsewhere(self, target: Target) -> Callable[[bytes], Outgoing] | None:
        """What makes a chat request, as it would go to a target that speaks OpenAI's dialect, one for another
        of its routes that does more; None where chat does."""

    def plain(self, chat: bytes, target: Target) -> bytes:
        """`chat`, this call's request as chat, for a target that speaks OpenAI's dialect."""

    def told(self, chat: bytes, target: Target) -> bytes:
        """The same, for one that speaks another dialect, into which it is then translated."""

    def whole(self, chat: bytes) -> bytes:
        """A whole chat answer, or what came of one before it was cut."""

    def event(self, data: bytes) -> bytes:
        """The events, ready to be sent, that one event of a chat stream makes; b"" where it makes none."""

    def keep_alive(self) -> bytes:
        """What is sent in place of a comment."""

    def end(self) -> bytes:
        """The events that end a stream that came to its end."""

    def error(self, status: int, body: bytes) -> bytes:
        """An error's body; `body` is OpenAI's."""

    def error_event(self, body: bytes) -> bytes:
        """The event that ends a stream that failed; `body` is OpenAI's error."""


def in_own_words(body: bytes, names: Mapping[str, str]) -> bytes:
    """OpenAI's error about a member of chat's, about the client's own that it was made from: `names` has the
    client's by chat's."""
    try:
        error = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return body
    param = error.get("param")
    if not isinstance(param, str):
        return body
    own = names.get(param)
    if own is None and error.get("code") == "unsupported_by_provider":
        own = names.get(param.partition("[")[0])  # which of them is not the client's count
    if own is None:
        return body
    told = error | {"message": error["message"].replace(repr(param), repr(own)), "param": own}
    return encode({"error": told})


def sse(name: str, data: Json) -> bytes:
    """One named event."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode(data))
