"""Requests that no honest client sends, each with the statuses that are a right answer to it."""

from __future__ import annotations

import json

from tests.support.gateway import KEY

AUTH = f"authorization: Bearer {KEY}\r\n".encode()
CHAT = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}).encode()
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
"""Where it is answered by itself, a request was read in two ways."""

BAD = frozenset({400})
GONE = frozenset({404})
WELL = frozenset({200})
WRONG_METHOD = frozenset({405})
TOO_LARGE = frozenset({431})

Case = tuple[bytes, frozenset[int]]


def post(body: bytes = CHAT, *, head: bytes = AUTH, path: bytes = b"/v1/chat/completions") -> bytes:
    """A POST whose length is told truly."""
    return b"POST %s HTTP/1.1\r\nhost: x\r\n%scontent-length: %d\r\n\r\n%s" % (path, head, len(body), body)


def framed(lines: bytes, body: bytes = b"", *, path: bytes = b"/v1/chat/completions") -> bytes:
    """A POST with the key, whose framing is told by `lines`."""
    return b"POST %s HTTP/1.1\r\nhost: x\r\n%s%s\r\n%s" % (path, AUTH, lines, body)


def get(lines: bytes = b"", *, target: bytes = b"/v1/models", method: bytes = b"GET") -> bytes:
    """A request without a body, with the key and `lines`."""
    return b"%s %s HTTP/1.1\r\nhost: x\r\n%s%s\r\n" % (method, target, AUTH, lines)


def chunks(*pieces: bytes, size: bytes = b"%x", end: bytes = b"0\r\n\r\n") -> bytes:
    """A chunked body."""
    return b"".join(size % len(piece) + b"\r\n" + piece + b"\r\n" for piece in pieces) + end


CHUNKED = b"transfer-encoding: chunked\r\n"
N = len(CHAT)
LENGTH = b"content-length: %d\r\n" % N

