"""Rollouts that name some of their callers: drawn are the others alone, and so the error rate holds."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from airboss.domain.ports import WatchedCall
from airboss.rollouts import analysis, assign, live
from airboss.rollouts.live import CALLS, Rollout, SeenUnit
from airboss.rollouts.stages import Look, decide
from tests.rollouts.test_live import LATER, T0, WEIGHTS, rollout

RUNS, CALLS_EACH, BATCH = 40, 1_200, 100
ABORTED_MAX = 6
"""Of 40 at alpha 5%: more come once in a hundred, were the rate alpha itself. It is far below."""

Arm = Callable[[random.Random, int], str | None]
"""How a user's call is named, if it is: by chance for users whose tags differ from call to call."""


def by_user(_rng: random.Random, user: int) -> str | None:
    """Half of the users are named."""
    return "always" if user < 10 else "never" if user < 20 else None


def by_tag(rng: random.Random, user: int) -> str | None:
    """The same users are named in some of their calls and not in others."""
    return rng.choice(["always", "never", None]) if user < 20 else None


def aborted(arm_of: Arm, seed: int, *, counted: bool = False) -> bool:
    """Whether a rollout of a canary like stable ends as harmful, with calls by 40 users whose rates of
    errors differ; who is always given it sees errors alone. `counted`: as if they had been drawn."""
    rng = random.Random(seed)
    salt = f"{rng.getrandbits(128):032x}"
    state = msgspec.structs.replace(rollout("error_rate"), salt=salt)
    rates = [rng.betavariate(1, 9) for _ in range(40)]
    seen: dict[str, SeenUnit] = {}
    for first in range(0, CALLS_EACH, BATCH):
        plan = 1 if first < CALLS_EACH // 2 else 2
        calls = []
        for number in range(first, first + BATCH):
            user = rng.randrange(40)
            named = arm_of(rng, user)
            drawn = assign.arm(salt, f"user:u{user}", WEIGHTS[plan])
            failed = named == "always" or rng.random() < rates[user]
            arm = "canary" if counted and named == "always" else named or drawn
            calls.append(call(number, arm, f"u{user}", plan, failed=failed))
        (lane,) = [each for each in state.lanes if each.name == CALLS]
        done = live.fold(state, lane, calls, weights=WEIGHTS, seen=seen, now=LATER)
        state, seen = done.rollout, seen | done.units
        if ended(state):
            return True
    return False


def call(number: int, arm: str, user: str, plan: int, *, failed: bool) -> WatchedCall:
    """A call that has ended."""
    return WatchedCall(
        id=f"{number:032d}",
        started_at=T0 + timedelta(seconds=number),
        release="",
        arm=arm,
        plan=plan,
        user=user,
        session=None,
        status="error" if failed else "ok",
    )


def ended(state: Rollout) -> bool:
    """Whether it is taken back now."""
    look = Look(
        at=T0,
        conclusion=analysis.conclude(state.analysis),
        evidence=analysis.evidence(state.analysis),
        units=0,
    )
    return decide(state.rules, state.stage, look).stage.state == "aborted"


@pytest.mark.parametrize("arm_of", [by_user, by_tag])
def test_a_group_that_sees_only_errors_takes_nothing_back(arm_of: Arm) -> None:
    """Canaries like stable are taken back at most in alpha of all rollouts, whatever is seen by who is named;
    were those counted as the canary's, nearly all would be."""
    assert sum(aborted(arm_of, seed) for seed in range(RUNS)) <= ABORTED_MAX
    assert sum(aborted(arm_of, seed, counted=True) for seed in range(10)) >= 8
