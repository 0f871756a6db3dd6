"""The cores that this process may use: those it is pinned to, or as many as a container's quota is worth."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

OWN: Final = Path("/proc/self/cgroup")
ROOT: Final = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """How many threads run at once here; at least 1.

    `docker run --cpus 2`, a CPU limit of Kubernetes and CPUQuota of systemd leave every core to be seen and
    stop all threads together once the quota is used: an engine with a thread a core would mostly stand still.
    """
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(pinned, quota_cores(OWN, ROOT))))


def quota_cores(own: Path, root: Path) -> float:
    """The smallest quota of the control groups that `own` names, under `root`; infinite without one."""
    return min(_quotas(own, root), default=float("inf"))


def _quotas(own: Path, root: Path) -> Iterator[float]:
    try:
        lines = own.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        group = PurePosixPath(path.lstrip("/"))
        # In a container the group may be named as the host does, and be mounted as the top one.
        for each in (group, *group.parents):
            with suppress(OSError, ValueError, ZeroDivisionError):
                quota, period = _said(top / each, unified=not controllers)
                if int(quota) > 0:  # -1 is none
                    yield int(quota) / int(period)


def _said(group: Path, *, unified: bool) -> tuple[str, str]:
    """Quota and period in µs. Raises OSError, ValueError where there are none."""
    if unified:
        quota, period = (group / "cpu.max").read_text().split()  # `max` is none, and no number
        return quota, period
    return (group / "cpu.cfs_quota_us").read_text(), (group / "cpu.cfs_period_us").read_text()
