"""Rollouts over a real ledger and a record log in memory, with a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airboss.config.types import GateConfig
from airboss.controller.publish import apply_config
from airboss.controller.rollouts import Rollouts
from airboss.domain.plan import PromotionWhy, ServingPlan
from airboss.domain.ports import JournalMove, RecordFilter
from airboss.domain.score import Score
from airboss.domain.status import JournalStatus
from airboss.gateway.ids import RecordIds
from airboss.rollouts import assign
from airboss.rollouts.live import Rollout
from airboss.rollouts.stages import Order
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
        """As `controller.rollout_ports.Gate`."""
        assert gate.dataset == "golden"
        return f"eval-of-{rollout.id}"

    def answer(self, job: str) -> tuple[bool, str] | None:
        """As `controller.rollout_ports.Gate`."""
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
        self.opened: list[SqlLedger | SqlRolloutStore] = []
        self.again()

    def again(self) -> None:
        """Open everything anew, as after a kill."""
        while self.opened:  # what a process that is killed has open is closed, too
            self.opened.pop().close()
        self.ledger = SqlLedger(self.data.ledger_url)
        self.store = SqlRolloutStore(self.data.ledger_url)
        self.opened += [self.ledger, self.store]
        self.rollouts = Rollouts(
            ledger=self.ledger,
            store=self.store,
            records=self.log,
            publish=self.publish,
            journal=self.journal,
            clock=self.clock,
            gate=self.gate,
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


def stable_prompt(house: House) -> str | None:
    """The prompt of what everybody gets."""
    return house.plan().deployments[0].stable.prompt
