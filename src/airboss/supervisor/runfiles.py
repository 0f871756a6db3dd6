"""What a running Airboss says of itself in `DATA/run`: where it listens, and how its processes stand."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from airboss.config import TlsConfig
from airboss.domain.status import ProcessStatus
from airboss.supervisor.procfs import has_ended, stands_still

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")


class UpFile(msgspec.Struct, frozen=True, kw_only=True):
    """`run/up.json`. `base_url` ends with `/v1`; `elsewhere` is what other machines say for it. `tls` is what
    both speak, as long as this run lasts; `config` is the path of the configuration's file.

    The file may outlive its Airboss by `kill -9`; only the lock says who runs.
    """

    pid: int
    base_url: str
    console_url: str
    elsewhere: str = ""
    started_at: datetime
    workers: int = 1
    tls: TlsConfig | None = None
    config: str = ""


def trust(cert: str) -> ssl.SSLContext:
    """Trust exactly what this certificate file holds, whatever name it is for: its path came from the data
    directory of the Airboss that shows it."""
    import ssl  # noqa: PLC0415 - 12 ms that most verbs need not pay

    context = ssl.create_default_context(cafile=cert)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def write_starting(run: Path) -> None:
    """Say that we are about to serve, which may take as long as weights take to come."""
    write(run / "starting", b"%d" % os.getpid())


def read_starting(run: Path) -> int | None:
    """The process that last said so and does not serve yet; it may be gone."""
    return read(run / "starting", int)


def write_up(run: Path, up: UpFile) -> None:
    """Say where we listen."""
    write(run / "up.json", msgspec.json.encode(up))


def write_alone(run: Path, up: UpFile) -> None:
    """Say where a controller listens that was started alone."""
    write(run / "alone.json", msgspec.json.encode(up))


def read_alone(run: Path) -> UpFile | None:
    """What the last such controller said, whose `base_url` is empty: it knows no gateway's. None if there was
    none or it stopped in order."""
    return read(run / "alone.json", UpFile)


def forget_alone(run: Path) -> None:
    """It is going."""
    (run / "alone.json").unlink(missing_ok=True)


def forget_starting(run: Path) -> None:
    """We serve."""
    (run / "starting").unlink(missing_ok=True)


def read_up(run: Path) -> UpFile | None:
    """What the last Airboss said, or None if there was none or it stopped in order."""
    return read(run / "up.json", UpFile)


def forget_up(run: Path) -> None:
    """We are going: what was said does not hold any more."""
    for name in ("up.json", "processes.json", "starting"):
        (run / name).unlink(missing_ok=True)


def write_processes(run: Path, processes: Iterable[ProcessStatus]) -> None:
    """Say how the processes stand."""
    write(run / "processes.json", msgspec.json.encode(list(processes)))


def read_processes(run: Path) -> list[ProcessStatus]:
    """How the processes stood when the supervisor last wrote; empty before it first does. While it stands
    still, those that have ended since are `stopped`."""
    found = read(run / "processes.json", list[ProcessStatus]) or []
    up = read_up(run)
    if up is None or not stands_still(up.pid):
        return found
    why = (
        f"it has ended, and process {up.pid}, which would start it again, stands still: "
        f"`kill -CONT {up.pid}` lets it go on"
    )
    return [
        msgspec.structs.replace(each, state="stopped", detail=why)
        if each.pid is not None and has_ended(each.pid)
        else each
        for each in found
    ]


def write(path: Path, content: bytes) -> None:
    """Replace a file whole: a reader sees the old or the new one. Raises OSError; a data directory that was
    moved away is not made anew, or it could not be moved back."""
    path.parent.mkdir(exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(content)
    fresh.replace(path)


def read(path: Path, kind: type[T]) -> T | None:
    """A file's value, or None if there is no such file or it is from another version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None
