"""A connection to an upstream: what is kept for the next request, and what is not trusted."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from threading import Event

import pytest
import uvloop

from airboss.domain.errors import ApiError
from airboss.providers.connection import HEAD_BYTES_MAX, STALE_S, ConnectFailed, ConnectionStale, Headers
from airboss.providers.outbox import Outbox
from airboss.providers.pools import Origin, Pool, Pools

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Heard:
    """An answer that keeps what it was told."""

    def __init__(self) -> None:
        self.status = 0
        self.text = b""
        self.error: ApiError | None = None
        self.over = asyncio.Event()

    def head(self, status: int, headers: Headers) -> None:
        """Keep the status."""
        del headers
        self.status = status

    def body(self, data: bytes) -> None:
        """Keep a piece."""
        self.text += data

    def done(self) -> None:
        """It is whole."""
        self.over.set()

    def failed(self, error: ApiError) -> None:
        """It broke."""
        self.error = error
        self.over.set()


async def _ask(pool: Pool, body: bytes) -> Heard:
    heard = Heard()
    connection = pool.idle() or await pool.connect(5.0)
    connection.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body), heard)
    async with asyncio.timeout(30):
        await heard.over.wait()
    return heard


def asked(answer: bytes, *, times: int = 2, body: bytes = b"") -> tuple[list[Heard], int]:
    """What is heard of an upstream that always gives this answer and reads no body, and how many connections
    it took."""

    async def play() -> tuple[list[Heard], int]:
        taken = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal taken
            taken += 1
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                while await reader.readuntil(b"\r\n\r\n"):
                    writer.write(answer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.append(asyncio.create_task(serve(reader, writer)))

        tasks: list[asyncio.Task[None]] = []
        server = await asyncio.start_server(served, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pools = Pools(Outbox())
        pool = pools.get("fake", Origin.parse(f"http://127.0.0.1:{port}"))
        heard = [await _ask(pool, body) for _ in range(times)]
        pools.close_all()
        await asyncio.gather(*tasks)
        server.close()
        await server.wait_closed()
        return heard, taken

    return asyncio.run(play())


def test_a_connection_is_used_again() -> None:
    """Three whole answers come over one connection."""
    heard, taken = asked(ANSWER, times=3)
    assert [(one.status, one.text) for one in heard] == [(200, b"ok")] * 3
    assert taken == 1


@pytest.mark.parametrize("more", [ANSWER, b"HTTP/1.1 2", b"garbage"], ids=["second", "begun", "no HTTP"])
def test_what_follows_an_answer_ends_the_trust(more: bytes) -> None:
    """A whole answer counts, but with anything after it nobody could tell whose the next would be."""
    heard, taken = asked(ANSWER + more)
    assert [(one.text, one.error) for one in heard] == [(b"ok", None)] * 2
    assert taken == 2


def test_an_answer_before_the_end_of_its_request_ends_the_trust() -> None:
    """What is still to be sent stands before the next request, and nobody may ever read it."""
    heard, taken = asked(ANSWER, body=b"x" * 20_000_000)
    assert [(one.text, one.error) for one in heard] == [(b"ok", None)] * 2
    assert taken == 2


def test_an_early_hint_is_passed_over() -> None:
    """An informational head is no answer."""
    heard, taken = asked(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + ANSWER)
    assert [(one.status, one.text) for one in heard] == [(200, b"ok")] * 2
    assert taken == 1


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("awake_s", [0.0, STALE_S], ids=["held up", "awake"])
def test_one_that_closes_as_we_send_is_heard_of_late(run: Callable[..., object], awake_s: float) -> None:
    """What we are held up in between does not make it one that had taken the request: that may go again. Who
    closes it after so long in which we could have heard of it has taken it."""
    loop_is_held_up = Event()

    def serve(listening: socket.socket) -> None:
        with listening.accept()[0] as upstream:
            upstream.recv(65_536)
            upstream.sendall(ANSWER)
            upstream.recv(65_536)
            assert loop_is_held_up.wait(30)

    async def play() -> None:
        pools = Pools(Outbox())
        pool = pools.get("p", Origin.parse(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        serving = asyncio.create_task(asyncio.to_thread(serve, listening))
        assert (await _ask(pool, b"")).text == ANSWER[-2:]
        asking = asyncio.create_task(_ask(pool, b""))
        for _ in range(3):
            await asyncio.sleep(0)  # it is sent
        pools.awake.seconds += awake_s
        loop_is_held_up.set()
        Event().wait(1.2 * STALE_S)
        heard = await asking
        assert isinstance(heard.error, ConnectionStale) is (not awake_s), heard.error
        await serving

    with socket.create_server(("127.0.0.1", 0)) as listening:
        run(play())


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LENIENT: dict[str, tuple[bytes, int]] = {
    "extensions of chunks": (CHUNKED + b'2;a=b;c="d"\r\nok\r\n0;a\r\n\r\n', 1),
    "trailers": (CHUNKED + b"2\r\nok\r\n0\r\nx-a: b\r\n\r\n", 1),
    "spaces after a size": (CHUNKED + b"2  \r\nok\r\n0 \r\n\r\n", 1),
    "a folded header": (ANSWER.replace(b"\r\n\r\n", b"\r\nx-a: b\r\n  c\r\n\td\r\n\r\n"), 1),
    "repeated headers": (ANSWER.replace(b"\r\n\r\n", b"\r\nvary: a\r\nvary: b\r\n\r\n"), 1),
    "no reason": (ANSWER.replace(b" OK", b""), 1),
    "line feeds alone": (ANSWER.replace(b"\r", b""), 1),
    "a length beside chunks": (
        CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-length: 9\r\n\r\n") + b"2\r\nok\r\n0\r\n\r\n", 2
    ),
    "HTTP/1.0": (ANSWER.replace(b"1.1", b"1.0"), 2),
}  # fmt: skip


@pytest.mark.parametrize("form", LENIENT)
def test_what_browsers_read_is_read(form: str) -> None:
    """As it is meant; where others might see another end the connection is not used again."""
    answer, connections = LENIENT[form]
    heard, taken = asked(answer)
    assert [(one.status, one.text, one.error) for one in heard] == [(200, b"ok", None)] * 2
    assert taken == connections


def test_blanks_within_an_extension_are_refused() -> None:
    """RFC 9112 has them read, but no server sends them and llhttp cannot: an error, never half an answer."""
    for extension in (b"; a=b", b";a =b", b";a= b"):
        heard, taken = asked(CHUNKED + b"2%s\r\nok\r\n0\r\n\r\n" % extension)
        assert ["not HTTP" in str(one.error) for one in heard] == [True, True]
        assert taken == 2


def test_a_length_beside_another_coding_is_refused_at_once() -> None:
    """The parser would wait for an end of the connection that does not come. Where there is no body there is
    nothing to wait for."""
    heard, taken = asked(ANSWER.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: identity\r\n\r\n"))
    assert ["a length beside transfer-encoding" in str(one.error) for one in heard] == [True, True]
    assert taken == 2
    line = b"\r\ncontent-length: 9\r\ntransfer-encoding: Chunked \r\n\r\n2\r\nok\r\n0\r\n\r\n"
    heard, _ = asked(b"HTTP/1.1 200 OK" + line)
    assert [(one.text, one.error) for one in heard] == [(b"ok", None)] * 2
    heard, _ = asked(b"HTTP/1.1 204 X\r\ncontent-length: 0\r\ntransfer-encoding: identity\r\n\r\n")
    assert [(one.status, one.error) for one in heard] == [(204, None)] * 2


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"chunked, gzip", b"gzip", b"chunked, chunked", b""])
def test_another_transfer_coding_is_refused(coding: bytes) -> None:
    """Nobody would take it off, and the client be given packed bytes for an answer."""
    heard, taken = asked(CHUNKED.replace(b"chunked", coding) + b"2\r\nok\r\n0\r\n\r\n")
    assert [one.text for one in heard] == [b"", b""]
    assert [one.error is not None for one in heard] == [True, True]
    assert taken == 2


def test_a_head_without_bounds_is_refused() -> None:
    """The error says what was too much."""
    heard, _ = asked(b"HTTP/1.1 200 OK\r\na: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n", times=1)
    assert f"more than {HEAD_BYTES_MAX} bytes of headers" in str(heard[0].error)


def test_a_trailer_without_bounds_is_refused() -> None:
    """The parser would keep all of it, however long it gets."""
    chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\na: "
    heard, _ = asked(chunks + b"x" * (4 * HEAD_BYTES_MAX), times=1)
    assert (heard[0].status, heard[0].text) == (200, b"ok")
    assert f"more than {HEAD_BYTES_MAX} bytes of headers" in str(heard[0].error)


def test_a_long_body_may_have_any_number_of_chunks() -> None:
    """Their sizes are no headers, though they are longer than what they announce."""
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    heard, _ = asked(chunked + b"1\r\nx\r\n" * HEAD_BYTES_MAX + b"0\r\n\r\n", times=1)
    assert (heard[0].text, heard[0].error) == (b"x" * HEAD_BYTES_MAX, None)


def test_something_else_than_http_is_an_error() -> None:
    """The error says so."""
    heard, _ = asked(b"SSH-2.0-x\r\n", times=1)
    assert "not HTTP" in str(heard[0].error)


def test_another_protocol_is_an_error() -> None:
    """Nobody asked for one; what would follow is not HTTP."""
    heard, taken = asked(b"HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nok")
    assert ["another protocol" in str(one.error) for one in heard] == [True, True]
    assert taken == 2


@pytest.mark.parametrize(
    ("host", "code"), [("fe80::1", "upstream_error"), ("127.0.0.1", "too_many_connections")]
)
def test_who_cannot_be_reached_from_here_is_told_from_ports_that_are_all_taken(host: str, code: str) -> None:
    """Both are EADDRNOTAVAIL. An address without its link is one that nothing can be sent to, anywhere."""

    async def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    async def play() -> ApiError:
        loop = asyncio.get_running_loop()
        pool = Pools(Outbox()).get("fake", Origin(host, 9, tls=False, base_path="", host_header=host))
        loop.create_connection = refuse  # type: ignore[method-assign, assignment]
        with pytest.raises(ApiError) as raised:
            await pool.connect(1.0)
        return raised.value

    assert asyncio.run(play()).code == code


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a_connection_is_not_late_because_we_are(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Made in time, it is there though the loop was held up for longer than it might have taken."""

    async def play() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            pool = Pools(Outbox()).get("p", Origin.parse(f"http://127.0.0.1:{listening.getsockname()[1]}"))
            asyncio.get_running_loop().call_soon(Event().wait, 0.4)
            connection = await pool.connect(0.2)
            connection.transport.abort()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(play())


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("host", ["api..example.com", "a" * 64 + ".example.com"])
def test_what_can_be_no_name_of_a_host_cannot_be_reached(
    host: str, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """It is the provider's failure, behind which a fallback is asked, and no defect of ours."""

    async def play() -> None:
        pool = Pools(Outbox()).get("p", Origin.parse(f"http://{host}/v1"))
        with pytest.raises(ConnectFailed, match="cannot be reached: this can be no name of a host"):
            await pool.connect(1.0)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(play())


def test_a_connection_that_nobody_takes_is_late() -> None:
    """It is given up, however often the loop turns."""

    async def play() -> None:
        with socket.socket() as deaf, contextlib.ExitStack() as waiting:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            for _ in range(4):  # they fill its queue
                one = waiting.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(deaf.getsockname())
            pool = Pools(Outbox()).get("p", Origin.parse(f"http://127.0.0.1:{deaf.getsockname()[1]}"))
            with pytest.raises(ConnectFailed, match=r"in 0\.2 s"):
                await pool.connect(0.2)

    uvloop.run(play())
