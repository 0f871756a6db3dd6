"""The frames of a journal segment: how they lie in bytes, and how they are found again after damage.

A frame is a head of 16 bytes (magic, kind, three zero bytes, payload length, crc32 of all the rest), then
the payload, which is JSON text in UTF-8. The magic begins with a byte that UTF-8 never uses, so that no
payload, whatever a client sends, can hold something that reads as a frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from mmap import mmap
from typing import Final, Literal

import msgspec

try:
    from zlib_ng.zlib_ng import crc32  # the same sum in a quarter of the time
except ImportError:  # a platform without a build of it
    from zlib import crc32

MAGIC: Final = b"\xfeABJ"
HEAD_BYTES: Final = 16
FRAME_BYTES_MAX: Final = 256 * 1024 * 1024
"""`JournalWriter` refuses to write more."""

FrameKind = Literal["open", "close", "score", "span"]
"""What a frame tells: an end of a call (`OpenedCall`, `ClosedCall`), feedback on one (`Score`), or a span of
a trace (`Span`)."""

_HEAD = struct.Struct("<4sB3xI")
_WHOLE_HEAD = struct.Struct("<4sB3xII")
_CODES: Final[dict[FrameKind, int]] = {"open": 1, "close": 2, "score": 3, "span": 4}
_KINDS: Final[dict[int, FrameKind]] = {code: kind for kind, code in _CODES.items()}
_BEGINNINGS: Final[dict[FrameKind, bytes]] = {
    kind: MAGIC + code.to_bytes(4, "little") for kind, code in _CODES.items()
}
"""Magic, kind and the three zero bytes."""


class Frame(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One frame read; it lies in bytes `[start, end)` of what was read."""

    kind: FrameKind
    payload: bytes
    start: int
    end: int


class Damage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Bytes `[start, end)` that are no frame though a frame follows them: one damaged frame or several."""

    start: int
    end: int


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of bytes held. Everything in bytes `[0, end)` is accounted for by `frames` and `damaged`,
    but for a torn tail, which only a `final` reading passes over: `torn` is its length."""

    frames: tuple[Frame, ...]
    damaged: tuple[Damage, ...]
    torn: int
    end: int


def frame_head(kind: FrameKind, payload: bytes, *more: bytes) -> bytes:
    """The 16 bytes that go before a payload, which may be in pieces."""
    code = _CODES[kind]
    size = len(payload) + sum(map(len, more)) if more else len(payload)
    checksum = crc32(payload, crc32(_HEAD.pack(MAGIC, code, size)))
    for piece in more:
        checksum = crc32(piece, checksum)
    return _WHOLE_HEAD.pack(MAGIC, code, size, checksum)


def framed(texts: Iterable[tuple[FrameKind, bytes]]) -> bytes:
    """Several frames, one after another."""
    pieces: list[bytes] = []
    for kind, payload in texts:
        head = _BEGINNINGS[kind] + len(payload).to_bytes(4, "little")
        pieces += (head, crc32(payload, crc32(head)).to_bytes(4, "little"), payload)
    return b"".join(pieces)


def read_frames(
    data: bytes | mmap, *, final: bool, frames_max: int = 1000, size: int | None = None
) -> Stretch:
    """Read up to `frames_max` frames from the start of `data`, which begins where a frame begins and ends
    after `size` bytes, if that is given.

    Bytes that are no whole frame are passed over only where a whole frame with a right checksum follows
    them (then they are `damaged`), or where `final` says that nothing will ever be written after `data`
    (then they are `torn`). Otherwise reading stops before them: the rest may still be on its way.
    """
    frames: list[Frame] = []
    damaged: list[Damage] = []
    if size is None:
        size = len(data)
    at = 0
    while at < size and len(frames) < frames_max:
        frame = _frame_at(data, at, size)
        if frame is None:
            frame = _next_frame(data, at + 1, size)
            if frame is None:
                break
            damaged.append(Damage(start=at, end=frame.start))
        frames.append(frame)
        at = frame.end
    if not final or len(frames) == frames_max:
        return Stretch(frames=tuple(frames), damaged=tuple(damaged), torn=0, end=at)
    # A worker that was killed leaves the zeros that its segment had grown ahead by; they are no loss.
    torn = len(data[at:size].rstrip(b"\0"))
    return Stretch(frames=tuple(frames), damaged=tuple(damaged), torn=torn, end=size)


def _frame_at(data: bytes | mmap, at: int, size: int) -> Frame | None:
    """The whole frame that starts at `at`, if its checksum is right."""
    start = at + HEAD_BYTES
    if start > size:
        return None
    magic, code, length = _HEAD.unpack_from(data, at)
    kind = _KINDS.get(code)
    if magic != MAGIC or kind is None or start + length > size:
        return None
    payload = data[start : start + length]
    crc = crc32(payload, crc32(data[at : start - 4]))
    if crc.to_bytes(4, "little") != data[start - 4 : start]:
        return None
    return Frame(kind=kind, payload=payload, start=at, end=start + length)


def _next_frame(data: bytes | mmap, at: int, size: int) -> Frame | None:
    """The first whole frame that starts at `at` or after it."""
    while (at := data.find(MAGIC, at, size)) >= 0:
        frame = _frame_at(data, at, size)
        if frame is not None:
            return frame
        at += 1
    return None
