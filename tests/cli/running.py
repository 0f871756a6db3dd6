"""A really started Airboss, for tests: hosted provider only, so that nothing is fetched or loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airboss.supervisor.runfiles import read_processes
from tests.support.airboss import run_airboss
from tests.support.wait import until

COMMAND = [sys.executable, "-m", "airboss.cli.main"]

CONFIG = """
[providers.elsewhere]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"

[models.small]
provider = "elsewhere"
model = "small-1"

[deployments.assistant]
model = "small"
aliases = ["gpt-4o"]
"""


class Running:
    """One `airboss up --json` and what it printed when it was ready."""

    def __init__(self, process: subprocess.Popen[str], root: Path, ready: dict[str, Any]) -> None:
        self.process = process
        self.root = root
        self.ready = ready

    @property
    def data_dir(self) -> Path:
        """Its data directory."""
        return self.root / "data"

    def pids(self) -> dict[str, int]:
        """The ids of its ready children by name."""
        found = read_processes(self.data_dir / "run")
        return {each.name: each.pid for each in found if each.pid is not None and each.state == "ready"}

    def verb(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb on its data directory, in this process: not `up`, nor what serves."""
        return run_airboss(*arguments, "--data-dir", str(self.data_dir), cwd=self.root, env=environment())

    def log(self) -> list[dict[str, Any]]:
        """Its log so far."""
        whole, _, _ = (self.root / "err.txt").read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]


def environment(**extra: str) -> dict[str, str]:
    """Ours, without what would preset keys or colour the output."""
    unwanted = {
        "AIRBOSS_ADMIN_KEY",
        "AIRBOSS_API_KEY",
        "OPENAI_API_KEY",
        "AIRBOSS_DATA_DIR",
        "AIRBOSS_LOG_FORMAT",
    }
    return {name: value for name, value in os.environ.items() if name not in unwanted} | extra


def verb(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a verb on the data directory under `root`, in a process of its own."""
    command = [*COMMAND, *arguments, "--data-dir", str(root / "data")]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, cwd=root, env=environment()
    )


@contextmanager
def up(root: Path, *arguments: str, **extra: str) -> Iterator[Running]:
    """Start it and wait until it is ready; at the end it is told to stop, and killed if it does not."""
    (root / "airboss.toml").touch()
    if not (root / "airboss.toml").read_text():
        (root / "airboss.toml").write_text(CONFIG)
    flags = ["--json", "--port", "0", "--console-port", "0", "--data-dir", str(root / "data")]
    with (root / "out.txt").open("w+") as out, (root / "err.txt").open("w+") as err:
        process = subprocess.Popen(
            [*COMMAND, "up", *flags, *arguments],
            stdout=out,
            stderr=err,
            cwd=root,
            env=environment(**extra),
            text=True,
        )
        try:

            def line() -> str | None:
                assert process.poll() is None, (root / "err.txt").read_text()
                said = (root / "out.txt").read_text()
                return said if said.endswith("\n") else None

            yield Running(process, root, json.loads(until(line, timeout_s=120)))
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
