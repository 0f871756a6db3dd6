"""Tests of controller.rollouts on a real ledger: people's orders, evidence, and what a kill leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.config import parse_config
from airboss.controller.verdict_notes import VerdictNotes
from airboss.domain.errors import ConfigError, NotFound, WrongCall
from airboss.domain.ports import RecordFilter, WatchedCall
from airboss.domain.release import Release
from airboss.governance.audit import Sealer, read_leaf
from airboss.governance.checkpoint import Signer
from airboss.releases.build import sealed
from airboss.releases.trained import NewModel
from airboss.store.audit import SqlAuditLog
from tests.controller.rolling import CONFIG, House, stable_prompt


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """One with a stable release."""
    house = House(tmp_path / "data")
    house.apply("Old.")
    yield house
    house.store.close()
    house.ledger.close()


def test_harm_aborts(house: House) -> None:
    """A canary that fails is taken back with the evidence, which is kept."""
    house.apply("New.")
    assert house.rollouts.start("support", None, by="ann").stage.state == "running"
    assert house.plan().deployments[0].canary is not None
    house.serve(200, canary_errors=True)
    house.rollouts.tick()
    (found,) = house.rollouts.list()
    assert found.stage.state == "aborted"
    assert house.plan().deployments[0].canary is None
    assert stable_prompt(house) == "Old."
    (verdict,) = house.rollouts.verdicts(found.id)
    assert verdict.conclusion == "abort"
    assert verdict.metrics[0].finding == "harm"


def test_no_harm_promotes_and_the_configuration_says_so(house: House) -> None:
    """Also where the release was named and is not what the file says: an export would keep it."""
    house.rollouts.start("support", "spare", by="ann")
    house.serve(400, canary_errors=False)
    house.rollouts.tick()
    assert house.rollouts.list()[0].stage.state == "promoted"
    assert stable_prompt(house) == "Spare."
    text = house.ledger.config()
    assert text is not None
    assert parse_config(text, source="").deployments["support"].release == "spare"
    promotions = house.ledger.standings()["support"].promoted
    assert [each.why for each in promotions] == ["first", "rollout"]
    assert house.apply("Old.").deployments[0].stable.prompt == "Old.", "taken back at once"


def test_a_kill_between_verdict_and_plan_is_made_good(house: House) -> None:
    """The verdict is kept first; whoever starts next brings the plan to it."""
    house.apply("New.")
    house.rollouts.start("support", None, by="ann")
    house.serve(400, canary_errors=False)
    house.fail_publish = RuntimeError("killed")
    with pytest.raises(RuntimeError):
        house.rollouts.tick()
    assert stable_prompt(house) == "Old."
    house.fail_publish = None
    house.again()
    house.rollouts.tick()
    assert stable_prompt(house) == "New."
    assert house.plan().deployments[0].canary is None
    assert len(house.ledger.standings()["support"].promoted) == 2


def test_a_fold_goes_on_after_a_kill(house: House) -> None:
    """What was counted is counted once, in whatever pieces it was read."""
    house.apply("New.", margin=0.01)
    house.rollouts.start("support", None, by="ann")
    for _ in range(4):
        house.serve(10, canary_errors=False)
        house.rollouts.tick()
        house.again()
    (found,) = house.rollouts.list()
    assert found.verdict is not None
    metric = found.verdict.metrics[0]
    assert metric.stable_n + metric.canary_n == 40


def test_a_clock_that_was_a_day_ahead_leaves_no_harm_unseen(house: House) -> None:
    """A rollout that was begun then ends and everybody gets stable again, where the canary would have stayed
    unwatched for a day; the next one sees its calls at once, and harm in them."""
    house.apply("New.")
    house.clock.at += timedelta(days=1)
    house.rollouts.start("support", None, by="ann")
    house.serve(4, canary_errors=False)
    house.rollouts.tick()
    house.clock.at -= timedelta(days=1)
    house.serve(4, canary_errors=True)
    house.rollouts.tick()
    ended = house.rollouts.list()[0]
    assert ended.stage.state == "inconclusive"
    assert ended.verdict is not None
    assert "the clock was set back by 24.0 h" in ended.verdict.reason
    assert house.plan().deployments[0].canary is None
    next_one = house.rollouts.start("support", None, by="ann").id
    assert house.rollouts.list()[0].id == next_one
    house.serve(60, canary_errors=True)
    house.rollouts.tick()
    found = house.rollouts.get(next_one)
    assert found is not None
    assert found.stage.state == "aborted"


def test_a_clock_that_steps_back_neither_loses_nor_doubles_calls(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is admitted meanwhile is looked at once the clock has caught up: every call once, in order."""
    house.apply("New.", margin=0.01)
    house.rollouts.start("support", None, by="ann")
    looked_at: list[str] = []
    real = house.log.watched

    def watched(*asked: Any, **more: Any) -> Sequence[WatchedCall]:
        calls = real(*asked, **more)
        looked_at.extend(call.id for call in calls)
        return calls

    monkeypatch.setattr(house.log, "watched", watched)
    house.serve(30, canary_errors=False)
    house.rollouts.tick()
    before = set(looked_at)
    house.ids.begin_after(int(house.clock.at.timestamp() * 1000))  # what a gateway started anew does
    house.clock.at -= timedelta(minutes=10)
    house.serve(30, canary_errors=False)
    house.rollouts.tick()
    house.again()
    house.rollouts.tick()
    assert set(looked_at) == before
    house.clock.at += timedelta(minutes=11)
    house.serve(10, canary_errors=False)
    house.rollouts.tick()
    assert house.rollouts.list()[0].stage.state == "running", "an ended rollout looks no further"
    everything = sorted(each.id for each in house.log.records(RecordFilter(), limit=99, bodies=False))
    assert len(everything) == 70
    lanes = len(house.rollouts.list()[0].lanes)
    assert sorted(looked_at) == sorted(everything * lanes)


