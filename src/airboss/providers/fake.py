"""A provider that is not one: an OpenAI-shaped server in a process of its own, which misbehaves on demand.

    python -m airboss.providers.fake --port 0

prints one line of JSON when it listens: `{"event":"ready","url":"http://127.0.0.1:PORT/v1","port":…,
"control_url":"http://127.0.0.1:PORT/_fake","pid":…}`. It answers /v1/chat/completions, /v1/completions,
/v1/embeddings, /v1/models and those of `fake_shelf`, the same request always with the same bytes. How
requests ask for faults is told in `fake_faults`; `/_fake/…` (on a port of its own, so that it is there in an
outage, and on the main one) has:

    POST script   {"steps": [ScriptStep…], "append": false}   queue behaviours for what comes next
    POST outage   {"for_s": 2.5}                              refuse connections from now on
    POST tuning   {"for_s": 2, "outcome": "failed"}           how fine-tuning jobs run (`TuningPlay`)
    POST reset                                                forget all that was said, uploaded and counted
    GET  stats                                                what was seen (`fake_stats.Stats`)
    GET  faults                                               every fault with a line on it

`airboss.testing.FakeProvider` does all this from Python. SIGTERM ends it, and so does the end of the pipe
whose read end is named in AIRBOSS_LIFELINE_FD.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Sequence

import msgspec

from airboss.domain.errors import ApiError, InvalidRequest, NotFound
from airboss.providers import fake_faults
from airboss.providers.fake_choose import Chooser
from airboss.providers.fake_faults import Behaviour
from airboss.providers.fake_http import Connection
from airboss.providers.fake_script import Script, ScriptStep
from airboss.providers.fake_stats import Tally
from airboss.providers.fake_tuned import TuningPlay
from airboss.providers.fake_wire import refuse, respond

BACKLOG = 4096
LIFELINE = "AIRBOSS_LIFELINE_FD"


class ScriptOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /_fake/script`; without `append` the steps replace what waits."""

    steps: tuple[ScriptStep, ...]
    append: bool = False


class OutageOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /_fake/outage`; None is until a reset."""

    for_s: float | None = None


class FakeHouse:
    """The process: its listening socket, its connections, and what they share."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, default: Behaviour) -> None:
        self._loop = asyncio.get_running_loop()
        self._chooser = Chooser(self._loop.time, default)
        self._tls = tls
        self._host = host
        # Bound and never listening, this socket keeps the port ours in an outage: the kernel refuses
        # connections to it, and nobody else can take it.
        check_free(host, port)
        self._place = bound(host, port)
        self.port: int = self._place.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._listening: socket.socket | None = None
        self._opening: asyncio.Task[None] | None = None
        self._reopen: asyncio.TimerHandle | None = None
        self.tally = Tally(time.monotonic)  # the loop's own time is in whole milliseconds
        self.connections: set[Connection] = set()
        self.prepare = self._chooser.prepare

    def open(self) -> asyncio.Task[None]:
        """Listen, from now on; connections wait in the backlog until the task that this returns is done."""
        self._listening = bound(self._host, self.port)
        self._listening.listen(BACKLOG)
        self._opening = self._loop.create_task(self._accept(self._listening))
        return self._opening

    async def _accept(self, listening: socket.socket) -> None:
        self._server = await self._loop.create_server(
            lambda: Connection(self), sock=listening, backlog=BACKLOG, ssl=self._tls
        )

    def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._server is not None:
            self._server.close()
            self._server = None
        elif self._listening is not None:
            self._listening.close()
        self._listening = None

    async def open_control(self) -> int:
        """Listen for `/_fake/…` on a port of its own, never refused; returns the port."""
        control = ControlHouse(self)
        server = await self._loop.create_server(lambda: Connection(control), "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def outage(self, for_s: float | None) -> None:
        """Refuse connections for so long, or until a reset, and reset those there are."""
        self._close()
        if self._reopen is not None:
            self._reopen.cancel()
            self._reopen = None
        for connection in tuple(self.connections):
            connection.abort()
        if for_s is not None:
            self._reopen = self._loop.call_later(for_s, self._open_again)

    def _open_again(self) -> None:
        if self._reopen is not None:
            self._reopen.cancel()
            self._reopen = None
        self.open()

    def control(self, method: bytes, target: bytes, body: bytes) -> bytes:
        """Answer a call of `/_fake/…`."""
        try:
            return self._control(method.decode("latin-1"), target.decode("latin-1"), body)
        except msgspec.DecodeError as error:
            return refuse(InvalidRequest(f"the body is not what {target.decode('latin-1')} takes: {error}"))
        except ApiError as error:
            return refuse(error)

    def _control(self, method: str, path: str, body: bytes) -> bytes:
        match method, path:
            case "POST", "/_fake/script":
                order = msgspec.json.decode(body, type=ScriptOrder)
                return respond(200, msgspec.json.encode({"waiting": self._queue(order)}))
            case "POST", "/_fake/outage":
                self.outage(msgspec.json.decode(body or b"{}", type=OutageOrder).for_s)
                return respond(200, b"{}")
            case "POST", "/_fake/tuning":
                self._chooser.tuning(msgspec.json.decode(body or b"{}", type=TuningPlay))
                return respond(200, b"{}")
            case "POST", "/_fake/reset":
                self._chooser.reset()
                self.tally.reset()
                if self._listening is None:
                    self._open_again()
                return respond(200, b"{}")
            case "GET", "/_fake/stats":
                return respond(200, msgspec.json.encode(self.tally.stats()))
            case "GET", "/_fake/faults":
                return respond(200, msgspec.json.encode(fake_faults.FAULTS))
        raise NotFound(
            f"no {method} {path}; there are POST script, outage, tuning, reset, and GET stats, faults"
        )

    def _queue(self, order: ScriptOrder) -> int:
        Script(self._loop.time).add(order.steps)  # raises before anything has changed
        if not order.append:
            self._chooser.script.clear()
        return self._chooser.script.add(order.steps)


class ControlHouse:
    """The house as the control port shows it: its connections are neither counted nor cut in an outage."""

    def __init__(self, house: FakeHouse) -> None:
        self.tally = Tally(time.monotonic)
        self.connections: set[Connection] = set()
        self.prepare = house.prepare
        self.control = house.control
        self.outage = house.outage


def family(host: str) -> socket.AddressFamily:
    """IPv6 when the address is written so."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def check_free(host: str, port: int) -> None:
    """Raise OSError when somebody, another fake provider included, has the address."""
    with contextlib.closing(socket.socket(family(host))) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to the address, which others of ours may share."""
    mine = socket.socket(family(host))
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    mine.bind((host, port))
    mine.setblocking(False)
    return mine


async def serve(options: argparse.Namespace) -> None:
    """Answer until SIGTERM, SIGINT or the end of the lifeline."""
    tls = None
    if options.tls_cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.tls_cert, options.tls_key)
    house = FakeHouse(options.host, options.port, tls, fake_faults.from_line(options.default))
    await house.open()
    control_port = await house.open_control()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    lifeline = os.environ.get(LIFELINE)
    if lifeline is not None:
        loop.add_reader(int(lifeline), stopped.set)
    host = f"[{options.host}]" if ":" in options.host else options.host
    ready = {
        "event": "ready",
        "url": f"{'https' if tls else 'http'}://{host}:{house.port}/v1",
        "port": house.port,
        "control_url": f"http://127.0.0.1:{control_port}/_fake",
        "pid": os.getpid(),
    }
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the process; returns its exit code: 0 stopped, 2 called wrongly."""
    parser = argparse.ArgumentParser(prog="python -m airboss.providers.fake", description="A fake provider.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--default", default="ok", metavar="LINE", help="the behaviour nobody asks for")
    parser.add_argument("--tls-cert", metavar="PEM")
    parser.add_argument("--tls-key", metavar="PEM")
    options = parser.parse_args(arguments)
    if bool(options.tls_cert) != bool(options.tls_key):
        parser.error("--tls-cert and --tls-key go together")
    try:
        with contextlib.suppress(ImportError):
            import uvloop  # noqa: PLC0415 - not on every platform

            uvloop.run(serve(options))
            return 0
        asyncio.run(serve(options))
    except (ApiError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
