"""A piece of work on a record log's file that is killed at each of its steps in turn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

IN_TURN = """
import os, shutil, signal, sys
from itertools import count
from pathlib import Path

def step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

{work}

for left in count(int(sys.argv[3])):
    path = Path(sys.argv[2], str(left), "records.duckdb")
    path.parent.mkdir()
    shutil.copy(sys.argv[1], path)
    pid = os.fork()
    if pid == 0:
        work(path)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != -signal.SIGKILL:
        sys.exit(status)
"""


def killed_in_turn(work: str, old: Path, folder: Path, *, first: int = 1) -> list[Path]:
    """Copies of a file after a process has done `work(path)` of this script with each, and was killed at its
    `first` call of `step()`, at the next one, and so on, in that order. The processes begin as copies of one
    that has loaded what the script imports, which takes longer than most of the work."""
    command = [sys.executable, "-c", IN_TURN.replace("{work}", work), str(old), str(folder), str(first)]
    subprocess.run(command, check=True, timeout=300)
    last = max(int(each.name) for each in folder.iterdir())  # was done to its end
    return [folder / str(at) / "records.duckdb" for at in range(first, last)]
