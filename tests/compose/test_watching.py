"""What alarms about recording watch, and the configuration that is asked for behind live calls."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from airboss.compose.watching import InForce, SwitchedOn, lost, scores
from airboss.domain.errors import SetupError
from airboss.domain.status import JournalStatus, RetentionStatus
from airboss.store.ledger import SqlLedger
from tests.journeys.configs import fake
from tests.store.ledgers import NOW, plan


def test_a_callers_slip_is_no_loss() -> None:
    """Feedback on a record that is not there is put away; any key could fire an alarm with it."""
    journal = JournalStatus(
        unmoved_bytes=0,
        oldest_unmoved_at=None,
        lag_s=0.0,
        store_up=True,
        moved_records=9,
        corrupt_frames=1,
        stray_feedback=5,
    )
    retention = RetentionStatus(dropped=3, disk_full=True)
    assert lost(journal, retention) == {"dead_letters": 1, "bodies_dropped": 3, "disk_full": 1}


def test_a_configuration_that_somebody_edited_is_waited_out(tmp_path: Path) -> None:
    """As a ledger that is away is, by the mover too: a controller must not end by it again and again."""
    with closing(SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger:
        ledger.publish("", plan())
        force = InForce(ledger)
        before = force.config()

        def put(text: str) -> None:
            with closing(sqlite3.connect(tmp_path / "ledger.db")) as theirs, theirs:
                theirs.execute("update plans set config = ?", [text])

        put("x = [")
        for _ in range(2):
            with pytest.raises(SetupError, match=r"not TOML.*the ledger was edited"):
                force.config()
        put("")
        assert force.config() == before


def test_what_is_switched_on_is_so_since_its_own_plan(tmp_path: Path) -> None:
    """However many plans came after it; switched off in between, since the last time."""
    scored = fake("http://127.0.0.1:1/v1", 'scoring = { scorers = ["refusal"] }')
    more = f'{scored}\naliases = ["b"]\n'
    with closing(SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger:
        switched_on = SwitchedOn(ledger, scores)
        with pytest.raises(SetupError):
            switched_on()

        def put(*texts: str) -> datetime:
            for text in texts:
                at = NOW + timedelta(minutes=ledger.revision())
                ledger.publish(text, msgspec.structs.replace(plan(), created_at=at))
            return switched_on()

        for one in (switched_on, SwitchedOn(ledger, scores)):
            put("", "x = [")  # what an older Airboss took
            first = put(scored)
            assert first == put(scored, more, more) == put(scored) == SwitchedOn(ledger, scores)()
            second = put("", more)
            assert one() == second == put(scored)
            assert second > first