def test_there_is_one_rollout_at_a_time(house: House) -> None:
    """And none where there is nothing to roll out, or nothing of that name."""
    with pytest.raises(WrongCall, match="no candidate"):
        house.rollouts.start("support", None, by="ann")
    with pytest.raises(NotFound, match="no release 'nope'"):
        house.rollouts.start("support", "nope", by="ann")
    with pytest.raises(NotFound, match="no deployment 'nope'"):
        house.rollouts.start("nope", None, by="ann")
    with pytest.raises(WrongCall, match="stable in 'support' already"):
        house.rollouts.start("support", "support", by="ann")
    with pytest.raises(WrongCall, match="no rollout"):
        house.order("abort")
    house.apply("New.")
    house.rollouts.start("support", None, by="ann")
    with pytest.raises(WrongCall, match="is running"):
        house.rollouts.start("support", "spare", by="ann")
    house.order("pause")
    paused = "of 'support' is paused; `airboss rollout abort support` ends it"
    with pytest.raises(WrongCall, match=paused):
        house.rollouts.start("support", "spare", by="ann")
    with pytest.raises(WrongCall, match=paused):
        house.rollouts.undo("support")


def test_another_wish_ends_what_was_being_rolled_out(house: House) -> None:
    """By a new candidate, and by taking the old one back into the file."""
    for prompt in ("Newer.", "Old."):
        house.apply("New.")
        house.rollouts.start("support", None, by="ann")
        house.apply(prompt)
        assert house.rollouts.list()[0].stage.state == "aborted"
        assert house.plan().deployments[0].canary is None
        assert stable_prompt(house) == "Old."


def test_applying_the_same_again_leaves_a_rollout_alone(house: House) -> None:
    """Nothing else was asked for."""
    house.apply("New.")
    house.rollouts.start("support", None, by="ann")
    before = house.plan()
    assert house.apply("New.").number == before.number
    assert house.rollouts.list()[0].stage.state == "running"


