"""Runs that alarms make: on schedule, one at a time, neither twice nor lost, ended with their alarm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.config import AlarmConfig
from airboss.config.types import EvalConfig
from airboss.controller.alarm_measures import Measures
from airboss.controller.alarm_watch import AlarmWatch
from airboss.controller.alarms import Reading
from airboss.domain.errors import AirbossError, Unavailable, WrongCall
from airboss.store.alert_rows import AlarmRule
from airboss.store.alert_rules import rule_of
from airboss.store.alert_runs import EvalOutcome, ProbeOutcome, Runs, evaluation_page
from airboss.store.alerts import SqlAlertStore
from airboss.store.memory import MemoryRecordLog
from tests.controller.journals import FixedClock
from tests.controller.test_alarm_watch import WELL

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
GOLDEN = EvalConfig(dataset="golden", scorer="exact")


class Making:
    """Runs whose end a test decides."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int, str | None]] = []
        self.ends: dict[str, Any] = {}
        self.ended: list[str] = []
        self.wrong = ""
        self.refuses: type[AirbossError] = WrongCall

    def start(self, rule: AlarmRule, *, job_id: str, run: int, baseline: str | None) -> None:  # noqa: ARG002 - who asks
        """As `alarm_runs.Making.start`."""
        if self.wrong:
            raise self.refuses(self.wrong)
        if job_id not in [job for job, _, _ in self.begun]:
            self.begun.append((job_id, run, baseline))

    def outcome(self, job_id: str) -> Any:
        """As `alarm_runs.Making.outcome`."""
        return self.ends.get(job_id)

    def cancel(self, job_id: str) -> None:
        """As `alarm_runs.Making.cancel`."""
        self.ended.append(job_id)


def rule(**fields: Any) -> AlarmRule:
    """A rule of a deployment."""
    return rule_of("x", AlarmConfig(**{"deployment": "support", "every": "1d", **fields}))


class Looks:
    """Looks at one alarm, with what it keeps from look to look, as the ledger would give it back."""

    def __init__(self, asked: AlarmRule) -> None:
        self.asked, self.making = asked, Making()
        self.memory: object = None
        self.measures = Measures(MemoryRecordLog(), probing=self.making, evaluating=self.making)

    def at(self, days: float, *, forgets: bool = False) -> Reading:
        """A look so long after the first; `forgets`: what came of it is lost, by a kill."""
        reading = self.measures.read(self.asked, self.memory, NOW + timedelta(days=days))
        if not forgets:
            self.memory = msgspec.json.decode(msgspec.json.encode(reading.memory))
        return reading

    @property
    def job(self) -> str:
        """The newest run."""
        return self.making.begun[-1][0]


def ended(looks: Looks, mean: float, **fields: Any) -> None:
    """The newest run has this mean."""
    looks.making.ends[looks.job] = EvalOutcome(mean=mean, words="said", run=looks.job, **fields)


@pytest.fixture
def evals() -> Looks:
    """An alarm that goes by its baseline."""
    return Looks(rule(eval=GOLDEN))


def test_a_probe_is_made_on_schedule() -> None:
    """One at a time and not sooner than asked for; what the last one found holds until the next has ended."""
    looks = Looks(rule(probe={"calls": 200}))
    assert looks.at(0).why == "the first probe has not ended"
    assert looks.at(0.001).value is None
    assert looks.at(2).value is None
    assert [(run, of) for _, run, of in looks.making.begun] == [(0, None)]
    looks.making.ends[looks.job] = ProbeOutcome(differences=2, words="found")
    for days in (2.1, 2.2, 2.3):
        reading = looks.at(days)
        assert (reading.value, reading.broken, reading.detail) == (2.0, True, "found")
    assert [run for _, run, _ in looks.making.begun] == [0, 1]
    looks.making.ends[looks.job] = ProbeOutcome(differences=0, words="none found")
    assert looks.at(2.4).broken is False
    assert looks.at(3.0).broken is False
    assert len(looks.making.begun) == 2


def test_what_an_older_airboss_kept_of_a_probe_is_read() -> None:
    """Its run goes on, and what it found last holds."""
    looks = Looks(rule(probe={"calls": 200}))
    looks.memory = {
        "run": 3,
        "job": "probe-1",
        "at": NOW.isoformat(),
        "last": {"differences": 1, "words": "one"},
    }
    reading = looks.at(0.5)
    assert (reading.value, reading.broken) == (1.0, True)
    assert looks.making.begun == []


def test_a_kill_neither_repeats_nor_loses_a_run(evals: Looks) -> None:
    """Whatever look's outcome is lost with the controller: when the run was planned, begun, or had ended."""
    evals.at(0, forgets=True)
    assert evals.making.begun == []
    evals.at(0)
    evals.at(0.001, forgets=True)
    evals.at(0.002)
    assert len(evals.making.begun) == 1
    ended(evals, 0.9, baseline=evals.job)
    evals.at(0.1, forgets=True)
    assert evals.at(0.2).value == 0.9
    assert len(evals.making.begun) == 1