FRAMING: dict[str, Case] = {
    "length then chunked": (framed(LENGTH + CHUNKED, chunks(CHAT) + SMUGGLED), BAD),
    "chunked then length": (framed(CHUNKED + LENGTH, chunks(CHAT) + SMUGGLED), BAD),
    "length 0 and chunked": (framed(b"content-length: 0\r\n" + CHUNKED, chunks(CHAT) + SMUGGLED), BAD),
    "length of the smuggled": (framed(b"content-length: 4\r\n" + CHUNKED, b"0\r\n\r\n" + SMUGGLED), BAD),
    "two lengths, one value": (framed(LENGTH + LENGTH, CHAT), BAD),
    "two lengths, two values": (framed(LENGTH + b"content-length: 0\r\n", CHAT + SMUGGLED), BAD),
    "two lengths, other case": (framed(LENGTH + b"Content-LENGTH: 5\r\n", CHAT), BAD),
    "length as a list": (framed(b"content-length: %d, %d\r\n" % (N, N), CHAT), BAD),
    "length with a plus": (framed(b"content-length: +%d\r\n" % N, CHAT), BAD),
    "length with a minus": (framed(b"content-length: -%d\r\n" % N, CHAT), BAD),
    "length of minus 0": (framed(b"content-length: -0\r\n", SMUGGLED), BAD),
    "length in hex": (framed(b"content-length: 0x%x\r\n" % N, CHAT), BAD),
    "length with underscore": (framed(b"content-length: 1_0\r\n", CHAT), BAD),
    "length with a point": (framed(b"content-length: %d.0\r\n" % N, CHAT), BAD),
    "length with an exponent": (framed(b"content-length: 1e2\r\n", CHAT), BAD),
    "length in quotes": (framed(b'content-length: "%d"\r\n' % N, CHAT), BAD),
    "length with a space in it": (framed(b"content-length: 1 0\r\n", CHAT), BAD),
    "length of nothing": (framed(b"content-length:\r\n", CHAT), BAD),
    "length of a word": (framed(b"content-length: many\r\n", CHAT), BAD),
    "length in other digits": (framed("content-length: \u0661\u0660\r\n".encode(), CHAT), BAD),
    "length past 64 bits": (framed(b"content-length: 18446744073709551617\r\n", CHAT), BAD),
    "length of 40 digits": (framed(b"content-length: " + b"9" * 40 + b"\r\n"), BAD),
    "length of 12 digits": (framed(b"content-length: 999999999999\r\n"), frozenset({413})),
    "length just over": (framed(b"content-length: %d\r\n" % (32 * 2**20 + 1)), frozenset({413})),
    "length with zeros before": (framed(b"content-length: 000%d\r\n" % N, CHAT), WELL | BAD),
    "length: space before colon": (framed(b"content-length : %d\r\n" % N, CHAT), BAD),
    "length: tab before colon": (framed(b"content-length\t: %d\r\n" % N, CHAT), BAD),
    "chunked: space before colon": (framed(b"transfer-encoding : chunked\r\n", chunks(CHAT)), BAD),
    "chunked: vertical tab": (framed(b"transfer-encoding: \x0bchunked\r\n", chunks(CHAT)), BAD),
    "chunked: nul": (framed(b"transfer-encoding: chunked\x00\r\n", chunks(CHAT)), BAD),
    "chunked twice": (framed(CHUNKED + CHUNKED, chunks(CHAT)), BAD),
    "chunked, chunked": (framed(b"transfer-encoding: chunked, chunked\r\n", chunks(CHAT)), BAD),
    "chunked, identity": (framed(b"transfer-encoding: chunked, identity\r\n", chunks(CHAT)), BAD),
    "identity alone": (framed(b"transfer-encoding: identity\r\n" + LENGTH, CHAT), BAD),
    "identity, chunked": (framed(b"transfer-encoding: identity, chunked\r\n", chunks(CHAT)), BAD),
    "gzip, chunked": (framed(b"transfer-encoding: gzip, chunked\r\n", chunks(CHAT)), BAD | {415}),
    "xchunked": (framed(b"transfer-encoding: xchunked\r\n", chunks(CHAT)), BAD),
    "chunkedx": (framed(b"transfer-encoding: chunkedx\r\n", chunks(CHAT)), BAD),
    "chunked in quotes": (framed(b'transfer-encoding: "chunked"\r\n', chunks(CHAT)), BAD),
    "chunked;q=1": (framed(b"transfer-encoding: chunked;q=1\r\n", chunks(CHAT)), BAD),
    "transfer-encoding of nothing": (framed(b"transfer-encoding:\r\n", chunks(CHAT)), BAD),
    "CHUNKED": (framed(b"Transfer-Encoding: CHUNKED\r\n", chunks(CHAT)), WELL),
    "chunked on 1.0": (
        framed(CHUNKED, chunks(CHAT)).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        BAD,
    ),
    "chunk size of a word": (framed(CHUNKED, b"zz\r\n"), BAD),
    "chunk size of nothing": (framed(CHUNKED, b"\r\n" + chunks(CHAT)), BAD),
    "chunk size with a minus": (framed(CHUNKED, chunks(CHAT, size=b"-%x")), BAD),
    "chunk size with a plus": (framed(CHUNKED, chunks(CHAT, size=b"+%x")), BAD),
    "chunk size with 0x": (framed(CHUNKED, chunks(CHAT, size=b"0x%x")), BAD),
    "chunk size with a space before": (framed(CHUNKED, chunks(CHAT, size=b" %x")), BAD),
    "chunk size with a space after": (framed(CHUNKED, chunks(CHAT, size=b"%x ")), BAD),
    "chunk size with underscore": (framed(CHUNKED, chunks(CHAT, size=b"0_%x")), BAD),
    "chunk size past 64 bits": (framed(CHUNKED, b"fffffffffffffffff\r\n"), BAD),
    "chunk of 8 GiB": (framed(CHUNKED, b"200000000\r\n" + b"x" * 34_000_000), frozenset({413})),
    "chunk sizes with zeros before": (framed(CHUNKED, chunks(CHAT, size=b"0000%x")), WELL | BAD),
    "chunk size with bare line feed": (framed(CHUNKED, b"%x\n%s\r\n0\r\n\r\n" % (N, CHAT)), BAD),
    "chunk size with bare return": (framed(CHUNKED, b"%x\r%s\r\n0\r\n\r\n" % (N, CHAT)), BAD),
    "chunk longer than its size": (framed(CHUNKED, b"5\r\n%s\r\n0\r\n\r\n" % CHAT), BAD),
    "chunk that ends in a line feed": (framed(CHUNKED, b"%x\r\n%s\n0\r\n\r\n" % (N, CHAT)), BAD),
    "chunk that ends in XX": (framed(CHUNKED, b"%x\r\n%sXX0\r\n\r\n" % (N, CHAT)), BAD),
    "chunk extension": (framed(CHUNKED, chunks(CHAT, size=b"%x;a=b")), WELL | BAD),
    "chunk extension in quotes": (framed(CHUNKED, chunks(CHAT, size=b'%x;a="b;c"')), WELL | BAD),
    "chunk extension with blanks": (framed(CHUNKED, chunks(CHAT, size=b"%x; a = b")), BAD),
    "chunk extension with a line feed": (framed(CHUNKED, chunks(CHAT, size=b"%x;a\nb")), BAD),
    "chunk extension with a return": (framed(CHUNKED, chunks(CHAT, size=b"%x;a\rb")), BAD),
    "chunk extension with nul": (framed(CHUNKED, chunks(CHAT, size=b"%x;\x00")), BAD),
    "chunk extension of 1 MB": (framed(CHUNKED, b"5;" + b"a" * 1_000_000 + b"\r\n"), TOO_LARGE),
    "100,000 chunks of 1 byte": (
        framed(CHUNKED, chunks(*[b" "] * 100_000, end=chunks(CHAT))),
        WELL,
    ),
    "last chunk of 00": (framed(CHUNKED, chunks(CHAT, end=b"00\r\n\r\n")), WELL | BAD),
    "last chunk with a line feed": (framed(CHUNKED, chunks(CHAT, end=b"0\n\r\n")), BAD),
    "trailers": (framed(CHUNKED, chunks(CHAT, end=b"0\r\nx-more: 1\r\n\r\n")), WELL),
    "trailer with a second length": (
        framed(CHUNKED, chunks(CHAT, end=b"0\r\ncontent-length: 5\r\n\r\n") + b""),
        WELL | BAD,
    ),
    "trailer with the key": (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
        + CHUNKED
        + b"\r\n"
        + chunks(CHAT, end=b"0\r\n" + AUTH + b"\r\n"),
        frozenset({401}),
    ),
    "trailer with a space before colon": (framed(CHUNKED, chunks(CHAT, end=b"0\r\na : b\r\n\r\n")), BAD),
    "trailer of 1 MB": (framed(CHUNKED, chunks(CHAT, end=b"0\r\na: " + b"b" * 1_000_000)), TOO_LARGE),
    "200,000 trailers": (
        framed(CHUNKED, chunks(CHAT, end=b"0\r\n" + b"a: b\r\n" * 200_000 + b"\r\n")),
        TOO_LARGE,
    ),
    "trailer of another host": (framed(CHUNKED, chunks(CHAT, end=b"0\r\nhost: y\r\n\r\n")), WELL),
    "GET with a smuggled length": (get(b"content-length: %d\r\n" % len(SMUGGLED)) + SMUGGLED, WELL | BAD),
    "GET with chunks": (get(CHUNKED) + chunks(CHAT), WELL | BAD),
}
"""Where does this request end?"""

