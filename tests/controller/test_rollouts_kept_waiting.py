"""Rollouts while the record store is away or behind, or a file is gone; scores of which less is better."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta

import pytest

from airboss.domain.errors import ConfigError, StoreUnavailable
from airboss.domain.ports import WatchedCall
from airboss.rollouts.live import Rollout
from airboss.store.memory import MemoryRecordLog
from tests.controller.rolling import CONFIG, House, stable_prompt
from tests.controller.test_rollouts import house

__all__ = ["house"]


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
        assert self.let.wait(120)
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
    assert hangs.asked.wait(60)
    ordered: list[Rollout] = []
    ordering = threading.Thread(target=lambda: ordered.append(house.order(action)))
    ordering.start()
    ordering.join(60)
    try:
        assert [each.final for each in ordered] == [True]
        served = house.plan().deployments[0]
        assert (served.canary, served.stable.prompt) == (None, "Old." if action == "abort" else "New.")
    finally:
        hangs.let.set()
        ticking.join(60)
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


def test_what_cannot_come_into_force_keeps_no_rollout_from_being_watched(house: House) -> None:
    """A promotion whose configuration is refused, again and again, beside a rollout that runs."""
    house.apply("New.")
    house.rollouts.start("support", None, by="ann")
    house.fail_publish = ConfigError("a file is gone")
    with pytest.raises(ConfigError):
        house.order("promote")
    with pytest.raises(ConfigError):
        house.rollouts.start("support", None, by="ann")
    (begun,) = [each for each in house.rollouts.list() if not each.final]
    house.serve(10, canary_errors=False)
    with pytest.raises(ConfigError):
        house.rollouts.tick()
    read = house.rollouts.get(begun.id)
    assert read is not None
    assert read.lanes[0].after > begun.lanes[0].after


def test_what_waits_was_written_before_it_was_seen(house: House) -> None:
    """A call whose end is in a journal, seen there a second after it was written, is not late by then."""
    house.apply("New.")
    house.rollouts.start("support", None, by="ann")
    house.open(10)
    house.clock.at += timedelta(seconds=300)
    house.unmoved_since = house.clock.at + timedelta(seconds=1)
    house.clock.at += timedelta(hours=1)
    house.rollouts.tick()
    (found,) = house.rollouts.list()
    assert found.verdict is not None
    (errors,) = found.verdict.metrics
    assert errors.stable_n + errors.canary_n == 0


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