def test_a_rollout_goes_on_through_an_upgrade_with_newer_detectors(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in force makes another release with them then, of a policy that nobody changed: the rollout is
    not ended for that, and its release is promoted without a second one of it in the configuration."""
    policy = '[policies.p]\npii = { action = "mask" }\n'

    def text(prompt: str) -> str:
        said = CONFIG.replace("GATE", "").replace("MARGIN", "0.1").replace("PROMPT", prompt)
        return policy + said.replace(f'prompt = "{prompt}"\n', f'prompt = "{prompt}"\npolicy = "p"\n')

    for prompt in ("Bare.", "Begun."):
        house.rollouts.apply(text(prompt), "airboss.toml")
    begun = house.rollouts.start("support", None, by="ann")
    monkeypatch.setattr("airboss.governance.policies.DETECTORS_VERSION", "newer")
    house.again()
    house.rollouts.apply(text("Begun."), "in force")
    assert house.rollouts.list()[0].stage.state == "running"
    canary = house.plan().deployments[0].canary
    assert canary is not None
    assert canary.served.release.digest == begun.release
    assert house.order("promote", "as it was").stage.state == "promoted"
    assert house.ledger.standings()["support"].stable == begun.release
    assert house.ledger.config() == text("Begun.")


@pytest.mark.parametrize("passed", [True, False])
def test_a_gate_comes_before_any_traffic(house: House, passed: bool) -> None:
    """The first step begins when it passes; when it does not, nobody has seen the candidate."""
    house.apply("New.", gate=', gate = { dataset = "golden", scorer = "exact", margin = 0.1 }')
    assert house.rollouts.start("support", None, by="ann").stage.state == "gate"
    house.rollouts.tick()
    canary = house.plan().deployments[0].canary
    assert canary is not None
    assert canary.weight == 0.0
    house.gate.said = (passed, "so it is")
    house.rollouts.tick()
    found = house.rollouts.list()[0]
    assert found.stage.state == ("running" if passed else "aborted")
    weight = house.plan().deployments[0].canary
    assert (weight.weight if weight is not None else None) == (0.5 if passed else None)


def test_people_may_pause_promote_and_abort(house: House) -> None:
    """Their word is kept with the evidence that there is."""
    house.apply("New.", margin=0.1)  # so that twenty calls decide nothing, however they are drawn
    house.rollouts.start("support", None, by="ann")
    house.serve(20, canary_errors=False)
    house.rollouts.tick()
    assert house.order("pause").stage.state == "paused"
    assert house.order("resume").stage.state == "running"
    ended = house.order("promote", "looks good")
    assert ended.stage.state == "promoted"
    assert ended.verdict is not None
    assert ended.verdict.authority == "person"
    assert ended.verdict.metrics[0].stable_n > 0
    assert stable_prompt(house) == "New."
    assert house.ledger.standings()["support"].promoted[-1].why == "person"


def test_a_proposed_release_can_be_rolled_out(house: House) -> None:
    """It stands in the configuration under its name, with every part of it."""
    bare = house.plan().others[0].release
    tuned = sealed(
        Release(digest="", name="tuned", model=bare.model, prompt="One.\nTwo.", params={"temperature": 0.5})
    )
    house.rollouts.propose("tuned", tuned)
    house.rollouts.propose("tuned", tuned)
    assert tuned.digest in {each.release.digest for each in house.plan().others}
    other = msgspec.structs.replace(tuned, prompt="Else.")
    with pytest.raises(WrongCall, match="another name"):
        house.rollouts.propose("tuned", sealed(other))
    assert house.rollouts.start("support", "tuned", by="ann").release == tuned.digest


def test_a_trained_model_is_proposed_with_its_release(house: House) -> None:
    """Both stand in the configuration under one name, with the digest that was judged; twice is once, and a
    name that is another's is refused, with nothing changed."""
    bare = house.plan().others[0].release
    model = msgspec.structs.replace(bare.model, model="ft:m:1")
    tuned = sealed(Release(digest="", name="tuned", model=model, prompt="One."))
    new = NewModel(base=bare.model, fields={"model": "ft:m:1"})
    house.rollouts.propose("tuned", tuned, new)
    house.rollouts.propose("tuned", tuned, new)
    held = next(each for each in house.plan().others if each.release.digest == tuned.digest)
    assert (held.target.upstream_model, held.target.price) == ("ft:m:1", None)
    before = house.ledger.config()
    with pytest.raises(WrongCall, match="another model 'tuned'"):
        house.rollouts.propose("tuned", tuned, NewModel(base=bare.model, fields={"model": "ft:m:2"}))
    gone = msgspec.structs.replace(bare.model, model="gone")
    with pytest.raises(ConfigError, match="not in the configuration any more"):
        house.rollouts.propose("else", tuned, NewModel(base=gone, fields={"model": "ft:m:3"}))
    assert house.ledger.config() == before


def test_no_user_stands_in_the_ledger(house: House) -> None:
    """Units are remembered by a salted hash."""
    house.apply("New.")
    house.rollouts.start("support", None, by="ann")
    house.serve(30, canary_errors=False)
    house.rollouts.tick()
    kept = b"".join(path.read_bytes() for path in house.data.path.glob("ledger.db*"))
    assert b"user:u" not in kept
    assert json.dumps("u7").encode() not in kept


def test_every_verdict_stands_in_the_audit_log_once(house: House) -> None:
    """With what it rests on, whoever was killed in between."""
    audit = SqlAuditLog(house.data.ledger_url, Sealer(Signer("s")))
    house.apply("New.")
    house.rollouts.start("support", None, by="ann")
    house.order("abort", "enough")
    VerdictNotes(house.store, audit, house.clock).tick()
    house.apply("Newer.")
    house.rollouts.start("support", None, by="ann")
    house.serve(200, canary_errors=True)
    house.rollouts.tick()
    again = VerdictNotes(house.store, audit, house.clock)
    again.tick()
    again.tick()
    found = [read_leaf(each.leaf.content).detail for each in audit.newest(limit=9, action="verdict")]
    assert [(each["conclusion"], each["authority"]) for each in found] == [
        ("abort", "evidence"),
        ("abort", "person"),
    ]
    assert found[0]["findings"] == {"error_rate": "harm"}
    audit.close()


def test_a_name_is_what_the_configuration_calls_so(house: House) -> None:
    """Also where another deployment, which comes later in the plan, serves an older release of that name."""
    second = """
[deployments.second]
release = "support"
rollout = { steps = [50] }
"""
    text = CONFIG.replace("GATE", "").replace("MARGIN", "0.4") + second
    house.rollouts.apply(text.replace("PROMPT", "New."), "airboss.toml")
    house.rollouts.apply(text.replace("PROMPT", "Old."), "airboss.toml")
    ready = house.rollouts.startable("second", "support")
    assert ready.prompt == "Old.", "which is stable in the other, and called so by the file"
