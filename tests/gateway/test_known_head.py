"""A head that is known is found again, and nothing else is taken for it."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from airboss.gateway.known_head import HEAD_BYTES_KEPT, known_head

_ZEROS = re.compile(rb"(Length: )0+(?=[0-9])")
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nContent-Length: %d\r\naccept: */*\r\n\r\n"
bodies = st.binary(max_size=200) | st.sampled_from(
    [b"\r\n\r\n", b"\r\n\r\nx", b"GET / HTTP/1.1\r\n\r\n", b"content-length: 3\r\n\r\n"]
)


def request(body: bytes) -> bytes:
    """A whole request."""
    return HEAD % len(body) + body


@given(bodies, bodies)
def test_the_same_head_with_another_body(first: bytes, second: bytes) -> None:
    """Of the same head only the length may differ, and that says where the body ends."""
    known = known_head(request(first), first)
    assert known is not None
    data = request(second)
    start = known.body_at(data)
    assert data[start:] == second
    assert start == len(data) - len(second)


@given(bodies, bodies, st.data())
def test_anything_else_is_read_anew(first: bytes, second: bytes, data: st.DataObject) -> None:
    """A byte more, a byte less or another byte in the head: not known."""
    known = known_head(request(first), first)
    assert known is not None
    whole = request(second)
    end = len(whole) - len(second)
    at = data.draw(st.integers(0, end - 1))
    other = data.draw(st.integers(0, 255).map(lambda n: bytes([n])))
    for changed in (
        whole + other,
        whole[:-1],
        whole[:at] + whole[at + 1 :],
        whole[:at] + other + whole[at:],
        whole[:at] + other + whole[at + 1 :] if other != whole[at : at + 1] else b"",
    ):
        start = known.body_at(changed)
        if start >= 0:  # only the length may have changed, and it is true
            told = _ZEROS.sub(rb"\1", changed[:start])
            assert told == HEAD % (len(changed) - start)


def test_lengths_that_are_not_plain() -> None:
    """What another reader could take for another length is read by llhttp."""
    known = known_head(request(b"12345"), b"12345")
    assert known is not None
    for length in (b"+5", b" 5", b"5 ", b"0x5", b"5,5", b"", b"-5", b"\xb2", b"1" * 20):
        assert known.body_at(HEAD.replace(b"%d", length) + b"12345") == -1


def test_heads_that_are_not_kept() -> None:
    """A long one, one without a length, one behind which something else came."""
    assert known_head(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"") is None
    assert known_head(request(b"12345") + b"\r\n", b"12345") is None
    assert known_head(request(b"\r\n345") + b"\r\n", b"\r\n345") is None
    long = HEAD.replace(b"*/*", b"a" * HEAD_BYTES_KEPT)
    assert known_head(long % 5 + b"12345", b"12345") is None
    chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    assert known_head(chunked + b"2\r\n{}\r\n0\r\n\r\n", b"{}") is None
