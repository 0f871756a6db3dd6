"""The data of a stopped Airboss: whose it must be to be worked with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airboss.compose.parts import open_ledger, publish, role_lock
from airboss.compose.stopped import stopped_desk
from airboss.compose.up import UpOptions, choose_config, note_start
from airboss.domain.errors import SetupError
from airboss.governance.checkpoint import read_kept
from airboss.store.datadir import DataDir
from airboss.store.ledger_lead import leading
from tests.support import postgres


def test_a_machine_that_has_joined_is_not_worked_with(tmp_path: Path) -> None:
    """Its journals belong to the one that leads, which alone may say that somebody is forgotten."""
    data = DataDir(tmp_path / "data")
    data.create()
    data.node_name()
    with pytest.raises(SetupError, match="beside another Airboss"), stopped_desk(data.path):
        pass
    assert not data.records_path.exists()
    data.lead()
    with stopped_desk(data.path):
        assert data.records_path.exists(), "it leads again"


def test_a_role_that_is_started_alone_waits_for_a_verb(tmp_path: Path) -> None:
    """Which has what is stopped for itself, for as long as it looks at it."""
    data = DataDir(tmp_path / "data")
    data.create()

    def role() -> None:
        with role_lock(data):
            pass

    with ThreadPoolExecutor(1) as pool:
        with data.lock():
            started = pool.submit(role)
            with pytest.raises(TimeoutError):
                started.result(0.5)
        started.result(30)


def test_a_ledger_that_another_one_leads_on(tmp_path: Path) -> None:
    """What is pending there is done by that one."""
    data, url = DataDir(tmp_path / "data"), postgres.database(tmp_path)
    data.create()
    data.choose_ledger(url)
    with (
        leading(data.ledger_url, broke=pytest.fail),
        pytest.raises(SetupError, match="another Airboss leads"),
        stopped_desk(data.path),
    ):
        pass
    assert not data.records_path.exists()


def test_a_first_start_that_ended_before_its_plan_is_begun_again(tmp_path: Path) -> None:
    """Also where `status` has looked in between, which keeps a checkpoint of the audit log. A ledger that was
    taken away after that is lost, until somebody says that it is to be empty."""
    config = tmp_path / "airboss.toml"
    data = DataDir(tmp_path / "data")
    data.create()
    options = UpOptions(
        config=config,
        data_dir=data.path,
        host="127.0.0.1",
        port=0,
        console_port=0,
        workers=1,
        insecure=False,
        log_format=None,
    )
    with open_ledger(data) as ledger:
        note_start(ledger, data, options)
    with stopped_desk(data.path) as desk:
        assert desk.status().audit_trouble is None
        done = desk.audit.append("x", actor="a", subject="s", detail={}, at=datetime.now(UTC))
    kept = read_kept(data.kept_secret("audit_head"))
    assert kept is not None
    assert kept.size == done + 1, "what a verb did is in the checkpoint that is kept"
    with open_ledger(data) as ledger:
        assert choose_config(ledger, data, config)[1] == str(config)
    for path in data.path.glob("ledger.db*"):
        path.unlink()
    with open_ledger(data) as ledger:
        with pytest.raises(SetupError, match=r"is empty, and it was not before.* delete .*/audit_head"):
            choose_config(ledger, data, config)
        (data.secrets_dir / "audit_head").unlink()
        assert choose_config(ledger, data, config)[1] == str(config)


def test_a_configuration_that_is_not_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a name of somebody's own it is misspelt: no starter is served for it; what is in force is."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    data = DataDir(tmp_path / "data")
    data.create()
    (tmp_path / "support.toml").write_text("")
    wrong = tmp_path / "suport.toml"
    with open_ledger(data) as ledger:
        with pytest.raises(SetupError, match=r"there is no .*suport\.toml; is .*support\.toml meant\?"):
            choose_config(ledger, data, wrong)
        with pytest.raises(SetupError, match=r"there is no .*/c\.toml; give the path of one"):
            choose_config(ledger, data, tmp_path / "none" / "c.toml")
        assert not wrong.exists()
        publish(ledger, data, *choose_config(ledger, data, tmp_path / "airboss.toml"))
        assert choose_config(ledger, data, wrong)[1] == "the configuration in force"
    assert "the configuration in force is served: there is no" in caplog.text
