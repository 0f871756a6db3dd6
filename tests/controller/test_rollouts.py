"""Tests of controller.rollouts on a real ledger: people's orders, evidence, and what a kill leaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.config import parse_config
from airboss.config.types import GateConfig
from airboss.controller.publish import apply_config
from airboss.controller.rollouts import Rollouts
from airboss.controller.verdict_notes import VerdictNotes
from airboss.domain.errors import ConfigError, NotFound, StoreUnavailable, WrongCall
from airboss.domain.plan import PromotionWhy, ServingPlan
from airboss.domain.ports import JournalMove, RecordFilter, WatchedCall
from airboss.domain.release import Release
from airboss.domain.score import Score
from airboss.domain.status import JournalStatus
from airboss.gateway.ids import RecordIds
from airboss.governance.audit import Sealer, read_leaf
from airboss.governance.checkpoint import Signer
from airboss.releases.build import sealed
from airboss.releases.trained import NewModel
from airboss.rollouts import assign
from airboss.rollouts.live import Rollout
from airboss.rollouts.stages import Order
from airboss.store.audit import SqlAuditLog
from airboss.store.datadir import DataDir
from airboss.store.ledger import SqlLedger
from airboss.store.memory import MemoryRecordLog
from airboss.store.rollouts import SqlRolloutStore
from tests.store.samples import closed_json, opened_json

CONFIG = """
[providers.far]
kind = "openai-compatible"
base_url = "https://h/v1"

[models.m]
provider = "far"
model = "x"

[releases.support]
model = "m"
prompt = "PROMPT"

[releases.spare]
model = "m"
prompt = "Spare."

