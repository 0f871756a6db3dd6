"""Tests of rollouts.live: how calls enter a rollout, however they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.ports import WatchedCall
from airboss.domain.record import ANSWERED_BY_FALLBACK
from airboss.rollouts import analysis, assign, live, metrics, stages
from airboss.rollouts.live import CALLS, Rollout, SeenUnit
from airboss.rollouts.stages import Rules, Stage

T0 = datetime(2026, 11, 24, 9, tzinfo=UTC)
LATER = T0 + timedelta(hours=2)
SALT = "s" * 32
WEIGHTS = {1: 0.2, 2: 0.5}


def rollout(*names: str) -> Rollout:
    """One that has just begun."""
    watched = metrics.standards(names or ("error_rate", "latency_p95", "cost"), {})
    return Rollout(
        id="rollout-1",
        deployment="support",
        release="b" * 64,
        baseline="a" * 64,
        name="support",
        by="test",
        started_at=T0,
        salt=SALT,
        rules=Rules(steps=(0.2, 0.5)),
        late_s=300.0,
        stage=Stage(state="running", since=T0),
        analysis=analysis.begin(alpha=0.05, metrics=watched),
        lanes=live.lanes(watched, after=""),
    )


def call(number: int, **changes: object) -> WatchedCall:
    """The call of that number, one a second, assigned as the gateway would."""
    user = changes.pop("user", None)
    plan = changes.get("plan", 1)
    unit = assign.unit(user=user, session=None, request_id=f"{number:032d}")  # type: ignore[arg-type]
    fields: dict[str, object] = {
        "id": f"{number:032d}",
        "started_at": T0 + timedelta(seconds=number),
        "release": "",
        "arm": assign.arm(SALT, unit, WEIGHTS.get(plan, 0.0)),  # type: ignore[call-overload]
        "plan": 1,
        "user": user,
        "session": None,
        "status": "ok",
        "latency_ms": 100.0 + number % 7,
        "ttft_ms": 50.0,
        "cost_usd": None,
    }
    return WatchedCall(**fields | changes)  # type: ignore[arg-type]


def folded(
    start: Rollout,
    calls: Sequence[WatchedCall],
    *,
    cuts: Sequence[int] = (),
    lane: str = CALLS,
    now: datetime = LATER,
) -> tuple[Rollout, dict[str, SeenUnit]]:
    """All calls folded, cut into batches, with everything kept as JSON in between."""
    memory: dict[str, bytes] = {}
    state = start
    for first, last in zip((0, *cuts), (*cuts, len(calls)), strict=True):
        at = next(each for each in state.lanes if each.name == lane)
        batch = [each for each in calls[first:last] if each.id > at.after]
        seen = {unit: msgspec.json.decode(each, type=SeenUnit) for unit, each in memory.items()}
        done = live.fold(state, at, batch, weights=WEIGHTS, seen=seen, now=now)
        memory |= {unit: msgspec.json.encode(each) for unit, each in done.units.items()}
        state = msgspec.json.decode(msgspec.json.encode(done.rollout), type=Rollout)
    return state, {unit: msgspec.json.decode(each, type=SeenUnit) for unit, each in memory.items()}


def counts(state: Rollout, metric: str = "error_rate") -> tuple[int, int]:
    """How many units of stable and canary have counted."""
    found = next(each for each in analysis.evidence(state.analysis) if each.metric == metric)
    return found.stable_n, found.canary_n


def test_an_answer_by_a_fallback_is_an_error_of_its_release() -> None:
    """Though its caller got a good answer: what is tried out is the release's own model."""
    error_rate = next(each for each in rollout().analysis.metrics if each.name == "error_rate")
    assert live.value_of(error_rate, call(1)) == 0.0
    assert live.value_of(error_rate, call(1, error_type=ANSWERED_BY_FALLBACK)) == 1.0
    assert live.value_of(error_rate, call(1, status="error", error_type="upstream_error")) == 1.0
    calls = [call(number) for number in range(400)]
    fell = [
        msgspec.structs.replace(each, error_type=ANSWERED_BY_FALLBACK) if each.arm == "canary" else each
        for each in calls
    ]
    well, worse = (analysis.evidence(folded(rollout(), each)[0].analysis) for each in (calls, fell))
    rates = [next(e for e in each if e.metric == "error_rate") for each in (well, worse)]
    assert rates[0].finding != "harm"
    assert rates[1].finding == "harm"


