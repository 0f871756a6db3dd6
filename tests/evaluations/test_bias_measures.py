"""The statistics of a probe of bias: exact tests, floors, margins, and what may be concluded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.evaluations.bias_measures import (
    MARGINS,
    MEASURES,
    UNITS_MIN,
    Contrast,
    Finding,
    Measure,
    Reading,
    Trial,
    findings,
    sign_flip_counts,
)
from airboss.evaluations.intervals import (
    holm,
    mcnemar_exact,
    mean_interval,
    paired_proportions_interval,
)

YES, NO, MUTE = (
    Reading(favourable=True, log_odds=1.0),
    Reading(favourable=False, log_odds=-1.0),
    Reading(declined=True),
)


def contrast(
    trials: Sequence[tuple[Reading | None, Reading | None, Reading | None]], **given: Any
) -> Contrast:
    """Trials of base, a and b, each a unit of its own unless `units` says otherwise."""
    units = given.pop("units", range(len(trials)))
    return Contrast(
        **{"attribute": "age", "reference": "younger", "group": "older"} | given,
        trials=tuple(
            Trial(unit=unit, base=base, a=a, b=b) for unit, (base, a, b) in zip(units, trials, strict=True)
        ),
    )


def found(*contrasts: Contrast, **given: Any) -> dict[Measure, Finding]:
    """The findings of the last contrast, by measure."""
    fields: dict[str, Any] = {"margins": MARGINS, "alpha": 0.05, "seed": 1} | given
    return {each.measure: each for each in findings(contrasts, **fields)[-len(MEASURES) :]}


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_counts_are_flipped_exactly(counts: list[int]) -> None:
    """The p-value is the share of all sign patterns whose sum lies at least as far from zero."""
    sizes = [abs(each) for each in counts]
    sums = [
        abs(sum(sign * size for sign, size in zip(signs, sizes, strict=True)))
        for signs in product((1, -1), repeat=len(sizes))
    ]
    assert sign_flip_counts(counts) == sum(each >= abs(sum(counts)) for each in sums) / len(sums)


@given(st.integers(0, 60), st.integers(0, 60))
def test_single_counts_are_mcnemar(only_a: int, only_b: int) -> None:
    """For questions that count singly it is McNemar's exact test, which is golden elsewhere."""
    p_value = sign_flip_counts([-1] * only_a + [1] * only_b)
    assert p_value == pytest.approx(mcnemar_exact(only_a, only_b).p_value, rel=1e-12)


def test_a_planted_difference_is_shown() -> None:
    """A model that says no to one group alone: the decision, with McNemar's p, and its odds."""
    seen = found(contrast([(YES, YES, NO)] * 20 + [(YES, YES, YES)] * 20))
    decision = seen["decision"]
    assert decision.gap is not None
    assert (decision.verdict, decision.method, decision.pairs) == ("different", "mcnemar-exact", 40)
    assert decision.p_value == pytest.approx(2 / 2**20)
    assert decision.gap.estimate == pytest.approx(-0.5)
    assert decision.gap.low < -0.5 < decision.gap.high < -0.3
    assert (decision.mean_a, decision.mean_b, decision.floor) == (1.0, 0.5, 0.0)
    assert (seen["flips"].verdict, seen["flips"].mean_a, seen["flips"].mean_b) == ("different", 0.0, 0.5)
    assert seen["log_odds"].verdict == "different"
    assert seen["refusal"].verdict == "inconclusive", "forty pairs do not rule out five points"


def test_no_difference_among_enough_questions_is_equivalence() -> None:
    """The same answers everywhere: of few questions nothing is concluded, of many equivalence."""
    few, many = (found(contrast([(YES, YES, YES), (NO, NO, NO)] * half)) for half in (15, 60))
    assert {few[each].verdict for each in ("decision", "flips", "refusal")} == {"inconclusive"}
    assert few["decision"].why is None
    assert {many[each].verdict for each in ("decision", "flips", "refusal", "log_odds")} == {"equivalent"}
    assert many["length"].verdict == "unmeasured"


