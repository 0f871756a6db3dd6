"""A head that a connection has sent before: clients send the same one with every request, but for its length.

What llhttp has read once need not be read again byte by byte. Pure.
"""

from __future__ import annotations

import re
from typing import Final

HEAD_BYTES_KEPT: Final = 4096
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([0-9]{1,9})\r\n")


class KnownHead:
    """The head of a request that llhttp has read, without its content-length's digits."""

    __slots__ = ("_after", "_before", "_digits_at")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before = before
        self._after = after
        self._digits_at = len(before)

    def body_at(self, data: bytes) -> int:
        """Where the body begins in `data`, if that is just one request with this head; else -1."""
        if not data.startswith(self._before):
            return -1
        at = self._digits_at
        end = data.find(b"\r", at, at + 10)
        if end < 0 or not data.startswith(self._after, end):
            return -1
        start = end + len(self._after)
        return start if data[at:end] == b"%d" % (len(data) - start) else -1


def known_head(data: bytes, body: bytes) -> KnownHead | None:
    """The head of a request that llhttp has found to be all of `data`, with this body; None where it is long,
    or does not give its body's length."""
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_KEPT) + 4
    if end != len(data) - len(body):
        return None
    found = _LENGTH.search(data, 0, end)
    if found is None or int(found[1]) != len(body):
        return None
    return KnownHead(data[: found.start(1)], data[found.end(1) : end])
