"""Who gets the canary."""

from __future__ import annotations

import math
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.rollouts.assign import arm, conditional_weight, place, unit

weights = st.floats(0, 1)
names = st.text(max_size=40)


def test_a_unit_is_the_user_else_the_session_else_the_request() -> None:
    """Assignment sticks to the most lasting thing that is known of a call."""
    assert unit(user="ann", session="s1", request_id="r1") == "user:ann"
    assert unit(user=None, session="s1", request_id="r1") == "session:s1"
    assert unit(user="", session="", request_id="r1") == "request:r1"


@given(salt=names, who=names, low=weights, high=weights)
def test_raising_the_weight_moves_nobody_back(salt: str, who: str, low: float, high: float) -> None:
    """Whoever has the canary at a weight has it at every higher one."""
    low, high = sorted((low, high))
    if arm(salt, who, low) == "canary":
        assert arm(salt, who, high) == "canary"


@given(salt=names, who=st.text(st.characters(exclude_categories=()), max_size=10))
def test_the_ends_are_exact(salt: str, who: str) -> None:
    """Weight 0 sends nobody to the canary and weight 1 everybody, whatever the name."""
    assert arm(salt, who, 0.0) == "stable"
    assert arm(salt, who, 1.0) == "canary"
    assert 0.0 <= place(salt, who) < 1.0


def test_places_are_what_they_were() -> None:
    """A new version must not move units of a running rollout."""
    assert place("rollout-1", "user:ann") == GOLDEN["rollout-1", "user:ann"]
    assert place("rollout-2", "user:ann") == GOLDEN["rollout-2", "user:ann"]
    assert place("", "request:0193") == GOLDEN["", "request:0193"]


GOLDEN = {
    ("rollout-1", "user:ann"): 0.5792315919737235,
    ("rollout-2", "user:ann"): 0.6044738947834737,
    ("", "request:0193"): 0.2683918094016403,
}


def test_salt_and_unit_do_not_run_together() -> None:
    """Moving a character from the salt to the unit makes another place."""
    assert place("a", "bc") != place("ab", "c")


def test_places_are_uniform() -> None:
    """20,000 users fill 20 equal parts evenly: chi-squared of 19 degrees stays under its 99.99% quantile."""
    counts = [0] * 20
    for number in range(20_000):
        counts[int(20 * place("salt", f"user:{number}"))] += 1
    assert sum((count - 1_000) ** 2 / 1_000 for count in counts) < 50.8


def test_rollouts_are_independent() -> None:
    """The places of the same users under two salts do not correlate."""
    users = [f"user:{number}" for number in range(20_000)]
    product = sum((place("one", who) - 0.5) * (place("two", who) - 0.5) for who in users) / len(users)
    assert abs(12 * product) < 4 / math.sqrt(len(users))


def test_assigning_is_cheap() -> None:
    """An assignment costs less than 2 µs (5 where others use the machine; best of 20 rounds)."""
    rounds = timeit.repeat(lambda: arm("0193-salt", "user:someone@example.com", 0.1), number=2_000, repeat=20)
    assert min(rounds) / 2_000 < 5e-6


@given(low=weights, high=weights, further=weights)
def test_conditional_weights_chain(low: float, high: float, further: float) -> None:
    """Staying on stable twice is staying on stable once: chances multiply to the weights'."""
    low, high, further = sorted((low, high, further))
    if high < 1:
        twice = (1 - conditional_weight(low, high)) * (1 - conditional_weight(high, further))
        assert twice == pytest.approx(1 - conditional_weight(low, further), abs=1e-9)


@pytest.mark.parametrize(("before", "weight"), [(0.5, 0.4), (1.0, 1.0), (-0.1, 0.5), (0.1, 1.1)])
def test_weights_must_rise(before: float, weight: float) -> None:
    """A weight that falls or leaves [0, 1] has no chance."""
    with pytest.raises(ValueError, match="weights rise"):
        conditional_weight(before, weight)


def test_conditional_weight_is_the_share_of_those_who_move() -> None:
    """Of the users on stable at 10%, (0.5 - 0.1) / 0.9 are on the canary at 50%."""
    left = [who for who in map(str, range(20_000)) if arm("s", who, 0.1) == "stable"]
    moved = sum(arm("s", who, 0.5) == "canary" for who in left) / len(left)
    chance = conditional_weight(0.1, 0.5)
    assert abs(moved - chance) < 4 * math.sqrt(chance * (1 - chance) / len(left))
