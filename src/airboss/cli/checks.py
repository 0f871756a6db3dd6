"""What `airboss doctor` looks at on this machine. Each check returns what it saw and what to do about it."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Literal

import msgspec

from airboss.domain.errors import AirbossError

Verdict = Literal["ok", "warn", "fail"]
"""`warn`: it works, but not as well as it could. `fail`: something will not work."""

DISK_FAIL_BYTES = 300_000_000
DISK_WARN_BYTES = 2_000_000_000
MEMORY_FAIL_BYTES = 500_000_000
MEMORY_WARN_BYTES = 1_000_000_000
"""The starter's processes hold under 1 GB together."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at. `seen` is what is there, `advice` what to do unless all is well."""

    name: str
    verdict: Verdict
    seen: str
    advice: str | None = None


def ok(name: str, seen: str) -> Check:
    """All is well."""
    return Check(name=name, verdict="ok", seen=seen)


def warn(name: str, seen: str, advice: str) -> Check:
    """It works, but..."""
    return Check(name=name, verdict="warn", seen=seen, advice=advice)


def fail(name: str, seen: str, advice: str) -> Check:
    """It will not work."""
    return Check(name=name, verdict="fail", seen=seen, advice=advice)


def check_python() -> Check:
    """The interpreter."""
    seen = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        return ok("python", seen)
    return fail("python", seen, "install Python 3.11 to 3.14 and make the environment anew")


def check_cores(cores: int) -> Check:
    """Cores that this process may use."""
    if cores >= 2:
        return ok("cores", f"{cores}, of which a local model uses {cores - 1}")
    return warn(
        "cores", str(cores), "a local model will share the one core with everything else; give it two"
    )


def check_avx2(cpuinfo: str, machine: str) -> Check:
    """The instructions that the engine needs. `cpuinfo` is the text of /proc/cpuinfo."""
    if machine not in ("x86_64", "AMD64"):
        return ok("avx2", f"not needed on {machine}")
    if not cpuinfo:
        return warn("avx2", "this system does not tell", "local models need a processor with AVX2")
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    if "avx2" in flags.split():
        return ok("avx2", "there")
    return fail(
        "avx2",
        "missing",
        "local models cannot run on this processor; use hosted providers, or another machine",
    )


def check_engine(module: str = "xllamacpp") -> Check:
    """The engine's package: that it loads, for it may be installed and lack a library of the system."""
    try:
        import_module(module)
    except ModuleNotFoundError:
        from airboss.config.extras import install  # noqa: PLC0415 - where it is missing

        return fail(
            "engine", f"{module} is not installed", f"{install()}; without it only hosted models work"
        )
    except (ImportError, OSError) as error:
        return fail(
            "engine",
            f"{module} does not load: {error}",
            "on Debian `apt-get install libgomp1`; without the engine only hosted models work",
        )
    return ok("engine", f"{module} loads")


def check_memory(meminfo: str) -> Check:
    """Memory that is free for us. `meminfo` is the text of /proc/meminfo."""
    line = next((line for line in meminfo.splitlines() if line.startswith("MemAvailable:")), None)
    if line is None:
        return warn("memory", "this system does not tell", "Airboss with the starter model needs about 1 GB")
    available = int(line.split()[1]) * 1024
    seen = f"{available / 1e9:.1f} GB available"
    if available < MEMORY_FAIL_BYTES:
        return fail("memory", seen, "stop other programs: the starter model and the rest need about 1 GB")
    if available < MEMORY_WARN_BYTES:
        return warn(
            "memory", seen, "enough to start; under load the starter model and the rest take about 1 GB"
        )
    return ok("memory", seen)


def check_limits() -> Check:
    """Open files, and how large they may get."""
    from airboss.compose.process_limits import trouble  # noqa: PLC0415 - only here

    found = trouble()
    if found is None:
        return ok("limits", "open files and their size suffice")
    seen, _, advice = found.partition(": ")
    return fail("limits", seen, advice)


def nearest(data_dir: Path) -> Path:
    """The data directory, or what is there above it."""
    exists = os.path.exists  # which, unlike `Path.exists`, does not raise below what may not be entered
    whole = data_dir.absolute()
    return next(path for path in (whole, *whole.parents) if exists(path))


def check_disk(data_dir: Path) -> Check:
    """Space where the data goes."""
    place = nearest(data_dir)
    free = shutil.disk_usage(place).free
    seen = f"{free / 1e9:.1f} GB free at {place}"
    advice = "weights take 0.1 GB, records about 1 KB each; free space, or choose another --data-dir"
    if free < DISK_FAIL_BYTES:
        return fail("disk", seen, advice)
    return warn("disk", seen, advice) if free < DISK_WARN_BYTES else ok("disk", seen)


def check_writable(data_dir: Path) -> Check:
    """Whether we may and can write where the data goes: a disk may be read-only or have no inode left."""
    whole, place = data_dir.absolute(), nearest(data_dir)
    owner = whole.stat().st_uid if place == whole else 0
    if owner not in (0, os.geteuid()):
        advice = "run airboss as that user, or choose another with --data-dir"
        return fail("data directory", f"{whole} belongs to user {owner}", advice)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"airboss")
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno == errno.ENOSPC and os.statvfs(place).f_favail == 0:
            why = "no inode is left on its disk, so no file can be made"
        advice = "make its disk writable and free space or files on it, or choose another with --data-dir"
        if isinstance(error, PermissionError):
            advice = "run airboss as a user who may write there, or choose another with --data-dir"
        return fail("data directory", f"{place} cannot be written: {why}", advice)
    for path in sorted(whole.iterdir()) if place == whole else ():
        if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
            advice = f"run airboss as the user who may, or let this one: chmod u+rw {path}"
            return fail("data directory", f"{path} cannot be read and written", advice)
    return ok("data directory", str(whole))


def check_port(name: str, host: str, port: int, *, flag: str, ours: bool) -> Check:
    """Whether the port can be had; `ours` says that the running Airboss has it."""
    from airboss.supervisor.listen import check_free  # noqa: PLC0415 - sockets only where they are asked for

    if ours:
        return ok(name, f"{port} on {host}, by the running Airboss")
    try:
        check_free(host, port, flag=flag)
    except AirbossError as error:
        return fail(name, f"{port} on {host} cannot be had", str(error))
    return ok(name, f"{port} on {host} is free")


def read(path: str) -> str:
    """A file of /proc, or nothing."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
