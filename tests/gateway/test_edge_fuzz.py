"""Requests by chance on the bare wire, honest ones before and behind them: each answer is that of its own
request, errors are clear 4xx in the route's shape, and nothing hangs."""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
import time
import zlib
from collections.abc import Callable

import pytest

from tests.gateway.edge_json import GOOD
from tests.gateway.edge_wire import AUTH, chunks, post
from tests.support.gateway import Gateway
from tests.support.wire_http import Answer, Wire, check_error

SEEDS = range(160)
QUIET_S = 0.3
"""So long nothing comes from who waits for the rest of a request."""
SLOWEST_S = 20.0
ROUTES = (*(path.encode() for path in GOOD), b"/v1/traces", b"/v1/logs", b"/v1/metrics", b"/v1/batches")
READ = (
    b"/v1/models",
    b"/v1/models/gpt-4o",
    b"/healthz",
    b"/readyz",
    b"/metrics",
    b"/v1/responses/x",
    b"/",
    b"/v1",
)
MARKED = re.compile(r"marked (\d+)\.")
Rng = random.Random


def good(number: int) -> bytes:
    """A call whose answer has the number."""
    said = "fake:" + json.dumps({"text": f"marked {number}."})
    return post(json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": said}]}).encode())


def _head(rng: Rng, path: bytes, lines: bytes = b"") -> bytes:
    return b"POST %s HTTP/1.1\r\nhost: x\r\n%s%s" % (path, rng.choice([AUTH, AUTH, AUTH, b""]), lines)


def _body(rng: Rng) -> bytes:
    route = rng.choice(list(GOOD))
    return json.dumps(GOOD[route]).encode()


def framing(rng: Rng) -> bytes:
    """Lengths and codings that two servers could read in two ways, or none can."""
    body = _body(rng)
    lengths = (
        b"%d" % len(body),
        b"0",
        b"+5",
        b"-1",
        b"0x10",
        b"5, 5",
        b"5;",
        b"1e2",
        b"",
        b" ",
        b"9" * 30,
        b"\xb2",
        b"007",
    )
    codings = (
        b"chunked",
        b"Chunked",
        b"chunked ",
        b"\tchunked",
        b"xchunked",
        b"chunked, identity",
        b"identity",
        b"gzip, chunked",
        b"chunked\x00",
        b"chunked;q=1",
        b"",
        b"chunked, chunked",
    )
    names = (
        b"transfer-encoding",
        b"Transfer-Encoding",
        b"transfer_encoding",
        b"transfer-encoding ",
        b"\ttransfer-encoding",
    )
    lines = [b"content-length: " + rng.choice(lengths) for _ in range(rng.randrange(3))]
    lines += [rng.choice(names) + b": " + rng.choice(codings) for _ in range(rng.randrange(3))]
    rng.shuffle(lines)
    end = rng.choice([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n "])
    data = rng.choice([body, chunks(body), b"0\r\n\r\n", b""])
    return _head(rng, rng.choice(ROUTES)) + b"".join(line + end for line in lines) + b"\r\n" + data


def heads(rng: Rng) -> bytes:
    """Heads that are long, many, odd or broken."""
    odd = (
        b"a: " + b"b" * rng.randrange(1, 100_000) + b"\r\n",
        b"".join(b"h%d: v\r\n" % n for n in range(rng.randrange(1, 4_000))),
        b"no colon here\r\n",
        b": no name\r\n",
        b"na me: x\r\n",
        b"nul: a\x00b\r\n",
        b"cr: a\rb\r\n",
        b"x: \xff\xfe\r\n",
        b" folded: x\r\n",
        b"x: y\r\n folded\r\n",
        b"host: y\r\n",
        b"connection: close\r\n",
        b"connection: \x7f\r\n",
        b"connection: keep-alive, upgrade\r\nupgrade: websocket\r\n",
        b"connection: upgrade\r\nupgrade: h2c\r\n",
        b"expect: 100-continue\r\n",
        b"expect: 200-ok\r\n",
        b"te: trailers\r\n",
        b"x-api-key: \r\n",
        b"authorization: Basic =\r\n",
        b"traceparent: 00-" + b"0" * 500 + b"\r\n",
        b"content-type: \x80\r\n",
        b"accept: " + b"," * 5_000 + b"\r\n",
        b"origin: null\r\n",
        b"x-request-id: ../../etc\r\n",
    )
    body = _body(rng)
    lines = b"".join(rng.sample(odd, rng.randrange(1, 4)))
    return _head(rng, rng.choice(ROUTES), lines) + b"content-length: %d\r\n\r\n" % len(body) + body


def targets(rng: Rng) -> bytes:
    """Request lines."""
    path = rng.choice(ROUTES + READ)
    target = rng.choice(
        [
            path,
            b"http://h" + path,
            b"https://h:1" + path,
            b"//h" + path,
            b"*",
            b"h:443",
            path + b"?a=\x00",
            path + b"#f",
            path + b"/",
            b"/." + path,
            b"/%2e%2e" + path,
            path.upper(),
            path + b"%00",
            path + b"\xff",
            b"\\" + path,
            b"",
            path + b"?" + b"q" * rng.randrange(80_000),
            b"http://" + path,
            b"http://[::1" + path,
        ]
    )
    method = rng.choice(
        [
            b"GET",
            b"POST",
            b"PUT",
            b"DELETE",
            b"PATCH",
            b"OPTIONS",
            b"TRACE",
            b"CONNECT",
            b"PRI",
            b"get",
            b"G\x00T",
            b"",
            b"M" * 9_000,
            b"M-SEARCH",
            b"QUERY",
        ]
    )
    version = rng.choice(
        [b"HTTP/1.1"] * 6
        + [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.10", b"http/1.1", b"", b"HTTP/1.1 x"]
    )
    space = rng.choice([b" "] * 8 + [b"  ", b"\t"])
    return method + space + target + space + version + b"\r\nhost: x\r\n" + AUTH + b"\r\n"


def chunked(rng: Rng) -> bytes:
    """Chunked bodies."""
    body = _body(rng)
    cut = rng.randrange(1, len(body))
    pieces = (body[:cut], body[cut:])
    sizes = (
        b"%x",
        b"%X",
        b"000000%x",
        b"0x%x",
        b"%x;ext=1",
        b'%x;a="\r\n"',
        b"%x ",
        b" %x",
        b"+%x",
        b"-%x",
        b"%x\x00",
        b"%x;" + b"e" * rng.randrange(90_000),
        b"fffffffffffffffff%x",
        b"%xg",
    )
    ends = (
        b"0\r\n\r\n",
        b"0\r\nx: y\r\n\r\n",
        b"0\r\ncontent-length: 9\r\n\r\n",
        b"0\r\n" + AUTH + b"\r\n",
        b"00\r\n\r\n",
        b"0\r\n" + b"t: u\r\n" * rng.randrange(9_000) + b"\r\n",
        b"0\n\n",
        b"",
        b"0\r\n",
    )
    data = chunks(*pieces, size=rng.choice(sizes), end=rng.choice(ends))
    return _head(rng, rng.choice(ROUTES)) + b"transfer-encoding: chunked\r\n\r\n" + data


def bodies(rng: Rng) -> bytes:
    """Bodies that are no JSON, or odd JSON."""
    path = rng.choice(ROUTES)
    own = GOOD.get(path.decode(), {"model": "gpt-4o"})
    name = rng.choice([*own, "x", "metadata", "tools", "stream"])
    deep = rng.choice([10, 500, 5_000, 100_000])
    value = rng.choice(
        [
            b"[" * deep + b"]" * deep,
            b'{"a":' * deep + b"1" + b"}" * deep,
            b"[" * deep,
            b'"' + b"\\" * 999,
            b"NaN",
            b"-Infinity",
            b"1e999999",
            b"-0",
            b"1" * 5_000,
            b"0.%s" % (b"1" * 5_000),
            b'"\\ud800"',
            b'"\\udc00\\ud800"',
            b'"\\u0000"',
            b'"\x00"',
            b'"\xff\xfe"',
            b'"\xed\xa0\x80"',
            b"'x'",
            b"/**/1",
            b"[1,]",
            b"{,}",
            b'{"a":1,"a":2}',
            b"nul",
            b"",
            b'"\n"',
            b"true",
            b"{" + b",".join(b'"k%d":0' % n for n in range(rng.randrange(5_000))) + b"}",
            b'"' + b"\\u0061" * 20_000 + b'"',
        ]
    )
    whole = json.dumps(own).encode()[:-1] + b',"%s":%s}' % (name.encode(), value)
    body = rng.choice(
        [
            whole,
            whole,
            whole,
            whole,
            b"\xef\xbb\xbf" + whole,
            whole.decode("latin-1").encode("utf-16"),
            whole + b"x",
            whole * 2,
            b" " * 5_000 + whole,
            b"",
            b"null",
            b"[]",
            b'""',
            b"7",
            _flipped(rng, json.dumps(own).encode()),
            b"\x00" * 100,
        ]
    )
    kind = rng.choice(
        [b"", b"content-type: application/json\r\n", b"content-type: text/plain\r\n", b"content-type: x\r\n"]
    )
    return post(body, path=path, head=AUTH + kind)


def packed(rng: Rng) -> bytes:
    """Compressed bodies, some of which are far larger than they look."""
    plain = rng.choice([_body(rng), b" " * 50_000_000, b"[" * 3_000_000, b'{"resourceSpans":[]}', b""])
    coding, data = rng.choice(
        [
            (b"gzip", gzip.compress(plain, 1)),
            (b"deflate", zlib.compress(plain, 1)),
            (b"br", plain[:99]),
            (b"zstd", b"(\xb5/\xfd"),
            (b"gzip, gzip", gzip.compress(gzip.compress(plain, 1))),
            (b"identity", plain[:999]),
            (b"gzip", plain[:999]),
            (b"gzip", gzip.compress(plain, 1)[:-9]),
        ]
    )
    kind = rng.choice([b"application/json", b"application/x-protobuf", b"text/plain"])
    lines = b"content-encoding: %s\r\ncontent-type: %s\r\n" % (coding, kind)
    return post(data, path=rng.choice(ROUTES), head=AUTH + lines)


def _flipped(rng: Rng, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(changed))
        how = rng.randrange(4)
        if how == 0:
            changed[at] = rng.randrange(256)
        elif how == 1:
            del changed[at]
        elif how == 2:
            changed.insert(at, rng.choice(b'\r\n :\x00{}[]",0'))
        else:
            changed[at:at] = changed[max(0, at - 9) : at]
    return bytes(changed)


def flipped(rng: Rng) -> bytes:
    """A good request with a few bytes changed, gone or more."""
    return _flipped(rng, rng.choice([post(), post(_body(rng), path=rng.choice(ROUTES)), good(999)]))


KINDS: tuple[Callable[[Rng], bytes], ...] = (
    framing,
    heads,
    targets,
    chunked,
    bodies,
    bodies,
    packed,
    flipped,
)
WELL_FRAMED = (bodies, packed)
"""Those behind which others are answered, or told that they are not."""


def _send(wire: Wire, rng: Rng, data: bytes) -> None:
    """All at once, or in pieces that are cut anywhere."""
    if rng.random() < 0.5:
        wire.send(data)
        return
    cuts = sorted(rng.randrange(len(data)) for _ in range(rng.randrange(1, 9)))
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        wire.send(data[start:end])


def _answers(wire: Wire, expected: int) -> list[Answer]:
    """What comes, up to the end of the connection or until nothing does."""
    found: list[Answer] = []
    while True:
        wire.socket.settimeout(SLOWEST_S if len(found) < expected else QUIET_S)
        try:
            answer = wire.answer()
        except TimeoutError:
            assert len(found) >= expected, f"{len(found)} answers of {expected}"
            return found
        if answer is None:
            return found
        if answer.status != 100:
            found.append(answer)


def _check(answer: Answer, data: bytes) -> None:
    """No error is of the server's making, and each has a shape that is its route's."""
    assert answer.status < 500, answer
    if answer.status < 400 or answer.headers["content-type"] == "application/x-protobuf":
        return
    said = answer.json()
    if "code" in said:  # OTLP's, which has ours within
        assert set(said) == {"code", "message", "error"}, said
        answer = Answer(answer.status, answer.headers, json.dumps({"error": said["error"]}).encode())
    anthropic = set(said) == {"type", "error"}
    assert not anthropic or b"/v1/messages" in data
    check_error(answer, anthropic=anthropic)


def run(port: int, seed: int) -> str:
    """One connection. Returns the kind of what was sent."""
    rng = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    before, behind = rng.randrange(3), rng.randrange(3)
    bad = kind(rng)
    data = b"".join(map(good, range(before))) + bad + b"".join(good(10 + number) for number in range(behind))
    began = time.monotonic()
    with Wire(port, SLOWEST_S) as wire:
        _send(wire, rng, data)
        gone = rng.random() < 0.2
        if gone:
            wire.socket.shutdown(socket.SHUT_WR)  # what it sent may stay without an answer
            before = 0
        framed = kind in WELL_FRAMED and not gone
        answers = _answers(wire, before + 1 + behind if framed else before)
    assert time.monotonic() - began < 2 * SLOWEST_S
    if framed:
        assert len(answers) == before + 1 + behind or answers[-1].closes
    marks = []
    for answer in answers:
        _check(answer, data)
        marks += [int(mark) for mark in MARKED.findall(answer.body.decode())]
    assert marks[:before] == list(range(before))
    assert marks == sorted(set(marks))
    return kind.__name__


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_comes(gateway: Gateway, seed: int) -> None:
    """No answer is of the server's making or of another request, and the next call is served."""
    run(gateway.port, seed)
    if seed % 10 == 9:
        with Wire(gateway.port) as wire:
            wire.send(good(7))
            answer = wire.answer()
            assert answer is not None
            assert "marked 7." in answer.body.decode()
        assert "Traceback" not in gateway.log
        assert gateway.process.poll() is None
