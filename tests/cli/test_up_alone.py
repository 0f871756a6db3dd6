"""Roles that are started one by one, without `airboss up`."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from tests.cli.running import COMMAND, environment, up, verb
from tests.support.wait import until


def test_verbs_find_a_controller_that_runs_alone(tmp_path: Path) -> None:
    """By its data directory, as they find an `airboss up`, while it runs, also after one that was killed."""
    with up(tmp_path):
        pass
    role = [*COMMAND, "controller", "--data-dir", "data", "--console-port", "0"]
    store = [*COMMAND, "store", "--data-dir", "data"]
    for end in (signal.SIGKILL, signal.SIGTERM):
        started = [
            subprocess.Popen(each, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL)
            for each in (store, role)
        ]
        try:
            until(lambda: verb(tmp_path, "status").returncode == 0, every_s=0.2)
            told = json.loads(verb(tmp_path, "status", "--json").stdout)
            assert (told["running"], told["base_url"]) == (True, None)
            assert told["console_url"].startswith("http://127.0.0.1:")
            assert verb(tmp_path, "keys", "create", f"by-{end.name}").returncode == 0
        finally:
            for each in reversed(started):
                each.send_signal(end)
                each.wait(60)
        assert "stopped" in verb(tmp_path, "status").stdout
