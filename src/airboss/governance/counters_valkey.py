"""Limits counted in Valkey (or Redis), for gateways on several machines: one script, a connection each."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable
from importlib import resources
from typing import Any, Final, cast
from urllib.parse import SplitResult, unquote, urlsplit

import libvalkey
import msgspec

from airboss.config.wording import ESCAPES
from airboss.domain.errors import SetupError
from airboss.governance.counters_client import STUCK_S, FarCounters, Line
from airboss.governance.counters_wire import Ask, Broken, FromOwner, Given, Heard, Hello, Refused, Tell
from airboss.governance.counting import Change, Denied, Grant
from airboss.governance.recent import Recent

SCRIPT: Final = resources.files("airboss.governance").joinpath("counters_valkey.lua").read_bytes()
SHA: Final = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()
BASE: Final = "{airboss}"
"""Every key begins so. Two Airbosses on one server take two of its databases."""
PORT: Final = 6379
CLOCK_S: Final = 5.0
AGAIN: Final = 2
TLS_SCHEMES: Final = frozenset({"valkeys", "rediss"})

_pack = msgspec.msgpack.Encoder().encode
Reply = Callable[[Any], None]

log = logging.getLogger(__name__)


class ValkeyCounters(FarCounters):
    """Counts by the script at a `valkey://`, `valkeys://` (TLS), `redis://` or `rediss://` URL. Raises
    SetupError for one that means nothing."""

    who = "the server that counts limits"

    def __init__(self, url: str, *, worker: str) -> None:
        super().__init__(worker=worker)
        try:
            self._at = urlsplit(url)
            self._port = self._at.port or PORT
            database = self._at.path.strip("/")
            self._database = int(database or 0)
        except ValueError:
            raise SetupError(
                f"the URL of [store] counters is none of valkey://HOST:PORT/DATABASE; {ESCAPES}"
            ) from None
        self._host = self._at.hostname or ""
        if not self._host:
            raise SetupError("the URL of [store] counters names no host; write valkey://HOST:PORT/DATABASE")
        self.where = f" at {self._host}:{self._port}"
        self._tls = ssl.create_default_context() if self._at.scheme in TLS_SCHEMES else None
        self.born = 0
        """Which life of the server knows what this worker took; 0: none yet."""
        self.recent = Recent()

    def heard(self, message: FromOwner) -> None:
        """What the server says."""
        if isinstance(message, Given | Refused) and (question := self._asked.get(message.number)) is not None:
            if isinstance(message, Given):
                self.recent.given(question.wants, message.grants)
            else:
                self.recent.denied(question.wants, message.denied)
        super().heard(message)

    def _counted(self, seq: int) -> list[Change]:
        # Not sooner: what has not counted is told again after the greeting, also to who has forgotten all.
        changes = super()._counted(seq)
        self.recent.told(changes)
        return changes

    def clock(self) -> float:
        """The server's time in seconds, asked for as a worker begins. Raises SetupError with what it says
        instead."""
        questions = [*_opening(self._at, self._database), ("TIME",)]
        reader, where = libvalkey.Reader(), f"{self._host}:{self._port}"
        try:
            with socket.create_connection((self._host, self._port), timeout=CLOCK_S) as plain:
                line = self._tls.wrap_socket(plain, server_hostname=self._host) if self._tls else plain
                line.sendall(b"".join(map(libvalkey.pack_command, questions)))
                for _ in questions:
                    while (reply := reader.gets()) is False:
                        if not (heard := line.recv(65_536)):
                            raise ConnectionResetError("it hung up")
                        reader.feed(heard)
                    if isinstance(reply, libvalkey.ReplyError):
                        raise ConnectionRefusedError(str(reply))
                line.close()
        except (OSError, libvalkey.ProtocolError) as error:
            raise SetupError(f"Valkey at {where} cannot be used: {error or 'it does not answer'}") from error
        return int(reply[0]) + int(reply[1]) / 1e6

    async def _connect(self) -> Line:
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(
            lambda: _ValkeyLine(self, self._worker, _opening(self._at, self._database)),
            self._host,
            self._port,
            ssl=self._tls,
        )
        return line


def _opening(at: SplitResult, database: int) -> list[tuple[str | bytes, ...]]:
    """What is said first: who we are, which database, and the script."""
    opening: list[tuple[str | bytes, ...]] = []
    if at.password is not None:
        user = (unquote(at.username),) if at.username else ()
        opening.append(("AUTH", *user, unquote(at.password)))
    if database:
        opening.append(("SELECT", str(database)))
    return [*opening, ("SCRIPT", "LOAD", SCRIPT)]


class _ValkeyLine(asyncio.Protocol):
    """One connection. Commands go out at once and are answered in their order."""

    def __init__(self, counters: ValkeyCounters, worker: str, opening: list[tuple[str | bytes, ...]]) -> None:
        self._counters = counters
        self._worker = worker
        self._opening = opening
        self._reader = libvalkey.Reader()
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, Reply]] = deque()
        """When each command went out, and who takes its reply."""
        self._number = 0
        """Which of this worker's connections it is."""
        self._step: asyncio.Future[Any] | None = None
        """The step of the greeting that is under way."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)

    async def greet(self, hello: Hello) -> int:
        """As `Line.greet`."""
        for command in self._opening:
            self._send(command, self._opened)
        known, self._number = self._counters.born, hello.line
        seq, born, told = await self._ask_first("hello", _pack(list(hello.held.items())), known)
        if known not in {0, born}:
            for number, part in enumerate(self._counters.recent.parts(), 1):
                if number > told:
                    await self._ask_first("took", born, number, _pack(part))
        self._counters.born = born
        return cast("int", seq)

    async def _ask_first(self, operation: str, *arguments: int | bytes) -> Any:
        """One step of the greeting: the next one is not taken before it was."""
        if self._transport.is_closing():
            raise ConnectionResetError
        self._step = self._loop.create_future()
        self._run(operation, *arguments, then=self._stepped)
        return await self._step

    def say(self, message: Ask | Tell) -> None:
        """As `Line.say`."""
        if isinstance(message, Ask):
            number = message.number
            self._run("ask", _pack(message.wants), then=lambda reply: self._answered(number, reply))
        else:
            self._run("tell", message.seq, _pack(message.changes), then=self._heard)

    def beat(self) -> None:
        """As `Line.beat`; on a connection that says nothing any more it hangs up."""
        if self._waiting and self._waiting[0][0] + STUCK_S < self._loop.time():
            self.hang_up()
        else:
            self._run("beat", then=self._checked)

    def leave(self) -> None:
        """As `Line.leave`."""
        self._run("gone", then=self._checked)
        self._transport.close()

    def hang_up(self) -> None:
        """As `Line.hang_up`; nothing goes out on this line any more."""
        self._transport.abort()
        self._counters.lost(self)

    def data_received(self, data: bytes) -> None:
        """Replies, one or many."""
        try:
            self._reader.feed(data)
            while self._waiting and (reply := self._reader.gets()) is not False:
                self._waiting.popleft()[1](reply)
        except (libvalkey.ProtocolError, ValueError, TypeError, IndexError):
            log.exception("the server that counts limits says what nobody understands")
            self.hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        self._refused(ConnectionResetError(str(exc or "")))
        self._counters.lost(self)

    def _run(self, operation: str, *arguments: int | bytes, then: Reply) -> None:
        said = (operation, self._worker, str(self._number), *map(_argument, arguments))
        self._send(("EVALSHA", SHA, "1", BASE, *said), then)

    def _send(self, command: tuple[str | bytes, ...], then: Reply) -> None:
        self._waiting.append((self._loop.time(), then))
        self._transport.write(libvalkey.pack_command(command))

    # -- replies

    def _opened(self, reply: object) -> None:
        if isinstance(reply, libvalkey.ReplyError):
            self._refused(ConnectionRefusedError(str(reply)))

    def _stepped(self, reply: object) -> None:
        if isinstance(reply, libvalkey.ReplyError):
            self._refused(ConnectionRefusedError(str(reply)))
        elif self._step is not None and not self._step.done():
            self._step.set_result(reply)

    def _refused(self, error: ConnectionError) -> None:
        if self._step is not None and not self._step.done():
            self._step.set_exception(error)

    def _answered(self, number: int, reply: Any) -> None:
        if isinstance(reply, libvalkey.ReplyError):
            self._counters.heard(Broken(number, str(reply)))
            self._checked(reply)
        elif reply[0] == AGAIN:
            self._counters.heard(Broken(number, "it has forgotten all, and hears from every gateway first"))
        elif reply[0]:
            self._counters.heard(Given(number, tuple([Grant(*each) for each in reply[1:]])))
        else:
            _, index, wait_ms, left, spent = reply
            wait_s = wait_ms / 1000 if wait_ms >= 0 else None
            self._counters.heard(Refused(number, Denied(index, wait_s, left, spent)))

    def _heard(self, reply: object) -> None:
        if isinstance(reply, int):
            self._counters.heard(Heard(reply))
        else:
            self._checked(reply)

    def _checked(self, reply: object) -> None:
        """A server that knows neither us nor the script, because it has been started anew or has lost sight
        of us, or that cannot write, is greeted anew."""
        if isinstance(reply, libvalkey.ReplyError):
            log.warning("the server that counts limits says: %s", reply)
            self.hang_up()


def _argument(value: int | bytes) -> str | bytes:
    return str(value) if isinstance(value, int) else value
