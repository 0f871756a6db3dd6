"""How an engine that cannot start ends: for people by the rule of all verbs, for its supervisor by a sign."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from airboss.controller.publish import apply_config
from airboss.store.datadir import DataDir
from airboss.store.ledger import SqlLedger
from airboss.supervisor.lifeline import LIFELINE_ENV, Lifeline
from airboss.supervisor.restart import USELESS_CODE

CONFIG = """
[providers.here]
kind = "local"
[models.gone]
provider = "here"
model = "file:/nowhere.gguf"
[deployments.gone]
model = "gone"
"""


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    """2 for who called it; its supervisor learns that another try cannot help."""
    data = DataDir(tmp_path)
    data.create()
    ledger = SqlLedger(data.ledger_url)
    now = datetime.now(UTC)
    apply_config(ledger, CONFIG, source="x", data=data, pick_port=lambda: 1, now=now)
    ledger.close()
    command = [sys.executable, "-m", "airboss.cli.main", "replica", "serve", "--model", "gone"]
    lifeline = Lifeline()
    for code, extra in ((2, {}), (USELESS_CODE, {LIFELINE_ENV: str(lifeline.read_fd)})):
        done = subprocess.run(
            [*command, "--port", "9", "--data-dir", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, **extra},
            pass_fds=(lifeline.read_fd,),
        )
        assert (done.returncode, "there is no file /nowhere.gguf" in done.stderr) == (code, True), done.stderr
    lifeline.close()