[deployments.support]
release = "support"
rollout = { steps = [50], metrics = ["error_rate"], margin = { error_rate = MARGIN }, step_units = 5 GATE }
"""


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 24, 9, tzinfo=UTC)

    def now(self) -> datetime:
        """As `ports.Clock`."""
        return self.at

    def monotonic(self) -> float:
        """As `ports.Clock`."""
        return self.at.timestamp()


class Gate:
    """An evaluation whose answer the test gives."""

    def __init__(self) -> None:
        self.said: tuple[bool, str] | None = None

    def begin(self, rollout: Rollout, gate: GateConfig) -> str:
        """As `controller.rollouts.Gate`."""
        assert gate.dataset == "golden"
        return f"eval-of-{rollout.id}"

    def answer(self, job: str) -> tuple[bool, str] | None:
        """As `controller.rollouts.Gate`."""
        assert job.startswith("eval-of-rollout-")
        return self.said


class House:
    """A ledger and a record log with rollouts over them; `again` is what a new process would make."""

    def __init__(self, folder: Path) -> None:
        self.data = DataDir(folder)
        self.data.create()
        self.clock = Clock()
        self.gate = Gate()
        self.log = MemoryRecordLog()
        self.calls = 0
        self.arms: dict[str, str] = {}
        self.ids = RecordIds()
        self.fail_publish: Exception | None = None
        self.unmoved_since: datetime | None = None
        self.again()

    def again(self) -> None:
        """Open everything anew, as after a kill."""
        self.ledger = SqlLedger(self.data.ledger_url)
        self.store = SqlRolloutStore(self.data.ledger_url)
        self.rollouts = Rollouts(
            ledger=self.ledger,
            store=self.store,
            records=self.log,
            publish=self.publish,
            journal=self.journal,
            clock=self.clock,
            gate=self.gate,
            own_key="airboss",
            engine_version=lambda: "e 1",
        )

    def journal(self) -> JournalStatus:
        """Everything has been moved, unless the test says otherwise."""
        return JournalStatus(
            unmoved_bytes=0,
            oldest_unmoved_at=self.unmoved_since,
            lag_s=0.0,
            store_up=True,
            moved_records=0,
            corrupt_frames=0,
        )

    def publish(
        self,
        text: str,
        source: str,
        *,
        supersede: Callable[[str, str], None],
        promote: Mapping[str, tuple[str, PromotionWhy]],
        retry_failed: bool,
    ) -> ServingPlan:
        """The real thing, unless it is to fail."""
        if self.fail_publish is not None:
            raise self.fail_publish
        return apply_config(
            self.ledger,
            text,
            source=source,
            data=self.data,
            pick_port=lambda: 9000,
            now=self.clock.at,
            engine_version="e 1",
            supersede=supersede,
            promote=promote,
            retry_failed=retry_failed,
        )

    def apply(self, prompt: str, *, gate: str = "", margin: float = 0.4) -> ServingPlan:
        """Apply the configuration with that prompt."""
        text = CONFIG.replace("PROMPT", prompt).replace("GATE", gate).replace("MARGIN", str(margin))
        return self.rollouts.apply(text, "airboss.toml")

    def plan(self) -> ServingPlan:
        """What gateways serve from."""
        snapshot = self.ledger.snapshot()
        assert snapshot is not None
        return snapshot.plan

    def open(self, calls: int) -> dict[str, int]:
        """Calls of as many users, assigned and begun as gateways would; their numbers by id."""
        plan = self.plan()
        (deployment,) = plan.deployments
        canary = deployment.canary
        frames, begun = {}, {}
        for _ in range(calls):
            number, self.calls = self.calls, self.calls + 1
            self.clock.at += timedelta(milliseconds=10)
            record_id = self.ids.next(int(self.clock.at.timestamp() * 1000))
            user = f"u{number}"
            arm = assign.arm(canary.salt, f"user:{user}", canary.weight) if canary is not None else "stable"
            self.arms[record_id] = arm
            begun[record_id] = number
            frames[record_id] = opened_json(
                number,
                id=record_id,
                started_at=self.clock.at,
                deployment="support",
                arm=arm,
                plan=plan.number,
                user=user,
            )
        start = self.log.offset("w/1")
        self.log.apply(JournalMove(segment="w/1", start=start, end=start + 1, opened=frames))
        return begun

    def serve(self, calls: int, *, canary_errors: bool) -> None:
        """Calls that end, then time to notice them."""
        ends = {
            record_id: closed_json(
                number,
                id=record_id,
                status="error" if canary_errors and self.arms[record_id] == "canary" else "ok",
            )
            for record_id, number in self.open(calls).items()
        }
        start = self.log.offset("w/1")
        self.log.apply(JournalMove(segment="w/1", start=start, end=start + 1, closed=ends))
        self.clock.at += timedelta(seconds=5)

    def judge(self, name: str, arm: str) -> None:
        """Scores of all calls that have none yet: yes on this arm, no on others."""
        judged = [
            Score(
                id=f"{each.id}/{name}",
                subject="record",
                subject_id=each.id,
                name=name,
                source="scorer",
                by=name,
                at=self.clock.at,
                value=each.arm == arm,
            )
            for each in self.log.records(RecordFilter(), limit=10_000, bodies=False)
        ]
        self.log.put_scores(judged)

    def order(self, action: str, reason: str = "") -> Rollout:
        """A person's word."""
        said = Order(at=self.clock.at, action=action, by="ann", reason=reason)  # type: ignore[arg-type]
        return self.rollouts.order("support", said)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """One with a stable release."""
    house = House(tmp_path / "data")
    house.apply("Old.")
    yield house
    house.store.close()
    house.ledger.close()


def stable_prompt(house: House) -> str | None:
    """The prompt of what everybody gets."""
    return house.plan().deployments[0].stable.prompt


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
    house.apply("New.")
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


