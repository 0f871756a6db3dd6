"""Plans and keys stand in the audit log with their change, and nothing is edited past it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from airboss.domain.plan import ServingPlan, Standing
from airboss.domain.ports import ApiKey
from airboss.governance import ledger_notes
from airboss.governance.audit import PLAN, Sealer, read_leaf
from airboss.governance.audit_ledger import text_digest
from airboss.governance.audit_verify import Verdict, verify
from airboss.governance.checkpoint import Signer
from airboss.governance.ledger_notes import LedgerNotes, detail_of
from airboss.store.audit import SqlAuditLog
from airboss.store.audit_rows import PlanTexts
from airboss.store.ledger import SqlLedger
from airboss.store.proposal_rows import Proposal
from airboss.store.proposals import SqlProposals
from tests.controller.journals import FixedClock
from tests.store.ledgers import deployment, key, plan
from tests.support import postgres
from tests.support.kept_keys import put_key

CLOCK = FixedClock()


def published(ledger: SqlLedger, config: str, made: ServingPlan) -> ServingPlan:
    """A plan with where its deployments stand, as every plan comes."""
    stable = [(each.name, each.stable.digest) for each in made.deployments]
    stands = [Standing(deployment=name, wanted=digest, stable=digest) for name, digest in stable]
    return ledger.publish(config, made, standings=stands)


class House:
    """A ledger with its audit log."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ledger, self.audit = SqlLedger(url), SqlAuditLog(url, Sealer(Signer("s")))
        self.notes = LedgerNotes(self.ledger, self.audit, CLOCK)

    def publish(self) -> None:
        """As a configuration that is applied does."""
        with self.ledger.together():
            self.notes.published(self.publish_untold())

    def publish_untold(self) -> ServingPlan:
        """As an Airboss did before plans stood in the log."""
        return published(self.ledger, "x", plan())

    def change(self, name: str, **changes: object) -> ApiKey:
        """As a start, or a configuration that is applied."""
        return self.notes.change_key(name, lambda _: msgspec.structs.replace(key(name), **changes))

    def plans(self) -> list[int]:
        """Numbers of the plans in the log, oldest first."""
        found = self.audit.newest(limit=1_000, action=PLAN)
        return [read_leaf(each.leaf.content).detail["plan"] for each in reversed(found)]

    def actions(self) -> list[str]:
        """What was done, oldest first, but for the log's beginning."""
        return [each.leaf.action for each in reversed(self.audit.newest(limit=1_000))][1:]

    def edit(self, statement: str) -> None:
        """As somebody does who has the database."""
        with self.ledger._writer.begin() as connection:
            assert connection.exec_driver_sql(statement).rowcount > 0

    def verified(self) -> Verdict:
        """What `audit verify` finds."""
        with self.audit.whole() as whole:
            return verify(whole, public_key=Signer("s").public_key, ledger=whole)


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """An empty one."""
    file = f"sqlite:///{tmp_path / 'ledger.db'}"
    made = House(file if request.param == "sqlite" else postgres.database(tmp_path))
    yield made
    made.ledger.close()
    made.audit.close()


def test_what_an_older_airboss_left_is_told_of_as_it_is_found(house: House) -> None:
    """Plans that it had no time to note, and keys, once; before that they are no edit, after that another one
    is."""
    for _ in range(3):
        house.publish_untold()
    put_key(house.ledger, key("web"))
    house.audit.append("keys.create", actor="a", subject="key web", detail={"role": "x"}, at=CLOCK.now())
    assert house.verified().valid
    house.notes.begin()
    house.notes.begin()
    assert house.plans() == [1, 2, 3]
    assert house.actions()[-2:] == ["keys.kept", "ledger.begin"]
    assert house.verified().valid
    house.publish()
    assert house.plans() == [1, 2, 3, 4]
    assert house.verified().valid
    put_key(house.ledger, key("mole"))
    assert "key 'mole' is there, and no leaf tells of it" in str(house.verified().problem)
    house.edit("delete from keys where name = 'mole'")
    assert house.verified().valid
    house.publish_untold()
    assert "plan 5 is told of by no leaf" in str(house.verified().problem)


