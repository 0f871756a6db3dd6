"""The data of a stopped Airboss: whose it must be to be worked with."""

from __future__ import annotations

from pathlib import Path

import pytest

from airboss.compose.stopped import stopped_desk
from airboss.domain.errors import SetupError
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
