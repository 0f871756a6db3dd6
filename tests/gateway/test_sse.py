"""A stream's events are the same however it is cut, and no byte of it is changed."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import UpstreamFailed
from airboss.domain.plan import Target
from airboss.gateway import sse
from airboss.gateway.sse import Splitter, event_data
from airboss.gateway.translated import Translation
from airboss.providers.chat_answer import encode
from airboss.providers.dialects import foreign

endings = st.sampled_from([b"\n", b"\r\n", b"\r"])
lines = st.sampled_from([b"data: {}", b"data:x", b": ping", b"event: a", b"", b"data: \xc3\xa9", b"d"])
streams = st.lists(st.tuples(lines, endings), max_size=30).map(lambda ls: b"".join(a + b for a, b in ls))


def _feed(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = Splitter()
    events = [event for piece in pieces for event in splitter.feed(piece)]
    return events, splitter.rest


@given(streams, st.lists(st.integers(0, 200), max_size=12))
def test_cutting_never_changes_the_events(stream: bytes, cuts: list[int]) -> None:
    """Any cutting gives the events of the whole, up to one still waiting for its line's end."""
    places = sorted({min(c, len(stream)) for c in cuts} | {0, len(stream)})
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    whole, whole_rest = _feed([stream])
    events, rest = _feed(pieces)
    assert b"".join(events) + rest == stream
    assert events == whole
    assert rest == whole_rest


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda b: b"\n" not in b and b"\r" not in b)))
def test_every_event_comes_out(payloads: list[bytes]) -> None:
    """One event in, one event out, one byte at a time, and its data is what was put in."""
    stream = b"".join(b"data: %s\n\n" % p for p in payloads)
    events, rest = _feed([stream[i : i + 1] for i in range(len(stream))])
    assert [event_data(event) for event in events] == payloads
    assert rest == b""


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\r\n\r\n", b"a"),
        (b"event: x\ndata: a\ndata: b\n\n", b"a\nb"),
        (b": ping\n\n", None),
        (b"data\n\n", b""),
        (b"id: 1\n\n", None),
    ],
)
def test_event_data(event: bytes, data: bytes | None) -> None:
    """Data lines are joined; comments and other fields are not data."""
    assert event_data(event) == data


def test_event_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that never ends is refused, not kept for ever."""
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 1000)
    splitter = Splitter()
    splitter.feed(b"data: " + b"x" * 900)
    with pytest.raises(UpstreamFailed, match="1000 bytes"):
        splitter.feed(b"x" * 100)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_a_long_event_in_many_pieces_takes_the_time_of_reading_it(end: bytes) -> None:
    """However much of it waits, a piece costs the same; and so do its lines."""
    line = end[: len(end) // 2]
    began = time.process_time()
    splitter = Splitter()
    assert splitter.feed(b"data: " + b"x" * (4 << 20)) == []
    for _ in range(300):
        assert splitter.feed(b"y") == []
        assert splitter.feed(line + b"data: z") == []
    pieces = [splitter.feed(end[at : at + 1]) for at in range(len(end))]
    pieces.append(splitter.feed(b"data: next"))
    (event,) = itertools.chain(*pieces)
    assert time.process_time() - began < 2
    assert event.endswith(b"zy" + line + b"data: z" + end)
    assert splitter.rest == b"data: next"


SAID: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 3}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "One two."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_a_last_event_of_another_dialect_lacks_its_blank_line(cut: int) -> None:
    """Where the rest of it is there the answer has ended; else it has not."""
    stream = b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), encode(e)) for e in SAID)
    target = Target(
        provider="a", kind="anthropic", base_urls=("http://127.0.0.1",), upstream_model="c",
    )  # fmt: skip
    asked = b'{"model":"c","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
    translation = Translation(foreign(asked, target, "chat"), status=200, created=1)
    said = translation.feed(stream[: len(stream) - cut]) + translation.end()
    assert b"One two." in said
    assert said.endswith(b"data: [DONE]\n\n") == (cut < 3)
