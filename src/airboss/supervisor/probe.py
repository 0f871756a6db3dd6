"""Asking a process how it is."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from airboss.supervisor.procfs import cpu_s, thread_states
from airboss.supervisor.supervisor import Health, Probe

TIMEOUT_S = 5.0
BUSY_SHARE = 0.1
"""A process that used this share of a core while it did not answer is busy, not stuck."""


def http_probe(url: str, *, timeout_s: float = TIMEOUT_S) -> Probe:
    """A probe that wants 200 from `url`. Certificates are not checked: it talks to its own child."""

    async def probe(pid: int) -> Health:
        before = cpu_s(pid)
        try:
            async with asyncio.timeout(timeout_s):
                status = await get_status(url)
        except TimeoutError:
            return "busy" if busy(pid, before, of_s=timeout_s) else "failed"
        except (OSError, EOFError, ValueError):
            return "failed"
        return "ok" if status == 200 else "failed"

    return probe


def unix_probe(path: Path, *, timeout_s: float = TIMEOUT_S) -> Probe:
    """A probe that wants a connection to a unix socket: its owner binds it when it can serve."""

    async def probe(_pid: int) -> Health:
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await asyncio.open_unix_connection(path)
        except (OSError, TimeoutError):
            return "failed"
        await close(writer)
        return "ok"

    return probe


def file_probe(path: Path) -> Probe:
    """A probe that wants a file that holds the process's id: it writes it when it is ready."""

    async def probe(pid: int) -> Health:
        try:
            said = await asyncio.to_thread(path.read_text)
        except OSError:
            return "failed"
        return "ok" if said.strip() == str(pid) else "failed"

    return probe


async def get_status(url: str) -> int:
    """The status of a GET. Raises OSError or EOFError without a connection or an answer, ValueError for none
    that is HTTP."""
    parts = urlsplit(url)
    context = None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    try:
        head = f"GET {parts.path or '/'} HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode())
        line = await reader.readuntil(b"\n")
        return int(line.split(b" ")[1])
    except IndexError:
        raise ValueError(f"{url} does not speak HTTP: {line[:40]!r}") from None
    finally:
        await close(writer)


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a connection; one already broken is closed."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def busy(pid: int, used_s: float, *, of_s: float) -> bool:
    """Whether a process computes, of which `used_s` were known `of_s` ago. On a busy machine one of low
    priority may get next to no processor; then it is ready to run now."""
    if cpu_s(pid) - used_s >= BUSY_SHARE * of_s:
        return True
    return "R" in thread_states(pid)
