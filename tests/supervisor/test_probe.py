"""Asking a process how it is, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from airboss.supervisor.probe import http_probe, unix_probe
from airboss.supervisor.procfs import cpu_s, rss_bytes
from airboss.supervisor.supervisor import Health, Probe
from tests.support.ports import unused_port
from tests.support.wait import until

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def asked(probe: Probe) -> Health:
    """What a probe says of this process."""

    async def main() -> Health:
        return await probe(os.getpid())

    return asyncio.run(main())


def probed(answer: Answer, *, pid: int | None = None, timeout_s: float = 60.0) -> Health:
    """What the probe says of a server that answers so."""

    async def main() -> Health:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        health = await http_probe(f"http://127.0.0.1:{port}/health", timeout_s=timeout_s)(pid or os.getpid())
        server.close()
        return health

    return asyncio.run(main())


def saying(text: bytes) -> Answer:
    """A server that says this, whatever it is asked."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"GET /health HTTP/1.1\r\n")
        writer.write(text)
        writer.close()

    return answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "ok"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "failed"),
        (b"", "failed"),
        (b"nonsense\n", "failed"),
        (b"HTTP/1.1\n", "failed"),
        (b"HTTP/1.1 abc\n", "failed"),
    ],
)
def test_only_200_is_ok(text: bytes, expected: Health) -> None:
    """200 is ok; another status, no answer or nonsense is failed."""
    assert probed(saying(text)) == expected


def test_no_listener_is_failed() -> None:
    """A refused connection is failed."""
    assert asked(http_probe(f"http://127.0.0.1:{unused_port()}/")) == "failed"


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that never answers."""
    await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("code", "expected"),
    [("while True: pass", "busy"), ("import signal; print(1, flush=True); signal.pause()", "failed")],
)
def test_silence_at_work_is_busy(code: str, expected: Health) -> None:
    """A process that does not answer is busy if it computes, and stuck if it does not."""
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as process:
        try:
            if expected == "busy":
                until(lambda: cpu_s(process.pid) > 0.05)
            else:
                assert process.stdout is not None
                process.stdout.readline()
                until(lambda: asleep(process.pid))
            assert probed(silent, pid=process.pid, timeout_s=0.3) == expected
        finally:
            process.kill()


def asleep(pid: int) -> bool:
    """Whether a process waits for something, and not for the processor."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_who_computes_and_gets_no_processor_is_busy() -> None:
    """What runs when nothing else wants to, beside others that compute, hardly ever does."""
    with contextlib.ExitStack() as ending:

        def computing() -> int:
            process = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
            ending.callback(process.wait)
            ending.callback(process.kill)
            os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
            until(lambda: cpu_s(process.pid) > 0.05)
            return process.pid

        last = computing()
        os.sched_setscheduler(last, os.SCHED_IDLE, os.sched_param(0))
        computing()
        began, before = time.monotonic(), cpu_s(last)
        assert probed(silent, pid=last, timeout_s=0.3) == "busy"
        took_s = time.monotonic() - began
        assert cpu_s(last) - before < 0.1 * took_s, "a tenth of a core: nobody else computed"


def test_a_unix_socket_is_ready_once_bound(tmp_path: Path) -> None:
    """No file and a dead file are failed; a listening socket is ok."""
    path = tmp_path / "s"
    assert asked(unix_probe(path)) == "failed"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert asked(unix_probe(path)) == "failed"
        listener.listen()
        assert asked(unix_probe(path)) == "ok"


def test_a_process_that_is_gone_uses_nothing() -> None:
    """Questions about a process that is gone are answered, not raised."""
    assert (rss_bytes(os.getpid()) or 0) > 1_000_000
    assert rss_bytes(2**22 + 1) is None
    assert cpu_s(2**22 + 1) == 0.0
