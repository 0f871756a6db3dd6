"""Roles that are started one by one, without `airboss up`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airboss.compose.parts import open_ledger, role_lock
from airboss.store.datadir import DataDir
from airboss.store.datadir_lock import DataDirLock
from airboss.supervisor.runfiles import UpFile, write_alone
from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run
from tests.cli.running import COMMAND, environment, up
from tests.support.wait import until


def test_verbs_find_a_controller_that_runs_alone(tmp_path: Path) -> None:
    """By its data directory, as they find an `airboss up`, while it runs, also after one that was killed."""
    with up(tmp_path) as there:
        pass
    role = [*COMMAND, "controller", "--data-dir", "data", "--console-port", "0"]
    store = [*COMMAND, "store", "--data-dir", "data"]
    for end in (signal.SIGKILL, signal.SIGTERM):
        started = [
            subprocess.Popen(each, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL)
            for each in (store, role)
        ]
        try:
            until(lambda: there.verb("status").returncode == 0, every_s=0.2)
            told = json.loads(there.verb("status", "--json").stdout)
            assert (told["running"], told["base_url"]) == (True, None)
            assert told["console_url"].startswith("http://127.0.0.1:")
            assert there.verb("keys", "create", f"by-{end.name}").returncode == 0
        finally:
            for each in reversed(started):
                each.send_signal(end)
                each.wait(60)
        assert "stopped" in there.verb("status").stdout


def test_a_verb_finds_a_controller_that_comes_while_it_waits_for_the_data(
    run: Run, api: AdminApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roles that were just started have the data, and one of them is about to answer."""
    data = DataDir(tmp_path)
    data.create()
    with open_ledger(data):
        pass
    api.answers["GET", "/api/v1/keys"] = {"keys": []}
    lock = DataDir.lock

    def come(self: DataDir, *, wait_s: float = 0.0) -> DataDirLock:
        up = UpFile(pid=os.getpid(), base_url="", console_url=api.url, started_at=datetime.now(UTC))
        write_alone(data.run_dir, up)
        return lock(self, wait_s=wait_s)

    monkeypatch.setattr(DataDir, "lock", come)
    with role_lock(data):
        code, out, err = run("keys", "list", "--json", "--data-dir", str(tmp_path))
    assert (code, out, len(api.asked)) == (0, "", 1), err