def test_requests_without_a_user_count_each() -> None:
    """Without user and session every request is a unit."""
    state, memory = folded(rollout(), [call(number) for number in range(200)])
    assert sum(counts(state)) == 200
    assert 20 <= counts(state)[1] <= 60
    assert memory == {}


def test_a_user_counts_once_a_step() -> None:
    """However many calls it makes."""
    calls = [call(number, user=f"u{number % 10}") for number in range(300)]
    state, memory = folded(rollout(), calls)
    assert sum(counts(state)) == 10
    assert len(memory) == 10


def test_a_user_counts_again_in_the_next_step_unless_it_was_on_the_canary() -> None:
    """Users on the canary are not drawn anew, so they tell nothing new."""
    before = [call(number, user=f"u{number}") for number in range(100)]
    after = [call(100 + number, user=f"u{number}", plan=2) for number in range(100)]
    first, _ = folded(rollout(), before)
    both, _ = folded(rollout(), [*before, *after])
    stayed = sum(each.arm == "canary" for each in before)
    assert sum(counts(first)) == 100
    assert sum(counts(both)) == 200 - stayed


@given(cuts=st.lists(st.integers(min_value=1, max_value=119), max_size=8).map(sorted))
def test_a_fold_cut_anywhere_gives_the_same(cuts: list[int]) -> None:
    """A killed controller goes on where it was: same evidence, same memory."""
    calls = [
        call(
            number,
            user=f"u{number % 30}" if number % 3 else None,
            plan=1 if number < 60 else 2,
            status="error" if number % 11 == 0 else "ok",
        )
        for number in range(120)
    ]
    assert folded(rollout(), calls, cuts=cuts) == folded(rollout(), calls)


def test_an_open_call_holds_up_those_behind_it() -> None:
    """Fast answers must not speak first."""
    calls = [call(0), call(1, open=True, status=None, latency_ms=None), call(2)]
    state, _ = folded(rollout(), calls, now=T0 + timedelta(seconds=10))
    assert sum(counts(state)) == 1
    assert state.lanes[0].after == calls[0].id


def test_a_call_that_hangs_counts_as_an_error_in_the_end() -> None:
    """A canary that hangs must not escape."""
    calls = [call(0), call(1, open=True, status=None, latency_ms=None), call(2)]
    state, _ = folded(rollout(), calls)
    assert sum(counts(state)) == 3
    evidence = analysis.evidence(state.analysis)[0]
    assert max(evidence.stable_mean or 0, evidence.canary_mean or 0) > 0


@pytest.mark.parametrize("status", ["cancelled", "refused"])
def test_what_is_neither_answered_nor_failed_does_not_count(status: str) -> None:
    """A client that went away says nothing of the release."""
    state, _ = folded(rollout(), [call(0, status=status), call(1)])
    assert sum(counts(state)) == 1


def test_calls_of_other_plans_and_arms_are_passed_over() -> None:
    """What ran before the rollout, or named its release, is no draw."""
    calls = [call(0, plan=9), call(1, arm="override"), call(2, arm="preview"), call(3)]
    state, _ = folded(rollout(), calls)
    assert sum(counts(state)) == 1
    assert state.lanes[0].after == calls[-1].id


