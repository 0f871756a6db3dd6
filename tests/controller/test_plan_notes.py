"""Every plan stands in the audit log, once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from airboss.controller import plan_notes
from airboss.controller.plan_notes import PlanNotes, detail_of
from airboss.governance.audit import PLAN, Sealer, read_leaf
from airboss.governance.audit_verify import verify
from airboss.governance.checkpoint import Signer
from airboss.store.audit import SqlAuditLog
from airboss.store.audit_rows import PlanTexts
from airboss.store.ledger import SqlLedger
from tests.controller.journals import FixedClock
from tests.store.ledgers import deployment, plan


def noted(audit: SqlAuditLog) -> list[int]:
    """Numbers of the plans in the log, oldest first."""
    found = audit.newest(limit=1_000, action=PLAN)
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
    texts = PlanTexts(content="{}", config="")
    few = plan(deployment("a", "1"), deployment("b", "2"))
    detail = detail_of(few, texts)
    assert {name: each["stable"] for name, each in detail["served"].items()} == {
        each.name: each.stable.digest for each in few.deployments
    }
    many = plan(*(deployment(f"d{number}") for number in range(1_000)))
    detail = detail_of(many, texts)
    assert (detail["deployments"], len(detail["served"])) == (1_000, plan_notes.NAMED_MAX)
    assert len(msgspec.json.encode(detail)) < 16 * 1024


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (
            "update plans set content = replace(content, 'a', 'b') where number = 2",
            "plan 2 is not what leaf 2 tells of",
        ),
        (
            "update plans set config = config || ' ' where number = 2",
            "the configuration of plan 2 is not",
        ),
        ("delete from plans where number = 2", "plan 2, which leaf 2 tells of, is gone"),
        ("drop table plans", "the ledger lacks the table plans"),
        ("update plans set content = x'00' where number = 2", "plan 2 is not what leaf 2 tells of"),
    ],
)
def test_a_plan_that_was_edited_does_not_fit_its_leaf(tmp_path: Path, edit: str, problem: str) -> None:
    """The check of the log says which, of a plan in force and of an older one."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger, audit, signer = SqlLedger(url), SqlAuditLog(url, Sealer(Signer("s"))), Signer("s")
    for _ in range(3):
        ledger.publish('[deployments.a]\nmodel = "m"\n', plan(deployment("a", "1")))
    PlanNotes(ledger, audit, FixedClock()).tick()
    with audit.whole() as data:
        assert verify(data, public_key=signer.public_key, plans=audit.plan).valid
    ledger.close()
    audit.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as file, file:
        file.execute(edit)
    with closing(SqlAuditLog(url, Sealer(signer))) as again, again.whole() as data:
        verdict = verify(data, public_key=signer.public_key, plans=again.plan)
    assert not verdict.valid
    assert problem in (verdict.problem or "")
