"""How far a judge can be believed: against statsmodels 0.15.0 and ppi-python 0.2.3, whose numbers are written
here, and how often intervals miss in simulations with a seed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import fmean, pvariance

import pytest

from airboss.domain.score import ScoreValue
from airboss.evaluations.agreement import (
    Pair,
    Scored,
    agreement,
    aligned,
    corrected,
    kappa,
    kappa_with_error,
)
from airboss.evaluations.intervals import wilson_interval
from airboss.evaluations.quantiles import normal_quantile, t_quantile


def pairs(*said: tuple[ScoreValue, ScoreValue], sampled: bool = True) -> list[Pair]:
    """Pairs of judge and person."""
    return [Pair(judge=judge, person=person, sampled=sampled) for judge, person in said]


def table(both: int, judge_only: int, person_only: int, neither: int) -> list[Pair]:
    """So many pairs of yes and no."""
    return pairs(
        *[(True, True)] * both,
        *[(True, False)] * judge_only,
        *[(False, True)] * person_only,
        *[(False, False)] * neither,
    )


@pytest.mark.parametrize(
    ("counts", "value", "error"),
    [
        ([[20, 5], [10, 15]], 0.4, 0.12699606293110033),
        # Diagnoses of carcinoma by two pathologists (A. Agresti, Categorical Data Analysis, table 10.8).
        (
            [[22, 2, 2, 0], [5, 7, 14, 0], [0, 2, 36, 0], [0, 1, 17, 10]],
            0.49300559552358114,
            0.05674315040803581,
        ),
    ],
)
def test_kappa_is_that_of_statsmodels(counts: list[list[int]], value: float, error: float) -> None:
    """The value and its large-sample error; the interval lies about as it does there."""
    found = kappa(counts)
    assert found is not None
    assert found.estimate == pytest.approx(value, abs=1e-12)
    assert kappa_with_error(counts) == pytest.approx((value, error), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((value - 1.96 * error, value + 1.96 * error), abs=0.05)


@pytest.mark.parametrize("counts", [[[0]], [[9]], [[5, 3], [0, 0]], [[5, 0], [3, 0]], [[1, 0], [0, 0]], []])
def test_there_is_no_kappa_where_one_always_says_the_same(counts: list[list[int]]) -> None:
    """Chance would agree as often."""
    assert kappa(counts) is None


def test_who_always_agreed_is_not_certain_to() -> None:
    """After six answers the interval of kappa still has a width."""
    found = kappa([[3, 0], [0, 3]])
    assert found is not None
    assert (found.estimate, found.high) == (1.0, 1.0)
    assert 0 < found.low < 0.7


@pytest.mark.parametrize(
    ("seed", "chances"),
    [
        (1, (0.45, 0.05, 0.1, 0.4)),
        (2, (0.75, 0.1, 0.05, 0.1)),
        (3, (0.25, 0.25, 0.25, 0.25)),
        (4, (0.6, 0.02, 0.02, 0.36)),
    ],
)
@pytest.mark.parametrize("count", [30, 100])
def test_kappas_interval_covers_the_truth(seed: int, chances: tuple[float, ...], count: int) -> None:
    """In 92% of samples at least, but for what chance does in 1,000 of them; without the half pairs it would
    be in 70% where both nearly always agree."""
    a, b, c, d = chances
    chance = (a + b) * (a + c) + (c + d) * (b + d)
    truth = (a + d - chance) / (1 - chance)
    rng, held, there = random.Random(seed), 0, 0
    for _ in range(1_000):
        drawn = rng.choices(range(4), chances, k=count)
        n = [drawn.count(each) for each in range(4)]
        found = kappa([[n[0], n[1]], [n[2], n[3]]])
        there += found is not None
        held += found is not None and found.low <= truth <= found.high
    assert held / there >= 0.91, (held, there)


def test_yes_and_no_are_held_against_each_other() -> None:
    """Agreement, what the judge finds of people's yes and of their no, each with Wilson's interval."""
    found = agreement(table(both=40, judge_only=8, person_only=2, neither=10))
    assert (found.n, found.yes_no) == (60, True)
    assert found.agreement == wilson_interval(50, 60)
    assert found.sensitivity == wilson_interval(40, 42)
    assert found.specificity == wilson_interval(10, 18)
    assert found.kappa is not None
    assert found.kappa.estimate == kappa([[40, 8], [2, 10]]).estimate  # type: ignore[union-attr]


def test_numbers_from_0_to_1_are_cut() -> None:
    """From the cut on a number is a yes; who never said no gives no specificity."""
    said = pairs((0.5, True), (0.49, True), (1.0, 1.0), (0.2, 0.9))
    found = agreement(said)
    assert (found.n, found.specificity) == (4, None)
    assert found.sensitivity == wilson_interval(2, 4)
    assert agreement(said, cut=0.2).sensitivity == wilson_interval(4, 4)


def test_labels_are_held_against_each_other_word_by_word() -> None:
    """So are numbers on other scales than 0 to 1; neither has sensitivity."""
    for same, other in (("rude", "kind"), (7, 9)):
        values: tuple[ScoreValue, ScoreValue] = (same, other)
        found = agreement(pairs((values[0], values[0]), (values[1], values[1]), (values[0], values[1])))
        assert (found.yes_no, found.sensitivity, found.agreement) == (False, None, wilson_interval(2, 3))


def test_nothing_is_said_of_nothing() -> None:
    """No pairs, no numbers."""
    found = agreement([])
    assert (found.n, found.agreement, found.kappa) == (0, None, None)
    assert corrected([], Scored(n=9, mean=0.5, variance=0.1)) is None


def test_people_who_give_stars_are_brought_to_the_judges_scale() -> None:
    """1 to 5 stands for 0 to 1 beside a judge within 0 to 1; nothing else is moved."""
    found, moved = aligned(pairs((0.75, 4.0), (0.0, 1.0), (1.0, 5.0)))
    assert (moved, [each.person for each in found]) == (True, [0.75, 0.0, 1.0])
    found, moved = aligned(pairs((0.75, 4.0), (1.0, True), (0.0, False)))
    assert (moved, [each.person for each in found]) == (True, [0.75, 1.0, 0.0]), "yes and no beside stars"
    for kept in (
        pairs((True, True), (0.2, 0.0)),
        pairs((4.0, 5.0), (2.0, 1.0)),
        pairs(("kind", 3.0)),
        pairs((0.5, 7.0)),
        [],
    ):
        assert aligned(kept) == (kept, False)


def test_the_mean_is_that_of_ppi_python() -> None:
    """The same estimate; and with its quantile and its variance in place of Student's the same interval."""
    people = [3.2, 4.1, 2.0, 5.5, 3.9, 4.4, 2.7, 3.3]
    judged = [3.0, 4.5, 1.5, 5.0, 4.2, 4.0, 3.0, 3.1]
    everything = [2.9, 3.8, 4.4, 1.2, 5.1, 3.3, 3.0, 4.9, 2.2, 3.7, 4.1, 3.6]
    scored = Scored(n=12, mean=fmean(everything), variance=pvariance(everything))
    found = corrected(pairs(*zip(judged, people, strict=True)), scored)
    assert found is not None
    assert found.corrected.estimate == pytest.approx(3.61666667, abs=1e-8)
    z, t = normal_quantile(0.975), t_quantile(0.975, 7)
    error = (found.error.high - found.error.low) / 2 * z / t * math.sqrt(7 / 8)
    half = math.hypot(z * math.sqrt(scored.variance / scored.n), error)
    assert (found.corrected.estimate - half, found.corrected.estimate + half) == pytest.approx(
        (2.96936182, 4.26397151), abs=1e-8
    )
    assert found.corrected.high - found.corrected.estimate == pytest.approx(
        math.hypot(z * math.sqrt(scored.variance / scored.n), (found.error.high - found.error.low) / 2)
    )