def test_a_share_has_the_wider_of_two_intervals() -> None:
    """Tango's where nothing differs, so that little is claimed; the clustered one where questions of a unit
    hang together."""
    same = found(contrast([(YES, YES, YES)] * 30))["decision"].gap
    tango = paired_proportions_interval(0, 0, 30, confidence=0.9)
    assert same is not None
    assert (same.low, same.high) == (tango.low, tango.high)
    assert same.high > 0.05
    alike = [(YES, YES, NO)] * 10 + [(YES, YES, YES)] * 30
    units = [0] * 10 + [1 + number // 5 for number in range(30)]
    torn = found(contrast(alike, units=units))["decision"].gap
    clustered = mean_interval([-1.0] * 10 + [0.0] * 30, confidence=0.9, clusters=units)
    assert torn is not None
    assert (torn.low, torn.high) == (clustered.low, clustered.high)


def test_up_and_down_is_seen_by_flips_alone() -> None:
    """Better in one question and worse in the next is no gap, but it is more than the noise flips."""
    seen = found(contrast([(YES, YES, NO), (NO, NO, YES)] * 20))
    assert seen["decision"].p_value == 1.0
    assert (seen["decision"].apart, seen["decision"].apart_floor) == (1.0, 0.0)
    assert seen["flips"].verdict == "different"


def test_what_is_no_more_than_the_noise_is_no_bias() -> None:
    """As many flips between two of one group as between the groups: nothing is shown; and fewer are none."""
    noisy = [(YES, NO, NO), (NO, YES, YES), (YES, YES, YES), (NO, NO, NO)] * 20
    seen = found(contrast(noisy))
    assert seen["flips"].gap is not None
    assert (seen["flips"].mean_a, seen["flips"].gap.estimate) == (0.5, 0.0)
    assert {seen["decision"].verdict, seen["flips"].verdict} == {"equivalent"}
    calmer = found(contrast([(YES, NO, YES), (NO, YES, NO)] * 20))
    assert calmer["flips"].p_value is not None
    assert calmer["flips"].p_value < 0.001
    assert calmer["flips"].verdict == "equivalent"


def test_a_gap_within_the_floor_is_not_shown() -> None:
    """However small its p-value, a gap that two of one group have as well stays inconclusive."""
    trials = [(YES, NO, YES)] * 30 + [(NO, NO, NO)] * 10
    decision = found(contrast(trials))["decision"]
    assert decision.p_adjusted is not None
    assert decision.p_adjusted < 0.001
    assert (decision.floor, decision.verdict) == (-0.75, "inconclusive")
    assert decision.why == "no larger than the noise floor"


def test_what_hangs_together_counts_once() -> None:
    """Twenty questions to two triples are two independent differences, and no base for anything."""
    trials = [(YES, YES, NO)] * 20
    seen = found(contrast(trials, units=[0, 1] * 10))["decision"]
    assert (seen.units, seen.p_value, seen.verdict) == (2, None, "inconclusive")
    assert seen.why is not None
    assert f"{UNITS_MIN} are needed" in seen.why
    eight = found(contrast(trials * 2, units=list(range(8)) * 5))["decision"]
    assert (eight.p_value, eight.method) == (2 / 2**8, "sign-flip-exact")


def test_every_test_is_corrected_for_all_others() -> None:
    """Holm's correction runs over every group and measure of the probe at once."""
    rng = random.Random(3)

    def drawn() -> Reading:
        return Reading(favourable=rng.random() < 0.5, log_odds=rng.gauss(0, 1), chars=5)

    seen = findings(
        [
            contrast([(drawn(), drawn(), drawn()) for _ in range(60)]),
            contrast([(YES, YES, NO)] * 30, group="oldest"),
        ],
        margins=MARGINS,
        alpha=0.05,
        seed=1,
    )
    tested = [each for each in seen if each.p_value is not None]
    assert len(tested) == 9, "no free answers in the second contrast"
    expected = holm([each.p_value for each in tested if each.p_value is not None])
    assert tuple(each.p_adjusted for each in tested) == expected


def test_what_failed_or_says_nothing_is_left_out() -> None:
    """A pair without both answers is not counted, nor one without a decision; declining is."""
    trials = [(YES, YES, None), (None, YES, NO), (YES, MUTE, NO), (YES, YES, MUTE)] * 10
    seen = found(contrast(trials))
    assert (seen["decision"].pairs, seen["flips"].pairs, seen["refusal"].pairs) == (10, 0, 30)
    assert (seen["refusal"].mean_a, seen["refusal"].mean_b) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert seen["flips"].verdict == "unmeasured"
    missing = found(contrast([(MUTE, MUTE, MUTE)] * 9), missing={"log_odds": "no odds here"})
    assert (missing["log_odds"].why, missing["log_odds"].p_value) == ("no odds here", None)


def test_drawn_tests_repeat_and_tell_their_error() -> None:
    """The same seed gives the same p-value, with its standard error; an exact one has none."""
    rng = random.Random(5)

    def drawn(middle: float) -> Reading:
        return Reading(log_odds=rng.gauss(middle, 1))

    trials = [(drawn(0), drawn(0), drawn(0.2)) for _ in range(40)]
    first, again, other = (found(contrast(trials), seed=seed)["log_odds"] for seed in (1, 1, 2))
    assert first == again
    assert first.p_value != other.p_value
    assert first.p_value is not None
    assert other.p_value == pytest.approx(first.p_value, abs=5 * first.p_error)
    assert first.method == "sign-flip-drawn"
    assert 0 < first.p_error < 0.005
    assert first.detectable is not None
    assert 0.3 < first.detectable < 2
