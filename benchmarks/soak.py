"""Whether the memory of a gateway worker grows over many requests, streamed and not.

    python -m benchmarks.soak [--requests 1000000]

The slope is a least-squares line through the second half, when caches are full: bytes a thousand requests.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import peers
from benchmarks.stats import keep, machine, table

SLICE_S = 2.0
MIB = 2**20


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the least-squares line through points; 0 for fewer than two."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def load(peer: peers.Peer, core: int, *arguments: str) -> dict[str, Any]:
    """One slice of load; answers are counted with those of warming up."""
    command = [sys.executable, "-m", "benchmarks.load", "closed", peer.url, "--key", peer.key]
    command += ["--model", peers.MODEL, "--cpu", str(core), "--warm-s", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=peers.ROOT)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def grow(requests: int, cores: Sequence[int]) -> dict[str, Any]:
    """Load a worker with so many requests; what its memory did."""
    points: list[tuple[float, float]] = []
    answered = errors = number = 0
    rest = cores[1]
    with (
        peers.direct(rest, "ok") as direct,
        peers.airboss(cores[0], direct.url, rest_core=rest) as airboss,
    ):
        (worker,) = airboss.worker
        points.append((0.0, float(peers.rss_bytes(worker))))
        while answered < requests:
            number += 1
            streamed = ["--stream"] if number % 4 == 0 else []
            result = load(airboss, rest, "--seconds", str(SLICE_S), *streamed)
            if not result["requests_with_warming"]:
                raise SystemExit(f"the gateway answered nothing in {SLICE_S} s: {result}")
            answered += result["requests_with_warming"]
            errors += result["errors"]
            points.append((float(answered), float(peers.rss_bytes(worker))))
    half = points[len(points) // 2 :]
    return {
        "requests": answered,
        "errors": errors,
        "start MiB": points[0][1] / MIB,
        "half MiB": half[0][1] / MIB,
        "end MiB": points[-1][1] / MIB,
        "most MiB": max(rss for _, rss in points) / MIB,
        "bytes/1000 requests": slope(half) * 1000,
        "points": [(int(x), int(y)) for x, y in points],
    }


def main(arguments: list[str] | None = None) -> None:
    """Load, measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--requests", type=int, default=1_000_000)
    options = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    print(json.dumps(machine()))
    result = grow(options.requests, (cores[0], cores[-1]))
    points = result.pop("points")
    print(f"\nMemory of one gateway worker, a quarter of the answers streamed\n\n{table([result])}")
    print(f"\n{keep('soak', {'worker': result, 'points': points})}")


if __name__ == "__main__":
    main()
