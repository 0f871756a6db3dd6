"""A first `airboss up` that fails, and what may be changed before the next."""

from __future__ import annotations

from pathlib import Path

from tests.cli.running import CONFIG, up, verb
from tests.support import postgres
from tests.support.ports import unused_port

PORTS = ("--port", "0", "--console-port", "0")


def named(root: Path, ledger: str) -> None:
    """Let the configuration name this ledger."""
    (root / "airboss.toml").write_text(f'{CONFIG}\n[store]\nledger = "{ledger}"\n')


def test_a_first_start_that_fails_settles_nothing(tmp_path: Path) -> None:
    """Neither a URL that cannot be used, or leads nowhere, nor verbs that look in between decide where the
    ledger is: the next start takes what the file then says."""
    away = f"127.0.0.1:{unused_port()}/airboss"
    for wrong in (f"postgresql://ann:password@{away}", f"postgresql://ann@{away}"):
        named(tmp_path, wrong)
        refused = verb(tmp_path, "up", *PORTS)
        assert refused.returncode == 2, refused.stderr
        assert "no data yet" in verb(tmp_path, "doctor").stdout
        assert "there is no Airboss data" in verb(tmp_path, "status").stderr
    named(tmp_path, postgres.database(tmp_path))
    with up(tmp_path) as running:
        assert running.verb("status").returncode == 0
        assert (running.data_dir / "secrets/ledger").exists()
