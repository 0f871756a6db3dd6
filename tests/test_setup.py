"""scripts/setup, which makes the environments."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SETUP = Path(__file__).parent.parent / "scripts/setup"


def test_an_environment_is_never_another_pythons(tmp_path: Path) -> None:
    """Whoever names a PYTHON gets it or is told why not: an environment serves its own only."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SETUP, tmp_path / "scripts")
    (tmp_path / "tests/support").mkdir(parents=True)
    for empty in ("tests/support/clickhouse.txt", "pyproject.toml"):
        (tmp_path / empty).touch()

    def set_up(python: str) -> tuple[int, str]:
        command = [str(tmp_path / "scripts/setup"), "clickhouse"]
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHON": python},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        return done.returncode, done.stderr

    made = set_up(sys.executable)
    assert made[0] == 0
    assert "making .venv-clickhouse with Python" in made[1]
    assert set_up(sys.executable) == (0, ""), "a second call does nothing"
    for wrong, words in (
        ("/bin/false", "PYTHON=/bin/false is not a Python 3.11 to 3.14"),
        ("python3.99", "there is no PYTHON=python3.99 here: install it"),
    ):
        code, said = set_up(wrong)
        assert code == 1
        assert words in said