_FOLD = b"x-a: b\r\n c\r\n"
HEADS: dict[str, Case] = {
    "no http": (b"hello\r\n\r\n", BAD),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50, BAD),
    "ssh": (b"SSH-2.0-OpenSSH_9.9\r\n", BAD),
    "proxy protocol": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get(), BAD),
    "proxy protocol 2": (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"\x00" * 12, BAD),
    "http 2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD),
    "http 2 frames": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", BAD),
    "http 0.9": (b"GET /healthz\r\n\r\n", BAD),
    "http 0.9 with a version": (b"GET /healthz HTTP/0.9\r\nhost: x\r\n\r\n", BAD),
    "http 1.2": (b"GET /healthz HTTP/1.2\r\nhost: x\r\n\r\n", BAD | {505}),
    "http 9.9": (b"GET /healthz HTTP/9.9\r\nhost: x\r\n\r\n", BAD),
    "http 1": (b"GET /healthz HTTP/1\r\nhost: x\r\n\r\n", BAD),
    "http 1.10": (b"GET /healthz HTTP/1.10\r\nhost: x\r\n\r\n", BAD),
    "lower case http": (b"GET /healthz http/1.1\r\nhost: x\r\n\r\n", BAD),
    "rtsp": (b"OPTIONS * RTSP/1.0\r\nhost: x\r\n\r\n", BAD | GONE),
    "icecast": (b"SOURCE / ICE/1.0\r\nhost: x\r\n\r\n", BAD | GONE),
    "no version": (b"GET /healthz \r\nhost: x\r\n\r\n", BAD),
    "no target": (b"GET  HTTP/1.1\r\nhost: x\r\n\r\n", BAD),
    "two spaces": (b"GET  /healthz HTTP/1.1\r\nhost: x\r\n\r\n", BAD | WELL),
    "a tab for a space": (b"GET\t/healthz\tHTTP/1.1\r\nhost: x\r\n\r\n", BAD),
    "a space in the target": (b"GET /health z HTTP/1.1\r\nhost: x\r\n\r\n", BAD),
    "more after the version": (b"GET /healthz HTTP/1.1 x\r\nhost: x\r\n\r\n", BAD),
    "space before the method": (b" GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", BAD),
    "lower case method": (b"get /healthz HTTP/1.1\r\nhost: x\r\n\r\n", BAD),
    "unknown method": (b"BREW / HTTP/1.1\r\nhost: x\r\n\r\n", BAD),
    "method of 100 KB": (b"G" * 100_000 + b" / HTTP/1.1\r\nhost: x\r\n\r\n", BAD | TOO_LARGE),
    "nul in the method": (b"G\x00T / HTTP/1.1\r\nhost: x\r\n\r\n", BAD),
    "nul in the target": (get(target=b"/v1/\x00models"), BAD),
    "control in the target": (get(target=b"/v1/\x01models"), BAD | GONE),
    "delete in the target": (get(target=b"/v1/\x7fmodels"), BAD | GONE),
    "bytes in the target": (get(target=b"/v1/\xff\xfe"), BAD | GONE),
    "emoji in the target": (get(target="/v1/😀".encode()), BAD | GONE),
    "bare line feeds": (b"GET /healthz HTTP/1.1\nhost: x\n\n", BAD),
    "bare line feed after the request line": (b"GET /healthz HTTP/1.1\nhost: x\r\n\r\n", BAD),
    "bare line feed after a header": (b"GET /healthz HTTP/1.1\r\nhost: x\n\r\n", BAD),
    "bare line feed at the end": (b"GET /healthz HTTP/1.1\r\nhost: x\r\n\n", BAD),
    "bare return in a value": (get(b"x-a: b\rc\r\n"), BAD),
    "bare return in a name": (get(b"x\r-a: b\r\n"), BAD),
    "bare return after the request line": (b"GET /healthz HTTP/1.1\rhost: x\r\n\r\n", BAD),
    "return, return, line feed": (get(b"x-a: b\r\r\n"), BAD),
    "folded": (get(_FOLD), BAD),
    "folded with a tab": (get(b"x-a: b\r\n\tc\r\n"), BAD),
    "folded length": (framed(b"content-length:\r\n %d\r\n" % N, CHAT), BAD),
    "folded first header": (b"GET /healthz HTTP/1.1\r\n host: x\r\n\r\n", BAD),
    "nul in a value": (get(b"x-a: b\x00c\r\n"), BAD),
    "nul in a name": (get(b"x\x00a: b\r\n"), BAD),
    "control in a value": (get(b"x-a: b\x01c\r\n"), BAD | WELL),
    "space before colon": (get(b"x-a : b\r\n"), BAD),
    "space in a name": (get(b"x a: b\r\n"), BAD),
    "colon alone": (get(b":\r\n"), BAD),
    "name alone": (get(b"x-a\r\n"), BAD),
    "empty name": (get(b": b\r\n"), BAD),
    "bytes in a name": (get(b"x-\xff: b\r\n"), BAD),
    "quotes in a name": (get(b'"x": b\r\n'), BAD),
    "bytes in a value": (get(b"x-a: \xff\xfe\r\n"), WELL),
    "empty value": (get(b"x-a:\r\n"), WELL),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", BAD),
    "two hosts": (get(b"host: y\r\n"), BAD),
    "two hosts, other case": (get(b"HOST: x\r\n"), BAD),
    "two keys": (get(AUTH), BAD),
    "two x-api-keys": (get(b"x-api-key: a\r\nX-Api-Key: b\r\n"), BAD),
    "two content types": (
        post(head=AUTH + b"content-type: application/json\r\ncontent-type: text/plain\r\n"),
        BAD,
    ),
    "two content encodings": (
        post(head=AUTH + b"content-encoding: gzip\r\ncontent-encoding: identity\r\n"),
        BAD,
    ),
    "header of 100 KB": (get(b"x-a: " + b"b" * 100_000 + b"\r\n"), TOO_LARGE),
    "header of 4 MB without an end": (get(b"x-a: " + b"b" * 4_000_000)[:-4], TOO_LARGE),
    "name of 100 KB": (get(b"b" * 100_000 + b": x\r\n"), TOO_LARGE),
    "cookie of 100 KB": (get(b"cookie: " + b"a=b; " * 20_000 + b"\r\n"), TOO_LARGE),
    "key of 60 KB": (
        get(b"").replace(AUTH, b"authorization: Bearer " + b"k" * 60_000 + b"\r\n"),
        frozenset({401}),
    ),
    "20,000 headers": (get(b"a: b\r\n" * 20_000), TOO_LARGE),
    "20,000 other headers": (get(b"".join(b"a%d: b\r\n" % i for i in range(20_000))), TOO_LARGE),
    "5,000 empty headers": (get(b"a:\r\n" * 5_000), TOO_LARGE),
    "target of 100 KB": (get(target=b"/" + b"a" * 100_000), TOO_LARGE),
    "query of 100 KB": (get(target=b"/v1/models?" + b"a" * 100_000), TOO_LARGE),
    "target of 4 MB without an end": (b"GET /" + b"a" * 4_000_000, TOO_LARGE),
    "10,000 line feeds": (b"\r\n" * 10_000 + get(), WELL | BAD),
    "upgrade to websocket": (
        get(b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n"),
        WELL,
    ),
    "upgrade to h2c": (
        get(b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"),
        WELL,
    ),
    "upgrade with a body": (post(head=AUTH + b"connection: upgrade\r\nupgrade: h2c\r\n"), WELL),
    "expect of something else": (post(head=AUTH + b"expect: 200-ok\r\n"), WELL | {417}),
    "connection: close": (get(b"connection: close\r\n"), WELL),
    "connection names the key": (get(b"connection: authorization\r\n"), WELL),
    "te: trailers": (get(b"te: trailers\r\n"), WELL),
}
"""Heads that are no heads, or too much of one."""

TARGETS: dict[str, Case] = {
    "absolute": (get(target=b"http://example.com/v1/models"), WELL),
    "absolute with https": (get(target=b"https://example.com/v1/models?x=1"), WELL),
    "absolute without a path": (get(target=b"http://example.com"), GONE),
    "absolute with a user": (get(target=b"http://u:p@example.com/v1/models"), WELL | BAD),
    "absolute with an odd scheme": (get(target=b"gopher://example.com/v1/models"), WELL | BAD),
    "absolute with an odd port": (get(target=b"http://example.com:999999/v1/models"), BAD | GONE),
    "absolute with a file": (get(target=b"file:///etc/passwd"), BAD | GONE),
    "authority": (get(target=b"example.com:443"), BAD | GONE),
    "authority with CONNECT": (get(method=b"CONNECT", target=b"example.com:443"), BAD | GONE),
    "asterisk": (get(target=b"*"), BAD | GONE),
    "asterisk with OPTIONS": (get(method=b"OPTIONS", target=b"*"), BAD | GONE | WRONG_METHOD),
    "no slash": (get(target=b"v1/models"), BAD),
    "question mark alone": (get(target=b"?"), BAD),
    "fragment": (get(target=b"/v1/models#x"), WELL | BAD),
    "two slashes before": (get(target=b"//v1/models"), BAD | GONE),
    "three slashes before": (get(target=b"///v1/models"), BAD | GONE),
    "two slashes within": (get(target=b"/v1//models"), GONE),
    "slash after": (post(path=b"/v1/chat/completions/"), GONE),
    "dots": (get(target=b"/v1/../v1/models"), GONE),
    "dot": (get(target=b"/v1/./models"), GONE),
    "dots to a file": (get(target=b"/../../../etc/passwd"), GONE),
    "encoded dots": (get(target=b"/v1/%2e%2e/%2e%2e/etc/passwd"), GONE),
    "encoded slash": (get(target=b"/v1%2fmodels"), GONE),
    "encoded letter": (post(path=b"/v1/%63hat/completions"), GONE),
    "encoded nul": (get(target=b"/v1/models%00"), GONE),
    "encoded line feed": (get(target=b"/v1/%0d%0aset-cookie:x"), GONE),
    "encoded badly": (get(target=b"/v1/%zz"), BAD | GONE),
    "backslash": (get(target=b"/v1\\models"), BAD | GONE),
    "semicolon": (get(target=b"/v1/models;x=1"), GONE),
    "upper case": (get(target=b"/V1/MODELS"), GONE),
    "a space encoded after": (get(target=b"/v1/models%20"), GONE),
    "markup": (get(target=b"/<script>alert(1)</script>"), BAD | GONE),
    "template": (get(target=b"/v1/{{7*7}}"), BAD | GONE),
    "key in the query": (
        b"GET /v1/models?api_key=" + KEY.encode() + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        frozenset({401}),
    ),
    "key in the query and in the header": (get(target=b"/v1/models?key=other"), WELL),
    "odd query": (get(target=b"/v1/models?a=%zz&&==&\xff"), WELL | BAD),
    "root": (get(target=b"/"), GONE),
    "version": (get(target=b"/v1"), GONE),
    "version with a slash": (get(target=b"/v1/"), GONE),
    "another version": (get(target=b"/v2/models"), GONE),
    "the console's": (get(target=b"/api/v1/status"), GONE),
    "no model": (get(target=b"/v1/models/"), WELL),
    "a model": (get(target=b"/v1/models/gpt-4o"), WELL),
    "a model, encoded": (get(target=b"/v1/models/gpt%2D4o"), WELL),
    "another model": (get(target=b"/v1/models/gpt-4x"), GONE),
    "a model with dots": (get(target=b"/v1/models/../models"), GONE),
    "a model with bytes": (get(target=b"/v1/models/%ff%fe"), GONE),
    "a response": (get(target=b"/v1/responses/resp_nope"), GONE),
    "a response with dots": (get(target=b"/v1/responses/../models"), GONE),
    "a response of 50 KB": (get(target=b"/v1/responses/" + b"r" * 50_000), GONE),
    "deleted nothing": (get(method=b"DELETE", target=b"/v1/responses/resp_nope"), GONE),
}
"""Where does this request go?"""

POSTED = (
    b"/v1/chat/completions",
    b"/v1/completions",
    b"/v1/embeddings",
    b"/v1/responses",
    b"/v1/messages",
    b"/v1/messages/count_tokens",
    b"/v1/responses/input_tokens",
    b"/v1/feedback",
)
METHODS: dict[str, Case] = {
    f"{method.decode()} {path.decode()}": (get(method=method, target=path), WRONG_METHOD)
    for path in POSTED
    for method in (b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE")
} | {
    f"{method.decode()} {path.decode()}": (get(method=method, target=path), WRONG_METHOD)
    for path in (b"/v1/models", b"/healthz", b"/readyz", b"/metrics")
    for method in (b"POST", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND")
}
"""Routes asked for what they do not do."""

BASIC = b"authorization: Basic dTpw\r\n"
KEYS: dict[str, Case] = {
    f"{name}, {path.decode()}": (post(b"{}", head=head, path=path), frozenset({401}))
    for path in POSTED
    for name, head in {
        "no key": b"",
        "wrong key": b"authorization: Bearer ab_nope\r\n",
        "empty key": b"authorization: Bearer \r\n",
        "key in bytes": b"authorization: Bearer \xff\xfe\r\n",
        "key without a scheme": b"authorization: " + KEY.encode() + b"\r\n",
        "basic": BASIC,
        "wrong x-api-key": b"x-api-key: nope\r\n",
        "wrong key beside a good x-api-key": b"authorization: Bearer nope\r\nx-api-key: "
        + KEY.encode()
        + b"\r\n",
    }.items()
}
"""Callers without a key that is good."""

EVERY = FRAMING | HEADS | TARGETS | METHODS | KEYS
