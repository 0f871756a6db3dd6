"""Frames come back as they were written, and nothing but them does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.telemetry.frames import (
    HEAD_BYTES,
    MAGIC,
    FrameKind,
    frame_head,
    read_frames,
)

KINDS = st.sampled_from(["open", "close"])
PAYLOADS = st.text(max_size=60).map(lambda text: text.encode(errors="ignore"))
FRAMES = st.lists(st.tuples(KINDS, PAYLOADS), max_size=6)

Told = list[tuple[FrameKind, bytes]]


def written(frames: Told) -> bytes:
    """The bytes of these frames, one after another."""
    return b"".join(frame_head(kind, payload) + payload for kind, payload in frames)


def told(data: bytes, *, final: bool = False) -> Told:
    """What is read from these bytes."""
    return [(frame.kind, frame.payload) for frame in read_frames(data, final=final).frames]


@given(FRAMES)
def test_frames_come_back_as_they_were_written(frames: Told) -> None:
    """Kinds and payloads in order, whatever the text, and not a byte left over."""
    data = written(frames)
    stretch = read_frames(data, final=False)
    assert [(frame.kind, frame.payload) for frame in stretch.frames] == frames
    assert (stretch.end, stretch.torn, stretch.damaged) == (len(data), 0, ())


@given(FRAMES, st.tuples(KINDS, PAYLOADS), st.data())
def test_a_torn_tail_waits_for_the_rest(
    frames: Told, last: tuple[FrameKind, bytes], data: st.DataObject
) -> None:
    """Cut anywhere in the last frame, reading stops before it; with the rest written it is read."""
    whole, tail = written(frames), written([last])
    cut = data.draw(st.integers(0, len(tail) - 1))
    stretch = read_frames(whole + tail[:cut], final=False)
    assert [(frame.kind, frame.payload) for frame in stretch.frames] == frames
    assert stretch.end == len(whole)
    assert told((whole + tail)[stretch.end :]) == [last]


@given(FRAMES, st.tuples(KINDS, PAYLOADS), st.data())
def test_a_torn_tail_that_stays_is_passed_over(
    frames: Told, last: tuple[FrameKind, bytes], data: st.DataObject
) -> None:
    """Where nothing will be added, the end is reached and what was torn is told."""
    whole, tail = written(frames), written([last])
    cut = data.draw(st.integers(0, len(tail) - 1))
    stretch = read_frames(whole + tail[:cut], final=True)
    assert [(frame.kind, frame.payload) for frame in stretch.frames] == frames
    torn = len(tail[:cut].rstrip(b"\0"))  # zeros at the end are room, not a frame cut off
    assert (stretch.end, stretch.torn, stretch.damaged) == (len(whole) + cut, torn, ())


@given(FRAMES.filter(bool), FRAMES.filter(bool), st.binary(min_size=1, max_size=80))
def test_rubbish_between_frames_is_counted(before: Told, after: Told, rubbish: bytes) -> None:
    """Bytes that are no frame cost nothing but themselves, and are told: never passed over in silence."""
    data = written(before) + rubbish + written(after)
    stretch = read_frames(data, final=False)
    assert [(frame.kind, frame.payload) for frame in stretch.frames] == before + after
    (damage,) = stretch.damaged
    assert (damage.start, damage.end) == (len(written(before)), len(written(before)) + len(rubbish))
    assert stretch.end == len(data)


@given(FRAMES.filter(lambda frames: len(frames) > 1), st.data())
def test_one_wrong_bit_costs_one_frame(frames: Told, data: st.DataObject) -> None:
    """Damage to any byte of any frame but the last is noticed, and all other frames are read."""
    hit = data.draw(st.integers(0, len(frames) - 2))
    start, end = len(written(frames[:hit])), len(written(frames[: hit + 1]))
    at = data.draw(st.integers(start, end - 1))
    bit = data.draw(st.integers(0, 7))
    damaged = bytearray(written(frames))
    damaged[at] ^= 1 << bit
    stretch = read_frames(bytes(damaged), final=False)
    assert [(frame.kind, frame.payload) for frame in stretch.frames] == frames[:hit] + frames[hit + 1 :]
    assert [(each.start, each.end) for each in stretch.damaged] == [(start, end)]


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_can_be_read(data: bytes, final: bool) -> None:
    """Reading never fails and never goes beyond the end; a final reading reaches it."""
    stretch = read_frames(data, final=final)
    assert 0 <= stretch.end <= len(data)
    assert not final or stretch.end == len(data)


@given(st.lists(st.sampled_from([MAGIC, frame_head("open", b"{}"), b"{}", b"\x00", MAGIC[:2]]), max_size=30))
def test_heads_without_end_are_no_trap(pieces: list[bytes]) -> None:
    """However magic and heads are strewn about, reading ends, and accounts for every byte."""
    data = b"".join(pieces)
    stretch = read_frames(data, final=True)
    counted = sum(frame.end - frame.start for frame in stretch.frames)
    counted += sum(damage.end - damage.start for damage in stretch.damaged)
    room = len(data) - len(data.rstrip(b"\0"))
    assert len(data) - room <= counted + stretch.torn <= len(data)


def test_no_text_can_hold_a_frame() -> None:
    """The magic begins with a byte that UTF-8 never uses."""
    with pytest.raises(UnicodeDecodeError):
        MAGIC[:1].decode()
    assert len(frame_head("open", b"")) == HEAD_BYTES


def test_reading_stops_after_as_many_frames_as_asked_for() -> None:
    """The rest is for the next reading, even in a final one."""
    frames: Told = [("open", b"1"), ("close", b"2"), ("open", b"3")]
    data = written(frames)
    stretch = read_frames(data + b"torn", final=True, frames_max=2)
    assert len(stretch.frames) == 2
    assert (stretch.end, stretch.torn) == (len(written(frames[:2])), 0)
    assert told(data[stretch.end :]) == frames[2:]


@given(FRAMES, FRAMES, st.data())
def test_what_lies_beyond_the_size_is_not_read(frames: Told, old: Told, data: st.DataObject) -> None:
    """A buffer that is read into again ends in what it held before, which may well be frames."""
    new, held = written(frames) + MAGIC[: data.draw(st.integers(0, 4))], written(old)
    beyond = held[data.draw(st.integers(0, len(held))) :]
    for final in (False, True):
        assert read_frames(new + beyond, final=final, size=len(new)) == read_frames(new, final=final)


def test_a_length_beyond_the_end_is_damage_once_a_frame_follows() -> None:
    """A head that claims more than any frame has does not make the reader wait for it."""
    head = MAGIC + b"\x01\x00\x00\x00" + b"\xff\xff\xff\xff" + b"\x00" * 4
    stretch = read_frames(head + written([("open", b"{}")]), final=False)
    assert len(stretch.frames) == 1
    assert len(stretch.damaged) == 1
