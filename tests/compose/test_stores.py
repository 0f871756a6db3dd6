"""Keys that no new one can stand in for are not made anew where something depends on them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from airboss.compose.stores import AUDIT_KEY, ERASE_KEY, open_audit, open_people
from airboss.domain.errors import SetupError
from airboss.store.datadir import DataDir

NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A data directory in which something was done, and somebody forgotten."""
    made = DataDir(tmp_path / "data")
    made.create()
    with open_audit(made) as audit:
        audit.append("x", actor="a", subject="b", detail={}, at=NOW)
    with open_people(made) as people:
        people.ask("ann", by="admin", now=NOW)
    return made


def test_a_log_whose_key_is_gone_is_not_signed_with_another(data: DataDir) -> None:
    """It is told which file to put back; another secret, written there on purpose, is taken."""
    path = data.secrets_dir / AUDIT_KEY
    key = path.read_text()
    path.unlink()
    with pytest.raises(SetupError, match=f"{path} is gone, and the audit log is signed"), open_audit(data):
        pass
    assert not path.exists()
    for secret in ("another", key):
        path.write_text(secret)
        with open_audit(data) as audit:
            assert len(audit.newest(limit=9)) == 2


def test_who_was_forgotten_is_not_forgotten_about(data: DataDir) -> None:
    """Without the key that they are recognised by, nobody would be."""
    path = data.secrets_dir / ERASE_KEY
    path.unlink()
    with pytest.raises(SetupError, match=f"{path} is gone, and who was forgotten"), open_people(data):
        pass
    assert not path.exists()
