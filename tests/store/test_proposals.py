"""Changes that wait for approval, in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from airboss.store.proposal_rows import CHARS_MAX, DECIDED_MAX, Proposal
from airboss.store.proposals import SqlProposals

AT = datetime(2026, 11, 30, tzinfo=UTC)
ASKED = Proposal(action="config.apply", subject="configuration", body='{"config": "é"}', by="otto", at=AT)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlProposals]:
    """An empty one."""
    made = SqlProposals(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.close()


def test_they_are_numbered_and_decided_once(store: SqlProposals) -> None:
    """By whoever is first."""
    assert [store.propose(ASKED), store.propose(ASKED)] == [1, 2]
    assert [each.number for each in store.proposals(state="waiting")] == [2, 1]
    found = store.proposal(1)
    assert found == msgspec.structs.replace(ASKED, number=1)
    decided = msgspec.structs.replace(found, state="approved", decided_by="anna", decided_at=AT)
    assert store.decide(decided)
    assert not store.decide(msgspec.structs.replace(decided, state="rejected"))
    assert not store.decide(msgspec.structs.replace(decided, number=9))
    assert store.proposal(1) == decided
    assert [each.number for each in store.proposals(state="waiting")] == [2]
    assert store.waiting() == 1
    assert [each.number for each in store.proposals()] == [2, 1]
    assert store.proposal(9) is None


def test_those_decided_are_bounded_in_what_they_say(store: SqlProposals) -> None:
    """Whatever their number: who lists them reads them whole."""
    long = msgspec.structs.replace(ASKED, body="é" * (CHARS_MAX // 3))
    first = store.propose(long)
    for number in range(2, 7):
        assert store.propose(long) == number
        store.decide(msgspec.structs.replace(long, number=number, state="approved"))
    last = store.propose(ASKED)
    assert [each.number for each in store.proposals()] == [last, 6, 5, first]


def test_those_decided_are_bounded(store: SqlProposals) -> None:
    """What waits stays, however old; no number comes twice."""
    first = store.propose(ASKED)
    for number in range(2, DECIDED_MAX + 12):
        assert store.propose(ASKED) == number
        store.decide(msgspec.structs.replace(ASKED, number=number, state="rejected"))
    kept = store.proposals(limit=1_000)
    assert kept[-1].number == first
    assert len(kept) <= DECIDED_MAX + 3
    assert kept[0].number == DECIDED_MAX + 11
