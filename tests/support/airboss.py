"""A whole Airboss, started as a user would start it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import chdir, closing, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import httpx2
import pytest

from airboss.cli.main import main
from airboss.store.datadir import DataDir
from airboss.store.ledger import SqlLedger
from airboss.telemetry.metrics import read_counts
from tests.support.wait import until

CHANGES = {"apply", "approvals", "keys", "rollout"}
"""Verbs that may change what gateways serve."""
STARTER_WEIGHTS = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53.gguf"


def run_airboss(*args: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """One verb, run to its end, in this process: to start another takes ten times as long, and is tried in
    `tests/cli`."""
    with (
        patch.dict(os.environ, env or {}),
        chdir(cwd),
        redirect_stdout(StringIO()) as out,
        redirect_stderr(StringIO()) as err,
        pytest.raises(SystemExit) as ended,
    ):
        main(args)
    assert isinstance(ended.value.code, int)
    return subprocess.CompletedProcess(args, ended.value.code, out.getvalue(), err.getvalue())


def run_up(*args: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`airboss up` that ends, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "airboss.cli.main", "up", *args],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Airboss:
    """`airboss up --json` in a folder of its own, on free ports. `ready` is its ready line."""

    def __init__(
        self,
        root: Path,
        config: str | None = None,
        *args: str,
        weights: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.root = root
        self.data = root / ".airboss"
        self._args = args
        self._env = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "AIRBOSS_"))}
        self._env |= env or {}
        root.mkdir(parents=True, exist_ok=True)
        if config is not None:
            (root / "airboss.toml").write_text(config)
        if weights is not None:
            (self.data / "weights").mkdir(parents=True)
            (self.data / "weights" / weights.name).symlink_to(weights)
        self.ready: dict[str, Any] = {}
        self.process: subprocess.Popen[str] | None = None
        self.started_in_s = 0.0
        self.taken_s = 2.0

    def start(self, timeout_s: float = 120.0) -> Self:
        """Start, and wait until it can serve. What fails to is ended."""
        try:
            self._start(timeout_s)
        except BaseException:
            self.close()
            raise
        return self

    def _start(self, timeout_s: float) -> None:
        began = time.monotonic()
        command = [sys.executable, "-m", "airboss.cli.main", "up", "--json"]
        command += ["--port", "0", "--console-port", "0", *self._args]
        out = self.root / "up.out"
        with out.open("w") as stdout, (self.root / "up.err").open("a") as stderr:
            self.process = subprocess.Popen(
                command, cwd=self.root, env=self._env, stdout=stdout, stderr=stderr, text=True
            )

        def line() -> str:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            return out.read_text() if out.read_text().endswith("\n") else ""

        self.ready = json.loads(until(line, timeout_s=timeout_s))
        self.started_in_s = time.monotonic() - began

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.root / "up.err").read_text()

    def client(self, **options: Any) -> httpx2.Client:
        """A client of the data plane."""
        headers = {"authorization": f"Bearer {self.ready['api_key']}"}
        # To read the machine's certificates takes longer than most calls.
        options = {"verify": self.ready["base_url"].startswith("https"), **options}
        return httpx2.Client(base_url=self.ready["base_url"], headers=headers, timeout=60.0, **options)

    def chat(self, content: str = "hi", model: str = "assistant", **body: Any) -> httpx2.Response:
        """One chat call."""
        messages = [{"role": "user", "content": content}]
        with self.client() as client:
            return client.post("/chat/completions", json={"model": model, "messages": messages} | body)

    def soon_s(self, promised_s: float) -> float:
        """What is promised where nothing else runs, and the time of a hundred small calls as ten go now."""
        began = time.monotonic()
        with self.client() as client:
            for _ in range(10):
                client.get("/models")
        return promised_s + 10 * (time.monotonic() - began)

    def verb(self, *args: str) -> str:
        """The output of a verb that must succeed, told of this Airboss by its data directory."""
        done = run_airboss(*args, "--data-dir", str(self.data), cwd=self.root, env=self._env)
        assert done.returncode == 0, done.stderr + done.stdout
        if args[0] in CHANGES and self.process is not None and self.process.poll() is None:
            self.taken()
        return done.stdout

    def taken(self) -> None:
        """Wait until every gateway serves what was changed, which takes `taken_s` at most where none is held
        up. Verbs wait a second, and not for one that is busy for longer; `tests/cli` tries that."""
        data = DataDir(self.data)
        with patch.dict(os.environ, self._env), closing(SqlLedger(data.ledger_url)) as ledger:
            revision = ledger.revision()

        def served() -> bool:
            counts = read_counts(data.metrics_dir, but="controller")
            return all(n.revision >= revision for name, n in counts.items() if name.startswith("gateway"))

        if not served():
            until(served, timeout_s=self.soon_s(self.taken_s))

    def records(self, *args: str) -> list[dict[str, Any]]:
        """Records as `airboss records --json` prints them."""
        said = self.verb("records", "--json", "--limit", "10000", *args)
        return [json.loads(line) for line in said.splitlines()]

    def status(self) -> dict[str, Any]:
        """`airboss status --json`, whatever its exit code."""
        done = run_airboss("status", "--json", "--data-dir", str(self.data), cwd=self.root, env=self._env)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def api(self, path: str) -> Any:
        """What the admin API says at `/api/v1/…`, or None while it is away or refuses."""
        headers = {"authorization": f"Bearer {self.ready['admin_key'] or self._env['AIRBOSS_ADMIN_KEY']}"}
        try:
            # As in `client`: the machine's certificates are read only where there is TLS.
            answer = httpx2.get(
                f"{self.ready['console_url']}/api/v1/{path}",
                headers=headers,
                timeout=30.0,
                verify=self.ready["console_url"].startswith("https"),
            )
        except httpx2.TransportError:
            return None  # it is only starting again
        return answer.json() if answer.status_code == 200 else None

    def pid(self, name: str, *, ready: bool = False) -> int | None:
        """The process id of a child that is running, or `ready` too, by its name in `airboss status`."""
        try:
            processes = json.loads((self.data / "run" / "processes.json").read_text())
        except FileNotFoundError:
            return None
        found = (p["pid"] for p in processes if p["name"] == name and (p["state"] == "ready" or not ready))
        return next(found, None)

    def begun_anew(self, name: str) -> None:
        """Kill a child, and wait until it has been started again."""
        before = until(lambda: self.pid(name), timeout_s=60)
        os.kill(before, signal.SIGKILL)
        until(lambda: self.pid(name) not in {before, None}, timeout_s=60)

    def ready_anew(self, name: str) -> None:
        """The same, and wait until it is ready."""
        self.begun_anew(name)

        def ready() -> bool:
            processes = json.loads((self.data / "run" / "processes.json").read_text())
            return any(each["name"] == name and each["state"] == "ready" for each in processes)

        until(ready, timeout_s=60)

    def leases_run_out(self) -> None:
        """Whoever was killed at its jobs has been silent for a minute: another takes them at once."""
        earlier = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
        with closing(sqlite3.connect(self.data / "ledger.db", timeout=60)) as ledger, ledger:
            ledger.execute("update jobs set updated_at = ? where state = 'running'", (earlier,))

    def settled(self, timeout_s: float = 60.0) -> None:
        """Wait until every record has been moved."""

        def moved() -> bool:
            found = self.api("status")
            return found is not None and found["journal"]["unmoved_bytes"] == 0

        until(moved, timeout_s=timeout_s, every_s=0.1)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        """End it at once, if it still runs; its children notice."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        try:
            status = self.stop()
        finally:  # whatever kept it from stopping
            self.close()
        assert status == 0, self.log[-5000:]
        assert "Traceback" not in self.log, self.log[-5000:]