def test_a_leaf_that_somebody_broke_does_not_stop_a_start(house: House) -> None:
    """What it said is told again, and that it is broken by who verifies."""
    house.publish()
    house.edit("update audit_leaves set content = '{' where action = 'plan.publish'")
    house.notes.begin()
    assert house.actions()[-2:] == ["plan.publish", "ledger.begin"]
    assert "leaf 1 cannot be read" in str(house.verified().problem)


def test_a_key_has_a_leaf_where_it_changes(house: House) -> None:
    """One that stays as it is has none; whoever edits it between two leaves is found by the second, and by
    each look after it."""
    house.notes.begin()
    house.change("web")
    house.change("web")
    assert house.actions() == ["ledger.begin", "keys.bind"]
    house.change("web", priority="high")
    assert house.verified().valid
    house.edit("update keys set content = replace(content, 'high', 'low')")
    assert "key 'web' is not what leaf 3 tells of" in str(house.verified().problem)
    house.change("web", team="red")
    found = house.verified()
    assert (found.leaf, "after leaf 3 and before leaf 4" in str(found.problem)) == (4, True), found.problem


def test_a_leaf_of_an_older_airboss_says_less_of_a_key(house: House) -> None:
    """One that was started again in between changed it: it is not known how it is kept, until the next
    leaf."""
    house.notes.begin()
    house.change("web")
    put_key(house.ledger, msgspec.structs.replace(key("web"), priority="low"))
    assert not house.verified().valid
    house.audit.append("keys.set", actor="a", subject="key web", detail={}, at=CLOCK.now())
    assert house.verified().valid
    house.change("web", priority="high")
    assert house.verified().valid
    house.edit("update keys set content = replace(content, 'high', 'low')")
    assert not house.verified().valid


def test_a_key_whose_name_is_erased_is_known_by_its_digest(house: House) -> None:
    """Who is forgotten may be called as a leaf calls a key."""
    house.notes.begin()
    house.change("web")
    detail: dict[str, object] = {"erasure": 1}
    house.audit.forget("key web", action="erase.done", actor="a", subject="s", detail=detail, at=CLOCK.now())
    assert house.verified().valid
    house.edit("update keys set content = replace(content, 'normal', 'high')")
    assert not house.verified().valid


def test_a_name_that_no_leaf_keeps_whole_is_known(house: House) -> None:
    """Who asks may be called what no database keeps, or more than a leaf's name has room for."""
    for by in ("ann\0", "x" * 1_200):
        asked = Proposal(action="config.apply", subject="s", body="{}", by=by, at=CLOCK.now())
        with closing(SqlProposals(house.url)) as proposals, house.ledger.together():
            number = proposals.propose(asked)
            said = {"proposal": number, "action": "config.apply", "sha256": text_digest("{}")}
            house.audit.append("approvals.propose", actor=by, subject="s", detail=said, at=CLOCK.now())
    assert house.verified().valid
    house.edit("update proposals set content = replace(content, 'xx', 'yy')")
    assert "approval as 2 is not what leaf" in str(house.verified().problem)


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
    assert (detail["deployments"], len(detail["served"])) == (1_000, ledger_notes.NAMED_MAX)
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
        published(ledger, '[deployments.a]\nmodel = "m"\n', plan(deployment("a", "1")))
    LedgerNotes(ledger, audit, CLOCK).begin()
    with audit.whole() as data:
        assert verify(data, public_key=signer.public_key, ledger=data).valid
    ledger.close()
    audit.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as file, file:
        file.execute(edit)
    with closing(SqlAuditLog(url, Sealer(signer))) as again, again.whole() as data:
        verdict = verify(data, public_key=signer.public_key, ledger=data)
    assert not verdict.valid
    assert problem in (verdict.problem or "")
