"""A response as it is kept for those that build on it, and what a store of them promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

import msgspec

LINKS_MAX: Final = 1_000
"""Responses that one may build on, one upon the other."""


class TooLong(Exception):
    """What is asked for is over so many bytes; `size` of them were counted in its last `links` responses."""

    def __init__(self, size: int, links: int) -> None:
        super().__init__(f"{size} bytes in {links} responses")
        self.size = size
        self.links = links


class KeptResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One response, as JSON texts: `response` as the client got it, `messages` what it added to its
    conversation (chat messages: what was asked, then what was answered). `key` is the name of the key that it
    belongs to, `previous` the id of the response that it builds on, `created_at` when its call began."""

    id: str
    key: str
    user: str | None
    previous: str | None
    created_at: datetime
    expires_at: datetime
    response: str
    messages: str


class ResponseStore(Protocol):
    """Keeps responses. Every call is one transaction, and durable when it returns. Raises SetupError if the
    database cannot be used. Who asks for another key's response, or one that has expired, finds none."""

    def put(self, *kept: KeptResponse) -> None:
        """Keep responses, all or none; one of the same key by the same id goes. Those that they build on are
        kept for as long as they are, at least. Raises WrongCall where another key has one of these ids."""

    def get(
        self, response_id: str, *, key: str, now: datetime, most: int | None = None
    ) -> KeptResponse | None:
        """The response of this id. Raises TooLong, before it is read, where its texts have more than `most`
        bytes."""

    def chain(self, response_id: str, *, key: str, now: datetime, most: int) -> Sequence[KeptResponse] | None:
        """The response of this id after all that it builds on, the first one first, at most LINKS_MAX, each
        with nothing as its `response`, which says tools and instructions again. None where one is missing.
        Raises TooLong, before they are read, where their messages have more than `most` bytes."""

    def delete(self, response_id: str, *, key: str, now: datetime) -> bool:
        """Forget a response; whether there was one. What builds on it cannot be built on any more."""

    def people(self, before: datetime) -> Mapping[str, datetime]:
        """Whose responses there are of calls that began before that, with the beginning of the first."""

    def forget_user(self, user: str, *, until: datetime | None = None) -> int:
        """Forget a person's responses, of calls that began by then; how many there were."""

    def expire(self, now: datetime, *, limit: int) -> int:
        """Delete at most so many that have expired; how many went."""
