"""The load generators tell the truth about a server that is known to misbehave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.soak import slope
from benchmarks.stats import quantile, table

from airboss.testing import FakeProvider, ScriptStep

ROOT = Path(__file__).parents[2]
TRIES = 5
"""What is measured while the machine holds us up for longer than what is to be seen is measured again."""


def load(provider: FakeProvider, *arguments: str) -> dict[str, Any]:
    """What one load says."""
    command = [sys.executable, "-m", "benchmarks.load", arguments[0], provider.url, *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_closed_loop_counts_what_the_server_has_answered(provider: FakeProvider, stream: list[str]) -> None:
    """As many answers as the server counts, but for those in flight at the end; the errors are seen."""
    provider.script(ScriptStep(behaviour="500", calls=3), ScriptStep(behaviour="byte-writes", calls=2))
    wanted = ["closed", "--connections", "4", "--seconds", "0.3", "--warm-s", "0", *stream]
    result = load(provider, *wanted)
    seen = provider.stats()
    assert result["errors"] == 3
    assert 0 <= seen.requests - result["requests_with_warming"] <= 4
    ended = result["requests"]
    assert ended / 5 < result["requests_per_s"] <= ended / 0.3
    assert seen.last[-1].header("authorization") == "Bearer sk-bench"


def test_a_broken_connection_is_an_error(provider: FakeProvider) -> None:
    """It is counted and the others go on."""
    provider.script("close")
    result = load(provider, "closed", "--connections", "2", "--seconds", "0.2", "--warm-s", "0")
    assert result["errors"] == 1
    assert result["requests"] > 2


def test_an_open_loop_feels_a_stall_in_every_request_it_held_back(provider: FakeProvider) -> None:
    """One answer that is 0.4 s late makes all those late that had to wait for its connection."""
    asked = ("--rate", "60", "--seconds", "1.5", "--warm-s", "0.05", "--connections", "1")
    for _ in range(TRIES):
        provider.script(ScriptStep(behaviour="ok", calls=20), "late-head;for_s=0.4")
        result = load(provider, "open", *asked)
        if result["p50_ms"] < 200:
            break
    assert result["p90_ms"] > 200  # 24 of 90 waited, evenly from 0 to 0.4 s
    assert result["p50_ms"] < 200
    assert result["max_ms"] > 350
    assert result["errors"] == 0


def test_streams_count_stalls_and_whole_ones(provider: FakeProvider) -> None:
    """A pause of 0.4 s is a stall, a cut stream is not whole, and tokens are counted one by one."""
    usual = "ok;words=10;tokens_per_s=100"
    asked = ("--streams", "5", "--tokens", "10", "--tokens-per-s", "100")
    for _ in range(TRIES):
        steps = ("stall;for_s=0.4;words=10", "cut-close;words=10", ScriptStep(behaviour=usual, calls=3))
        provider.script(*steps)
        result = load(provider, "streams", *asked)
        if (result["stalls"], result["gap_p50_ms"] < 100) == (1, True):
            break
    assert result["stalls"] == 1
    assert result["whole"] == 4
    assert result["tokens"] == 43
    assert result["gap_max_ms"] >= 300  # it begins later for a reader that is held up
    assert 0 <= result["gap_p50_ms"] < 100  # of a reader that is held up tokens come at once


def test_the_slope_is_that_of_the_line() -> None:
    """Least squares; one point has none."""
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert slope([(0, 1)]) == slope([(1, 1), (1, 9)]) == 0


def test_quantiles_and_tables() -> None:
    """The smallest value for 0, the largest for 1; missing numbers are dashes."""
    assert [quantile([1, 2, 3, 4], share) for share in (0, 0.5, 1)] == [1, 3, 4]
    text = table([{"": "a", "n": 12345.6}, {"": "b", "n": float("nan")}])
    assert text.splitlines()[2:] == ["| a | 12,346 |", "| b |      - |"]
