"""What `scripts/setup` leaves behind, where nothing is to be installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_what_runs_is_compiled_once_for_all(tmp_path: Path) -> None:
    """Also what a `git pull` has changed: a service may not write into the clone, and would compile all of it
    at every start."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(REPOSITORY / "scripts" / "setup", tmp_path / "scripts")
    locks = [tmp_path / "requirements.lock", tmp_path / "pyproject.toml"]
    for path in locks:
        path.write_text("")
    made = [sys.executable, "-m", "venv", "--without-pip", ".venv"]
    subprocess.run(made, cwd=tmp_path, check=True, timeout=60)
    shutil.copy("/bin/true", tmp_path / ".venv/bin/airboss")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in locks)).hexdigest()
    interpreter = (tmp_path / ".venv/bin/python").resolve()
    (tmp_path / ".venv/.run").write_text(f"{digest} {interpreter} {tmp_path.resolve()}\n")
    module = tmp_path / "src/airboss/serves.py"
    module.parent.mkdir(parents=True)
    module.write_text("answer = 1")
    for written_at in (1_000_000_000, 1_000_000_002):
        os.utime(module, (written_at, written_at))
        subprocess.run([tmp_path / "scripts/setup", "run"], check=True, timeout=60)
        head = Path(cache_from_source(str(module))).read_bytes()[:16]
        assert int.from_bytes(head[8:12], "little") == written_at, "the source that it was compiled from"
