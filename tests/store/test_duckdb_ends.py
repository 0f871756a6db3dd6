"""DuckDB at the end of a process."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["airboss.store.duckdb", "airboss.compose.records", "airboss.cli.stopped"])
def test_nothing_is_said_at_the_end(module: str) -> None:
    """No structure of ours keeps DuckDB alive past the interpreter: its bindings would list what has leaked
    on the stderr of every verb that reads the data of a stopped Airboss."""
    done = subprocess.run(
        [sys.executable, "-c", f"import duckdb, {module}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("", "")
