"""How many cores an engine is given where a container may use fewer than it sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from airboss.replicas.cores import quota_cores, usable_cores

CASES = {
    "no Linux": (None, {}, float("inf")),
    "no quota": ("0::/\n", {"cpu.max": "max 100000\n"}, float("inf")),
    "a container's": ("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5),
    "a service's": (
        "0::/system.slice/a.service\n",
        {"system.slice/a.service/cpu.max": "50000 100000\n"},
        0.5,
    ),
    "of one above": ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3.0),
    "the smallest": ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "400000 100000"}, 3.0),
    "v1": (
        "4:cpu,cpuacct:/docker/1\n3:cpuset:/x\n0::/\n",
        {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"},
        2.0,
    ),
    "v1, no quota": (
        "2:cpu:/\n",
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        float("inf"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_quota_is_found(name: str, tmp_path: Path) -> None:
    """In either version of control groups, the smallest of all above this process."""
    own, files, cores = CASES[name]
    if own is not None:
        (tmp_path / "own").write_text(own)
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    assert quota_cores(tmp_path / "own", tmp_path) == cores


def test_there_is_one_at_least() -> None:
    """Whatever this machine allows."""
    assert usable_cores() >= 1
