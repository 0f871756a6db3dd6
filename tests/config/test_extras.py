"""What is missing is installed by a command that works where Airboss is: in a clone and of a wheel."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

import airboss
from airboss.config.extras import install

SOURCES = Path(airboss.__file__).parent


def test_messages_ask_for_extras_that_there_are() -> None:
    """And for nothing that only who has a clone could do."""
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py")}
    asked = {name for text in texts.values() for name in re.findall(r"\binstall\([\"'](\w+)[\"']\)", text)}
    assert asked <= set(metadata("airboss").get_all("Provides-Extra") or ())
    assert {"postgres", "semantic", "names"} <= asked
    cloned = re.compile(r"in the clone|install -e|\.venv/|`make ")
    assert [str(path) for path, text in texts.items() if cloned.search(text)] == []


@pytest.mark.parametrize("extra", [None, "clickhouse"])
def test_pip_takes_the_airboss_that_is_there(extra: str | None, tmp_path: Path) -> None:
    """Without asking an index for it, which may know another product of this name."""
    command = shlex.split(install(extra).strip("`"))
    assert command[0] == sys.executable
    command += ["--dry-run", "--no-index"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert (said.returncode, "Would install" in said.stdout) == (0, False), said.stderr
