"""A first `airboss up` that fails, and what may be changed before the next."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.cli.running import CONFIG, up, verb
from tests.support import postgres
from tests.support.ports import unused_port

PORTS = ("--port", "0", "--console-port", "0")


def named(root: Path, ledger: str | None) -> None:
    """Let the configuration name this ledger, or none."""
    store = f'\n[store]\nledger = "{ledger}"\n' if ledger is not None else ""
    (root / "airboss.toml").write_text(CONFIG + store)


def test_a_first_start_that_fails_settles_nothing(tmp_path: Path) -> None:
    """Neither a URL that cannot be used, or leads nowhere, nor a start that fails with a ledger open, nor
    verbs that look in between decide where the ledger is: the next start takes what the file then says."""
    away = f"127.0.0.1:{unused_port()}/airboss"
    for wrong in (f"postgresql://ann:password@{away}", f"postgresql://ann@{away}"):
        named(tmp_path, wrong)
        refused = verb(tmp_path, "up", *PORTS)
        assert refused.returncode == 2, refused.stderr
        assert "no data yet" in verb(tmp_path, "doctor").stdout
        assert "there is no Airboss data" in verb(tmp_path, "status").stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for ledger in (f"sqlite:///{tmp_path}/other.db", None):
            named(tmp_path, ledger)
            for late in (("--port", port, "--console-port", "0"), ("--port", "0", "--console-port", port)):
                refused = verb(tmp_path, "up", *late)
                assert (refused.returncode, "is in use" in refused.stderr) == (2, True), refused.stderr
                assert "no data yet" in verb(tmp_path, "doctor").stdout
    named(tmp_path, postgres.database(tmp_path))
    with up(tmp_path) as running:
        assert running.verb("status").returncode == 0
        assert (running.data_dir / "secrets/ledger").exists()
