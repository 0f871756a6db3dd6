"""A file over HTTP into a part file: cut downloads go on where they stopped, and retries are bounded."""

from __future__ import annotations

import errno
import shutil
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import httpx2
import msgspec

from airboss.config.rules import on_this_machine
from airboss.domain.errors import SetupError

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called with the bytes there are and the bytes there will be (None where the server does not say)."""

_SPARE_DISK_BYTES: Final = 64 * 1024 * 1024
_GAIN_BYTES: Final = 1024 * 1024
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a download waits, in seconds, and how often it tries in a row without gaining a mebibyte.

    `first_tries` holds until the first byte has come: without a network the user should know soon. The pause
    doubles with each try, from `pause_s` to `pause_s_max`.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    first_tries: int = 3
    tries: int = 7
    pause_s: float = 0.5
    pause_s_max: float = 8.0


class DownloadRefused(SetupError):
    """The server said no with a status that trying again cannot change."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


def new_client(patience: Patience, *, ca_file: str | None = None, proxy: str | None = None) -> httpx2.Client:
    """A client that follows redirects, but never to a plain `http:` address beyond loopback.

    Proxies and certificates come from the environment unless given. An `Authorization` header does not
    follow a redirect to another host.
    """
    return httpx2.Client(
        follow_redirects=True,
        timeout=httpx2.Timeout(patience.read_s, connect=patience.connect_s),
        verify=ssl.create_default_context(cafile=ca_file) if ca_file else True,
        proxy=proxy,
        event_hooks={"request": [_refuse_plain_http]},
    )


def download(
    client: httpx2.Client,
    url: str,
    part: Path,
    *,
    headers: dict[str, str],
    patience: Patience,
    progress: Progress | None,
) -> None:
    """Bring the whole of `url` into `part`, going on after the bytes that are already there.

    Nothing here says that the bytes are right: a part left by another version of the file is continued too,
    and only the caller's hash check finds out. Raises DownloadRefused, or SetupError when the tries are used
    up or the disk is full.
    """
    failures, ever_received = 0, False
    while True:
        before = _size(part)
        try:
            problem = _attempt(client, url, part, headers, progress)
        except httpx2.TransportError as error:
            problem = str(error) or type(error).__name__
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise SetupError(f"{part} cannot be written: {error.strerror}.") from error
            part.unlink(missing_ok=True)
            raise _disk_full(part, needed=None) from error
        if problem is None:
            return
        gained = _size(part) - before
        ever_received = ever_received or gained > 0
        failures = 1 if gained >= _GAIN_BYTES else failures + 1
        if failures >= (patience.tries if ever_received else patience.first_tries):
            raise SetupError(f"cannot fetch {shown(url)}: {problem} ({failures} tries without progress).")
        threading.Event().wait(min(patience.pause_s * 2 ** (failures - 1), patience.pause_s_max))


def shown(url: str) -> str:
    """A URL fit for a message: without the credentials that its user part or query may carry."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _attempt(
    client: httpx2.Client, url: str, part: Path, headers: dict[str, str], progress: Progress | None
) -> str | None:
    """One request; None when `part` is whole, else what went wrong with it."""
    offset = _size(part)
    # `identity`: a range of a compressed answer would not be a range of the file.
    asked = {**headers, "accept-encoding": "identity"}
    if offset:
        asked["range"] = f"bytes={offset}-"
    with client.stream("GET", url, headers=asked) as response:
        if response.status_code == 416 and offset:
            if response.headers.get("content-range") == f"bytes */{offset}":
                return None
            part.unlink()
            return "the server has less of the file than we do; starting over"
        if response.status_code in _TRANSIENT:
            return f"the server answered {response.status_code}"
        if response.status_code not in (200, 206):
            raise DownloadRefused(
                f"cannot fetch {shown(url)}: the server answered {response.status_code}.",
                status=response.status_code,
            )
        if not _continues(response, offset):
            offset = 0
        return _receive(response, part, offset, progress)


def _receive(response: httpx2.Response, part: Path, offset: int, progress: Progress | None) -> str | None:
    length = response.headers.get("content-length", "")
    total = offset + int(length) if length.isascii() and length.isdigit() else None
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - offset + _SPARE_DISK_BYTES > free:
        raise _disk_full(part, needed=total - offset)
    done = offset
    with part.open("ab" if offset else "wb") as file:
        for chunk in response.iter_raw():
            file.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
    return None if total is None or done == total else f"the answer ended after {done} of {total} bytes"


def _continues(response: httpx2.Response, offset: int) -> bool:
    """Whether the answer goes on where the part ends. A server may ignore the range that it is asked."""
    content_range = response.headers.get("content-range", "")
    return response.status_code == 206 and content_range.startswith(f"bytes {offset}-")


def _refuse_plain_http(request: httpx2.Request) -> None:
    url = str(request.url)
    if request.url.scheme != "https" and not on_this_machine(url):
        raise SetupError(f"{shown(url)} is not encrypted; only https: is fetched from other machines.")


def _disk_full(part: Path, *, needed: int | None) -> SetupError:
    free = megabytes(shutil.disk_usage(part.parent).free)
    wanted = "" if needed is None else f"{megabytes(needed)} are needed and "
    return SetupError(
        f"the disk with {part.parent} is full: {wanted}{free} are free. Free some, then start again."
    )


def megabytes(size: int) -> str:
    """A size as every message about weights has it: millions of bytes, rounded, as in progress bars."""
    return f"{size / 1_000_000:.0f} MB"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