def test_an_evaluation_is_held_to_the_first(evals: Looks) -> None:
    """Its mean is beside that, and it is broken where it is surely worse; until the next has ended."""
    evals.at(0), evals.at(0.001)
    first = evals.job
    ended(evals, 0.9, baseline=first)
    reading = evals.at(0.1)
    assert (reading.value, reading.bound, reading.broken) == (0.9, 0.9, False)
    evals.at(1.1), evals.at(1.2)
    assert evals.making.begun[1][1:] == (1, first)
    assert evals.at(1.3).value == 0.9
    ended(evals, 0.6, before=0.9, worse=True, baseline=first)
    reading = evals.at(1.4)
    assert (reading.value, reading.bound, reading.broken, reading.detail) == (0.6, 0.9, True, "said")
    assert evaluation_page(evals.asked, evals.memory) == f"evaluations/{evals.job}?side=worse#items"
    evals.at(2.3), evals.at(2.4)
    evals.making.ends[evals.job] = EvalOutcome(mean=None, words="no price", run=evals.job)
    reading = evals.at(2.5)
    assert (reading.value, reading.why) == (None, "no price")
    evals.at(3.6), evals.at(3.7)
    assert evals.making.begun[3][1:] == (3, first)


def test_a_bound_is_of_the_mean() -> None:
    """Below it, or above it where that is said; nothing is held to a run then."""
    for field, mean in (("below", 0.79), ("above", 0.81)):
        looks = Looks(rule(eval=GOLDEN, **{field: 0.8}))
        looks.at(0), looks.at(0.001)
        ended(looks, mean, baseline=looks.job)
        reading = looks.at(0.1)
        assert (reading.value, reading.broken, reading.bound) == (mean, None, None)
        assert (looks.asked.below, looks.asked.by_baseline) == (field == "below", False)
        assert evaluation_page(looks.asked, looks.memory) == f"evaluations/{looks.job}#items"


@pytest.mark.parametrize("refuses", [WrongCall, Unavailable])
def test_what_cannot_be_begun_is_no_data_and_tried_again(evals: Looks, refuses: type[AirbossError]) -> None:
    """In words, and five minutes later rather than a day; nor while what is to be asked is just changing."""
    evals.making.refuses = refuses
    evals.making.wrong = "no dataset is called 'golden'"
    evals.at(0)
    assert evals.at(0.001).why == "no dataset is called 'golden'"
    evals.making.wrong = ""
    assert evals.at(0.003).why == "no dataset is called 'golden'"
    assert evals.making.begun == []
    evals.at(0.004), evals.at(0.0041)
    assert len(evals.making.begun) == 1
    ended(evals, 1.0)
    evals.at(0.1), evals.at(1.003)
    evals.at(1.0031)
    assert len(evals.making.begun) == 1


def test_a_run_needs_no_record_store(tmp_path: Path) -> None:
    """While that is away, or far behind, a run is begun and goes by what came of it; others have no data."""
    making, clock, store = Making(), FixedClock(), SqlAlertStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    watch = AlarmWatch(
        alarms=lambda: {
            "errors": AlarmConfig(deployment="support", metric="error_rate", above=0.5),
            "scored": AlarmConfig(deployment="support", eval=GOLDEN, above=0.5, hold="0s"),
            "biased": AlarmConfig(deployment="support", probe={"calls": 200}, hold="0s"),
        },
        store=store,
        record_log=MemoryRecordLog(),
        journal=lambda: msgspec.structs.replace(WELL, store_up=False),
        clock=clock,
        console_url=lambda: "http://127.0.0.1:8701",
        probing=making,
        evaluating=making,
    )

    def look() -> dict[str, str | None]:
        watch.tick()
        clock.at += timedelta(minutes=5)
        return {name: row.why for name, row in store.alarms().items()}

    look()
    why = look()
    assert why["errors"] == "the record store does not answer"
    assert (why["scored"], why["biased"]) == (
        "the first evaluation has not ended",
        "the first probe has not ended",
    )
    for job, _, _ in making.begun:
        scored = EvalOutcome(mean=0.9, words="said", run=job)
        found = ProbeOutcome(differences=2, words="found")
        making.ends[job] = scored if job.startswith("eval-") else found
    look()
    assert {name: row.phase for name, row in store.alarms().items()} == {
        "errors": "no_data",
        "scored": "firing",
        "biased": "firing",
    }
    store.close()


def test_a_run_ends_with_its_alarm(tmp_path: Path) -> None:
    """Taken out of the configuration, or asked for something else; not where only a bound changed."""
    making, clock, store = Making(), FixedClock(), SqlAlertStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    alarms = {"x": AlarmConfig(deployment="support", eval=GOLDEN)}
    watch = AlarmWatch(
        alarms=lambda: alarms,
        store=store,
        record_log=MemoryRecordLog(),
        journal=lambda: WELL,
        clock=clock,
        console_url=lambda: "http://127.0.0.1:8701",
        evaluating=making,
    )

    def look() -> Runs[EvalOutcome]:
        watch.tick()
        clock.at += timedelta(seconds=10)
        return msgspec.convert(store.alarms()["x"].memory, Runs[EvalOutcome])

    look()
    first = look().job
    alarms["x"] = AlarmConfig(
        deployment="support", eval=msgspec.structs.replace(GOLDEN, calls=5), alpha=0.02, below=0.5
    )
    assert look().job == first
    assert making.ended == []
    alarms["x"] = AlarmConfig(deployment="support", eval=msgspec.structs.replace(GOLDEN, dataset="other"))
    look()
    assert making.ended == [first]
    second = look().job
    assert second != first
    del alarms["x"]
    watch.tick()
    assert making.ended == [first, second]
    assert store.alarms() == {}
    store.close()