def test_a_quick_error_is_no_quick_answer() -> None:
    """Latency counts where there was an answer, or where time ran out."""
    name = "latency_p95"
    metric = metrics.standard(name)
    assert live.value_of(metric, call(0, status="error", error_type="upstream_error")) is None
    assert live.value_of(metric, call(0, status="error", error_type="timeout_total")) == 100.0
    assert live.value_of(metric, call(0)) == 100.0


def test_a_score_is_waited_for_until_it_is_late() -> None:
    """Feedback comes after the answer; what never comes does not count."""
    start = rollout("score:helpful")
    calls = [call(0, scores={"helpful": 1.0}), call(1), call(2, scores={"helpful": 0.0})]
    lane = "score:helpful"
    soon, _ = folded(start, calls, lane=lane, now=T0 + timedelta(seconds=10))
    late, _ = folded(start, calls, lane=lane)
    assert sum(counts(soon, lane)) == 1
    assert sum(counts(late, lane)) == 2


def test_the_weight_of_a_sticky_user_is_its_chance_given_its_earlier_arms() -> None:
    """One on stable at 20% goes to the canary at 50% with (0.5 - 0.2) / (1 - 0.2)."""
    user = next(f"u{number}" for number in range(100) if assign.arm(SALT, f"user:u{number}", 0.2) == "stable")
    state, memory = folded(rollout(), [call(0, user=user), call(1, user=user, plan=2)])
    sighting = memory[f"user:{user}"].sighting
    assert (sighting.before, sighting.weight) == (0.2, 0.5)
    assert sum(counts(state)) == 2


def test_scores_that_stop_are_told_of() -> None:
    """A scorer that breaks amid a rollout: the verdict says that its scores come no more, also where they
    come from one arm only; it says nothing while they come now and then."""
    came = [call(number, scores={"tone": 0.8}) for number in range(60)]
    stopped = [call(number, scores={"tone": None}) for number in range(60, 160)]
    words = "; none of the last 100 calls that were read has score:tone"
    for calls, told in ((came, False), (came + stopped[:-1], False), (came + stopped, True)):
        for cuts in ((), (30, 90)):
            now, _ = folded(rollout("error_rate", "score:tone"), [*calls], lane="score:tone", cuts=cuts)
            seen = live.look(now, at=LATER)
            assert seen.stopped == (("score:tone",) if told else ())
            verdict = stages.decide(now.rules, now.stage, seen).verdict
            assert verdict is not None
            assert (words in verdict.reason) == told
    again = call(160, scores={"tone": 0.8})
    now, _ = folded(rollout("error_rate", "score:tone"), [*came, *stopped, again], lane="score:tone")
    assert live.look(now, at=LATER).stopped == ()


def waits_for_none(now: Rollout) -> bool:
    """Whether no guard holds it."""
    return live.look(now, at=LATER).guards.awaited == ()


def test_a_guard_learns_from_those_who_come() -> None:
    """It is waited for while new users come, and while values do; not for users who have counted, nor for
    calls without a value; refused calls say nothing of it."""
    few = [call(number, user=f"u{number % 30}") for number in range(700)]
    many = [call(number, user=f"u{number}") for number in range(130)]
    dull = [call(700 + number, status="refused") for number in range(900)]
    half, _ = folded(rollout(), few[:60])
    assert not waits_for_none(half)
    refused, _ = folded(rollout(), [*few[:60], *dull])
    assert live.look(refused, at=LATER).guards == live.look(half, at=LATER).guards
    whole, _ = folded(rollout(), few)
    seen = live.look(whole, at=LATER)
    assert waits_for_none(whole)
    assert seen.exhausted
    assert (
        "is not waited for, 100 calls of the canary in a row brought it nothing new" in seen.guards.silent[0]
    )
    assert not waits_for_none(folded(rollout(), many)[0])
    risen = msgspec.structs.replace(whole, stage=Stage(state="running", since=T0, step=1))
    assert not waits_for_none(risen), "who comes in this step is not known yet"