def test_only_what_chance_chose_corrects_the_mean() -> None:
    """Other judgements are held against the judge, and are no sample."""
    drawn = table(both=10, judge_only=5, person_only=0, neither=5)
    more = pairs(*[(True, False)] * 50, sampled=False)
    scored = Scored(n=1_000, mean=0.75, variance=0.75 * 0.25)
    found, plain = corrected(drawn + more, scored), corrected(drawn, scored)
    assert found == plain
    assert found is not None
    assert (found.sampled, found.error.estimate, found.corrected.estimate) == (20, -0.25, 0.5)
    assert corrected(more, scored) is None
    assert agreement(drawn + more).n == 70


def test_labels_have_no_mean() -> None:
    """Nor has one pair."""
    scored = Scored(n=10, mean=0.5, variance=0.25)
    assert corrected(pairs(("a", "b"), ("a", "a")), scored) is None
    assert corrected(table(1, 0, 0, 0), scored) is None


def yes_no(rng: random.Random) -> tuple[float, float]:
    """A judge that says yes to nearly half of the wrong answers; 70% are right."""
    right = rng.random() < 0.7
    return float(rng.random() < (0.95 if right else 0.45)), float(right)


def graded(rng: random.Random) -> tuple[float, float]:
    """A judge that gives 0, 0.25, … 1, a step too much as a rule."""
    person = rng.choices([0.0, 0.25, 0.5, 0.75, 1.0], [1, 2, 3, 5, 4])[0]
    return min(1.0, max(0.0, person + rng.choices([-0.25, 0.0, 0.25, 0.5], [1, 4, 4, 1])[0])), person


def sound(rng: random.Random) -> tuple[float, float]:
    """A judge that is nearly always right."""
    right = rng.random() < 0.9
    return float(right if rng.random() < 0.98 else not right), float(right)


@pytest.mark.parametrize(
    ("draw", "truth", "runs", "at_least", "misled"),
    [(yes_no, 0.7, 1_000, 0.935, True), (sound, 0.9, 1_000, 0.935, False), (graded, 0.65, 300, 0.95, True)],
    ids=["a lenient judge", "a sound judge", "grades"],
)
def test_the_corrected_mean_covers_what_people_would_say(
    draw: Callable[[random.Random], tuple[float, float]],
    truth: float,
    runs: int,
    at_least: float,
    misled: bool,
) -> None:
    """The 95% interval has the truth in about 95% of runs (2,000 answers scored, 60 of them judged); the
    judge's own interval, where it is wrong, in none, and so has one that is corrected by the answers that
    the judge found worst rather than by a sample."""
    rng = random.Random(20261129)
    held = plain = chosen = 0
    for run in range(runs):
        answers = [draw(rng) for _ in range(2_000)]
        judged = [judge for judge, _ in answers]
        scored = Scored(n=2_000, mean=fmean(judged), variance=pvariance(judged))
        found = corrected(pairs(*rng.sample(answers, 60)), scored, seed=run)
        worst = corrected(pairs(*sorted(answers)[:60]), scored, seed=run)
        assert found is not None
        assert worst is not None
        held += found.corrected.low <= truth <= found.corrected.high
        chosen += worst.corrected.low <= truth <= worst.corrected.high
        half = 1.96 * math.sqrt(scored.variance / scored.n)
        plain += abs(scored.mean - truth) <= half
    assert held / runs >= at_least, held
    if misled:
        assert plain / runs < 0.1, plain
        assert chosen / runs < 0.5, chosen