class Hangs(MemoryRecordLog):
    """A record log that answers once it is let, with what is said then."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let = threading.Event(), threading.Event()

    def watched(
        self, deployment: str, *, after: str, until: str, without_key: str, limit: int
    ) -> Sequence[WatchedCall]:
        """As `RecordLog.watched`."""
        self.asked.set()
        assert self.let.wait(30)
        return super().watched(deployment, after=after, until=until, without_key=without_key, limit=limit)


class Away(MemoryRecordLog):
    """A record log that is away."""

    def watched(self, *_asked: object, **_bounds: object) -> Sequence[WatchedCall]:
        """As `RecordLog.watched`."""
        raise StoreUnavailable("the record store does not answer")


@pytest.mark.parametrize("action", ["abort", "promote"])
def test_a_persons_word_waits_for_no_record_store(house: House, action: str) -> None:
    """Neither for one that is away nor for one that hangs while it is asked; and what that says later
    revives nothing."""
    house.apply("New.")
    house.log = Away()
    house.again()
    house.rollouts.start("support", None, by="ann")
    assert house.order("pause").stage.state == "paused"
    assert house.order("resume").stage.state == "running"
    house.log = hangs = Hangs()
    house.again()
    house.serve(50, canary_errors=True)
    ticking = threading.Thread(target=house.rollouts.tick)
    ticking.start()
    assert hangs.asked.wait(30)
    ordered: list[Rollout] = []
    ordering = threading.Thread(target=lambda: ordered.append(house.order(action)))
    ordering.start()
    ordering.join(10)
    try:
        assert [each.final for each in ordered] == [True]
        served = house.plan().deployments[0]
        assert (served.canary, served.stable.prompt) == (None, "Old." if action == "abort" else "New.")
    finally:
        hangs.let.set()
        ticking.join(30)
    (found,) = house.rollouts.list()
    assert (found.stage, found.verdict) == (ordered[0].stage, ordered[0].verdict)


def test_an_end_that_is_still_in_a_journal_is_not_late(house: House) -> None:
    """After an hour without the record store calls that were under way when it went have ended long ago:
    nobody takes them for calls that hang before all that has been recorded is there."""
    house.apply("New.")
    house.rollouts.start("support", None, by="ann")
    house.serve(10, canary_errors=False)
    house.open(30)
    house.unmoved_since = house.clock.at
    house.clock.at += timedelta(hours=1)
    house.rollouts.tick()
    (found,) = house.rollouts.list()
    assert found.verdict is not None
    (errors,) = found.verdict.metrics
    assert (errors.stable_mean, errors.canary_mean) == (0.0, 0.0)
    assert errors.stable_n + errors.canary_n == 10
    house.unmoved_since = None
    house.rollouts.tick()
    (errors,) = house.rollouts.list()[0].verdict.metrics  # type: ignore[union-attr]
    assert errors.stable_n + errors.canary_n == 40, "now they hang indeed"


def test_what_a_tick_knows_of_one_rollout_is_kept_while_another_cannot_be_read(house: House) -> None:
    """A verdict comes into force though the record store is away by then."""
    house.apply("New.")
    house.rollouts.start("support", None, by="ann")
    house.fail_publish = RuntimeError("killed")
    with pytest.raises(RuntimeError):
        house.order("abort")
    house.fail_publish = None
    assert house.plan().deployments[0].canary is not None
    house.log = Away()
    house.again()
    house.rollouts.tick()
    assert house.plan().deployments[0].canary is None


def test_a_scorers_file_that_is_gone_holds_up_no_rollout(house: House) -> None:
    """What is in force goes on without it: releases are taken back and promoted; a new mention is refused."""
    file = house.data.path / "scorers" / "tone.py"
    file.parent.mkdir()
    file.write_text("def score(item, answer):\n    return True\n")
    scoring = 'scoring = { scorers = ["python:tone.py:score"] }\n'
    said = CONFIG.replace("rollout =", scoring + "rollout =").replace("GATE", "").replace("MARGIN", "0.4")
    house.rollouts.apply(said.replace("PROMPT", "Old."), "airboss.toml")
    house.rollouts.apply(said.replace("PROMPT", "New."), "airboss.toml")
    file.unlink()
    house.rollouts.start("support", None, by="ann")
    assert house.plan().deployments[0].canary is not None
    house.order("abort")
    assert house.plan().deployments[0].canary is None
    house.rollouts.start("support", "spare", by="ann")
    house.order("promote")
    assert stable_prompt(house) == "Spare."
    again = said.replace("PROMPT", "Old.").replace("tone.py", "other.py")
    with pytest.raises(ConfigError, match=r"other\.py"):
        house.rollouts.apply(again, "airboss.toml")


def test_less_of_a_score_is_better_where_its_scorer_says_so(house: House) -> None:
    """A canary that refuses is no improvement: it is taken back; one that refuses less is promoted."""
    scoring = 'scoring = { scorers = ["refusal"], sample = 1 }\n'
    metrics = 'metrics = ["score:refusal"], margin = { "score:refusal" = 0.2 }'
    said = CONFIG.replace("rollout =", scoring + "rollout =").replace("GATE", "")
    said = said.replace('metrics = ["error_rate"], margin = { error_rate = MARGIN }', metrics)
    for prompt, refuses, state in (("No.", "canary", "aborted"), ("Yes.", "stable", "promoted")):
        house.rollouts.apply(said.replace("PROMPT", prompt), "airboss.toml")
        house.rollouts.start("support", None, by="ann")
        house.serve(300, canary_errors=False)
        house.judge("refusal", refuses)
        house.rollouts.tick()
        found = house.rollouts.list()[0]
        assert found.stage.state == state
        assert found.verdict is not None
        assert found.verdict.metrics[0].higher_is_better is False


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
