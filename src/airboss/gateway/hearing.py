"""What a client is told, heard on its way there."""

from __future__ import annotations

from typing import Final

from airboss.gateway.replay import whole_of
from airboss.gateway.spoken import DONE, Between, Client

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""A longer answer is not kept."""


class Hearing(Between):
    """A client, and what it was told."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._pieces: list[bytes] = []
        self._size = 0
        self._streamed = self._ended = False

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Send a whole response."""
        self._client.respond(status, headers, body)
        if status == 200:
            self._hear(body)
            self._ended = True

    def start_stream(self, status: int, headers: bytes, first: bytes) -> None:
        """Begin a stream."""
        self._streamed = True
        self._hear(first)
        self._client.start_stream(status, headers, first)

    def stream(self, data: bytes) -> None:
        """Send a piece of it."""
        self._hear(data)
        self._client.stream(data)

    def end_stream(self, last: bytes) -> None:
        """End it."""
        self._ended = last == DONE
        self._client.end_stream(last)

    def _hear(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= 4 * ANSWER_BYTES_MAX:  # events are longer than what they say
            self._pieces.append(data)
        else:
            self._pieces.clear()

    def whole(self) -> bytes | None:
        """The whole answer that it got; None where it got none, or too long a one."""
        if not self._ended or not self._pieces:
            return None
        said = b"".join(self._pieces)
        return whole_of(said) if self._streamed else said
