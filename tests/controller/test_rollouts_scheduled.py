"""Rollouts that are to begin at a set time: once, by the rules of then, whatever is killed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from airboss.controller.verdict_notes import VerdictNotes
from airboss.domain.errors import WrongCall
from airboss.governance.audit import Sealer, read_leaf
from airboss.governance.checkpoint import Signer
from airboss.rollouts.live import Rollout
from airboss.store.audit import SqlAuditLog
from tests.controller.rolling import House, stable_prompt

SOON = timedelta(hours=1)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """One with a stable release and a candidate."""
    house = House(tmp_path / "data")
    house.apply("Old.")
    house.apply("New.")
    yield house
    house.store.close()
    house.ledger.close()


def scheduled(house: House, *, by: str = "ann") -> Rollout:
    """A rollout that is to begin in an hour."""
    return house.rollouts.start("support", None, by=by, starts_at=house.clock.at + SOON)


def newest(house: House) -> Rollout:
    """The newest rollout."""
    return house.rollouts.list()[0]


def test_it_begins_at_its_time_and_once(house: House) -> None:
    """Nothing is shown before. A process that comes in between finds it; its calls count from then on."""
    number = house.plan().number
    asked = scheduled(house)
    assert (asked.stage.state, asked.begun) == ("scheduled", False)
    house.serve(50, canary_errors=True)
    for _ in range(3):
        house.again()
        house.fail_publish = AssertionError("a plan was made, and nothing in it is new")
        house.rollouts.tick()
        house.fail_publish = None
        house.rollouts.refresh()
        assert newest(house) == asked
    assert (house.plan().number, house.plan().deployments[0].canary) == (number, None)
    house.clock.at = asked.starts_at or house.clock.at
    house.rollouts.tick()
    begun = newest(house)
    assert (begun.id, begun.by, begun.stage.state) == (asked.id, "ann", "running")
    assert (begun.started_at, begun.starts_at) == (house.clock.at, asked.starts_at)
    canary = house.plan().deployments[0].canary
    assert canary is not None
    assert (canary.rollout, canary.weight, canary.salt) == (asked.id, 0.5, begun.salt)
    house.again()
    house.rollouts.tick()
    assert (newest(house).salt, newest(house).stage) == (begun.salt, begun.stage)
    (told,) = house.rollouts.verdicts(asked.id)
    assert (told.conclusion, told.authority) == ("hold", "person")
    assert told.reason == f"begun at its time, set for {begun.starts_at:%Y-%m-%d %H:%M} UTC by ann"
    house.serve(200, canary_errors=True)
    house.rollouts.tick()
    assert newest(house).stage.state == "aborted"


def test_the_audit_log_has_that_it_began(house: House) -> None:
    """By the verdict, as all that Airboss does to a rollout by itself."""
    asked = scheduled(house)
    audit = SqlAuditLog(house.data.ledger_url, Sealer(Signer("s")))
    notes = VerdictNotes(house.store, audit, house.clock)
    notes.tick()
    assert not audit.newest(limit=1, action="verdict")
    house.clock.at += SOON
    house.rollouts.tick()
    notes.tick()
    (leaf,) = audit.newest(limit=2, action="verdict")
    detail = read_leaf(leaf.leaf.content).detail
    assert (detail["rollout"], detail["conclusion"], detail["weight"]) == (asked.id, "hold", 0.5)
    audit.close()


def test_it_is_cancelled_by_abort(house: House) -> None:
    """It never begins then, and another may. Nobody may begin one beside it, nor undo."""
    asked = scheduled(house)
    for refused in (lambda: scheduled(house), lambda: house.rollouts.undo("support")):
        with pytest.raises(WrongCall, match=f"{asked.id} of 'support' is scheduled"):
            refused()
    for action in ("pause", "resume"):
        with pytest.raises(WrongCall, match="the rollout is scheduled, not"):
            house.order(action)
    house.order("abort", "not this week")
    house.clock.at += 2 * SOON
    house.rollouts.tick()
    over = newest(house)
    assert (over.stage.state, over.begun) == ("aborted", False)
    assert house.plan().deployments[0].canary is None
    assert house.rollouts.start("support", None, by="ann").stage.state == "running"


def test_it_may_be_promoted_before_its_time(house: House) -> None:
    """A person's word goes before it."""
    scheduled(house)
    house.order("promote")
    assert stable_prompt(house) == "New."
    house.clock.at += 2 * SOON
    house.rollouts.tick()
    assert newest(house).stage.state == "promoted"


def test_the_clock_is_the_present_one(house: House) -> None:
    """Set back, it waits until it has caught up; who was away at the time begins late."""
    scheduled(house)
    house.clock.at -= timedelta(hours=5)
    house.rollouts.tick()
    assert newest(house).stage.state == "scheduled"
    house.clock.at += timedelta(days=2)
    house.again()
    house.rollouts.tick()
    begun = newest(house)
    assert (begun.stage.state, begun.started_at) == ("running", house.clock.at)
    house.clock.at -= timedelta(minutes=30)
    house.rollouts.tick()
    assert newest(house).salt == begun.salt, "it begins once, though its clock is before that again"


def test_the_rules_are_those_of_its_time(house: House) -> None:
    """A configuration that wants the same release keeps it, and says by which rules it begins."""
    asked = scheduled(house)
    house.apply("New.", margin=0.2)
    house.clock.at += SOON
    house.rollouts.tick()
    begun = newest(house)
    assert (begun.id, begun.stage.state) == (asked.id, "running")
    assert begun.analysis.metrics[0].margin == 0.2


def test_a_configuration_that_wants_another_release_ends_it(house: House) -> None:
    """As it ends one that runs."""
    scheduled(house)
    house.apply("Newer.")
    over = newest(house)
    assert over.stage.state == "aborted"
    assert over.verdict is not None
    assert "a configuration was applied that wants release" in over.verdict.reason


def test_what_cannot_be_rolled_out_any_more_ends_it(house: House) -> None:
    """With the reason, rather than to be tried for ever."""
    house.rollouts.start("support", "spare", by="ann", starts_at=house.clock.at + SOON)
    text = (house.ledger.config() or "").replace('[releases.spare]\nmodel = "m"\nprompt = "Spare."\n', "")
    house.rollouts.apply(text, "airboss.toml")
    house.clock.at += SOON
    house.rollouts.tick()
    over = newest(house)
    assert over.stage.state == "aborted"
    assert over.verdict is not None
    assert "and it cannot be: no release" in over.verdict.reason


@pytest.mark.parametrize("gate", ["", ', gate = { dataset = "golden", scorer = "exact_match" }'])
def test_a_kill_as_it_begins_leaves_it_to_begin(house: House, gate: str) -> None:
    """What it begins with is one transaction: the gate's evaluation, the rollout, the plan."""
    house.apply("New.", gate=gate)
    asked = scheduled(house)
    house.clock.at += SOON
    house.fail_publish = RuntimeError("killed")
    with pytest.raises(RuntimeError):
        house.rollouts.tick()
    house.fail_publish = None
    house.again()
    assert newest(house) == asked
    assert house.plan().deployments[0].canary is None
    house.rollouts.tick()
    assert newest(house).stage.state == ("gate" if gate else "running")
    assert len(house.rollouts.verdicts(asked.id)) == 1
