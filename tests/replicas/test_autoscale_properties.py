"""What holds for every load."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from airboss.replicas.autoscale import SLACK, Facts, Load, Rules, Sample, decide, peak

rules = st.builds(
    lambda least, more, slots, target, window_s: Rules(
        min=least, max=least + more, slots=slots, target=target, window_s=window_s
    ),
    st.integers(1, 5),
    st.integers(0, 8),
    st.integers(1, 8),
    st.sampled_from([0.3, 0.5, 0.7, 1.0]),
    st.sampled_from([5.0, 20.0, 60.0]),
)
loads = st.lists(st.one_of(st.none(), st.integers(0, 60)), min_size=1, max_size=200)
given_facts = st.builds(
    Facts,
    now=st.just(500.0),
    wanted=st.integers(0, 15),
    ready=st.integers(0, 15),
    held_s=st.floats(0, 1000),
    panic_until=st.sampled_from([None, 510.0]),
)


def samples_of(calls: list[int | None], *, until: float) -> list[Sample]:
    """One a second, the last at `until`; None is unknown."""
    first = until - len(calls) + 1
    return [
        Sample(first + i, None if n is None else (Load(n // 2, n - n // 2),)) for i, n in enumerate(calls)
    ]


@given(rules, loads, given_facts)
def test_a_number_within_bounds_and_down_only_if_the_rest_can_hold(
    rule: Rules, calls: list[int | None], facts: Facts
) -> None:
    """Whatever is seen: min <= wanted <= max; what is taken away fits the rest with slack, is at most half,
    and not sooner than a window after the last change, nor in a panic."""
    window = samples_of(calls, until=500)
    found = decide(rule, window, facts)
    assert rule.min <= found.wanted <= rule.max
    assert found.reason
    if found.wanted < facts.wanted <= rule.max:
        assert facts.held_s >= rule.window_s
        assert facts.panic_until is None
        assert found.wanted >= facts.wanted / 2
        inside = [each for each in window if each.at >= 500 - rule.window_s]
        assert peak(inside, rule.panic_s) <= found.wanted * rule.calls * (1 - SLACK) + 1e-9


@given(rules, st.lists(st.integers(0, 40), min_size=1, max_size=100), st.integers(1, 10), st.integers(1, 20))
def test_more_load_is_never_fewer_replicas(rule: Rules, calls: list[int], wanted: int, more: int) -> None:
    """With everything else the same, calls added anywhere do not lower the number."""
    facts = Facts(now=100, wanted=wanted, ready=wanted, held_s=1000)
    less = decide(rule, samples_of([*calls], until=100), facts)
    assert decide(rule, samples_of([n + more for n in calls], until=100), facts).wanted >= less.wanted


@given(
    rules,
    st.floats(0, 40),
    st.lists(st.floats(0, 1), min_size=300, max_size=300),
    st.integers(1, 13),
)
def test_a_load_that_moves_less_than_the_slack_never_flaps(
    rule: Rules, base: float, noise: list[float], start: int
) -> None:
    """Around a steady load the number goes to where it belongs and stays: never up after it went down, nor
    down after it went up, though each may happen on the way there."""
    top = math.floor(base * (1 + SLACK / 2))
    wanted, held_from, panic = rule.within(start), -1000.0, None
    window: list[Sample] = []
    directions: list[int] = []
    for second, share in enumerate(noise):
        calls = min(top, math.ceil(base * (1 + SLACK / 2 * share)))
        window.append(Sample(second, (Load(calls, 0),)))
        facts = Facts(now=second, wanted=wanted, ready=wanted, held_s=second - held_from, panic_until=panic)
        found = decide(rule, window[-200:], facts)
        if found.wanted != wanted:
            directions.append(1 if found.wanted > wanted else -1)
            wanted, held_from = found.wanted, float(second)
        panic = found.panic_until
    assert len(set(directions)) <= 1
