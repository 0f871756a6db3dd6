"""Every plan stands in the audit log, once."""

from __future__ import annotations

from pathlib import Path

import msgspec

from airboss.controller import plan_notes
from airboss.controller.plan_notes import PlanNotes, detail_of
from airboss.governance.audit import Sealer, read_leaf
from airboss.governance.checkpoint import Signer
from airboss.store.audit import SqlAuditLog
from airboss.store.ledger import SqlLedger
from tests.controller.journals import FixedClock
from tests.store.ledgers import deployment, plan


def noted(audit: SqlAuditLog) -> list[int]:
    """Numbers of the plans in the log, oldest first."""
    found = audit.newest(limit=1_000, action=plan_notes.ACTION)
    return [read_leaf(each.leaf.content).detail["plan"] for each in reversed(found)]


def test_plans_are_noted_once_whoever_published_them(tmp_path: Path) -> None:
    """Those before the first look, those since, and those that a killed controller missed; none twice."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger, audit = SqlLedger(url), SqlAuditLog(url, Sealer(Signer("s")))
    notes = PlanNotes(ledger, audit, FixedClock())
    notes.tick()
    assert noted(audit) == []
    for _ in range(3):
        ledger.publish("x", plan())
    notes.tick()
    notes.tick()
    assert noted(audit) == [1, 2, 3]
    ledger.publish("x", plan())
    PlanNotes(ledger, audit, FixedClock()).tick()
    notes.tick()
    assert noted(audit) == [1, 2, 3, 4]
    ledger.close()
    audit.close()


def test_many_plans_are_noted_piece_by_piece(tmp_path: Path) -> None:
    """A tick is bounded; the next goes on."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger, audit = SqlLedger(url), SqlAuditLog(url, Sealer(Signer("s")))
    for _ in range(plan_notes.AT_ONCE + 2):
        ledger.publish("x", plan())
    notes = PlanNotes(ledger, audit, FixedClock())
    notes.tick()
    assert len(noted(audit)) == plan_notes.AT_ONCE
    notes.tick()
    assert noted(audit) == list(range(1, plan_notes.AT_ONCE + 3))
    ledger.close()
    audit.close()


def test_a_note_says_which_release_serves_what() -> None:
    """Each deployment's digest; of very many deployments their number and the digest of the whole."""
    few = plan(deployment("a", "1"), deployment("b", "2"))
    detail = detail_of(few)
    assert {name: each["stable"] for name, each in detail["served"].items()} == {
        each.name: each.stable.digest for each in few.deployments
    }
    many = plan(*(deployment(f"d{number}") for number in range(1_000)))
    assert (detail_of(many)["deployments"], len(detail_of(many)["served"])) == (1_000, plan_notes.NAMED_MAX)
    assert len(msgspec.json.encode(detail_of(many))) < 16 * 1024
