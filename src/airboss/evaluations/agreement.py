"""How far a judge can be believed, by what people say of the same answers.

Everything here is a pure function of pairs. A judge and a person are compared as yes or no where both speak
in numbers from 0 to 1 (`cut` and more is a yes), else value by value. Golden values, and how often intervals
miss, are in tests/evaluations/test_agreement.py.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from airboss.domain.score import ScoreValue, as_number
from airboss.evaluations.betting import bounded_interval
from airboss.evaluations.intervals import (
    CONFIDENCE,
    Interval,
    mean_interval,
    paired_proportions_interval,
    wilson_interval,
)
from airboss.evaluations.quantiles import normal_quantile

CUT: Final = 0.5
STARS: Final = (1.0, 5.0)
"""People's scale of five, which stands for 0 to 1 beside a judge's 0 to 1: a judge's grades do, too."""

LEAST: Final = 2
"""Pairs without which there is no interval."""

_CLOSE: Final = 1e-9


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """What a judge and a person say of one answer. `sampled`: chance chose it for the person."""

    judge: ScoreValue
    person: ScoreValue
    sampled: bool = False


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """All that a judge gave numbers to: how many, their mean, and their variance (of a population)."""

    n: int
    mean: float
    variance: float


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How often both say the same. `kappa` is what is left of that when chance is taken out, None where one
    of them always says the same. `sensitivity` is the share of people's yes that the judge finds,
    `specificity` that of their no; None where people never said so, or where there is no yes and no."""

    n: int
    yes_no: bool
    agreement: Interval | None
    kappa: Interval | None
    sensitivity: Interval | None
    specificity: Interval | None


class Corrected(msgspec.Struct, frozen=True, kw_only=True):
    """The judge's mean over `scored` answers, put right by the `sampled` ones that people judged.

    `error` is the mean of person minus judge over those; `people` is what they alone tell.
    """

    scored: int
    sampled: int
    judge_mean: float
    error: Interval
    people: Interval
    corrected: Interval


def aligned(pairs: Sequence[Pair]) -> tuple[list[Pair], bool]:
    """The pairs on one scale, and whether people's had to be brought to it: 1 to 5 becomes 0 to 1 where the
    judge stays within 0 to 1 and people do not. A yes or no beside it stays the 1 or 0 that it is."""
    judges, people = numbers(each.judge for each in pairs), numbers(each.person for each in pairs)
    stars = numbers(each.person for each in pairs if not isinstance(each.person, bool))
    low, high = STARS
    if (
        not judges
        or not people
        or not _within(judges, 0, 1)
        or not _within(stars, low, high)
        or _within(stars, 0, 1)
    ):
        return list(pairs), False

    def brought(person: ScoreValue) -> float:
        number = as_number(person) or 0.0
        return number if isinstance(person, bool) else (number - low) / (high - low)

    return [msgspec.structs.replace(each, person=brought(each.person)) for each in pairs], True


def only_ones(pairs: Sequence[Pair]) -> bool:
    """Whether each number that people gave is a 1, beside a judge within 0 to 1: a yes, as it is taken, or
    one star of five. A yes or no is no number."""
    judges = numbers(each.judge for each in pairs)
    given = numbers(each.person for each in pairs if not isinstance(each.person, bool))
    return bool(judges and given) and _within(judges, 0, 1) and all(each == 1 for each in given)


def agreement(pairs: Sequence[Pair], *, cut: float = CUT) -> Agreement:
    """How often judge and people agree over these pairs, which stand on one scale (`aligned`)."""
    judges, people = numbers(each.judge for each in pairs), numbers(each.person for each in pairs)
    yes_no = bool(judges and people) and _within(judges, 0, 1) and _within(people, 0, 1)
    if yes_no:
        said = [(str(j >= cut), str(p >= cut)) for j, p in zip(judges, people, strict=True)]
    else:
        said = [(_word(each.judge), _word(each.person)) for each in pairs]
    words = sorted({word for both in said for word in both})
    place = {word: index for index, word in enumerate(words)}
    counts = [[0] * len(words) for _ in words]
    for judge, person in said:
        counts[place[judge]][place[person]] += 1
    return Agreement(
        n=len(said),
        yes_no=yes_no,
        agreement=share(sum(judge == person for judge, person in said), len(said)),
        kappa=kappa(counts),
        sensitivity=_found(said, "True") if yes_no else None,
        specificity=_found(said, "False") if yes_no else None,
    )


def kappa(counts: Sequence[Sequence[int]]) -> Interval | None:
    """Cohen's kappa of a square table (a row a judge's word, a column a person's); None where it has none,
    as one of them always says the same, or where there are fewer than two pairs.

    The ends come from the large-sample variance of a table with half a pair more in each cell, without which
    two who always agreed over six answers would be certain to agree for ever. Sources: J. Cohen, A
    coefficient of agreement for nominal scales, Educ. Psychol. Meas. 20 (1960), 37-46; J. L. Fleiss, J. Cohen
    and B. S. Everitt, Large sample standard errors of kappa, Psychol. Bull. 72 (1969), 323-327, equation 13.
    """
    total = sum(map(sum, counts))
    rows, columns = [sum(row) for row in counts], [sum(column) for column in zip(*counts, strict=True)]
    if total < LEAST or max(rows, default=0) == total or max(columns, default=0) == total:
        return None
    estimate, _ = kappa_with_error(counts)
    middle, error = kappa_with_error([[each + 0.5 for each in row] for row in counts])
    half = normal_quantile((1 + CONFIDENCE) / 2) * error
    return Interval(
        estimate=estimate,
        low=max(-1.0, min(estimate, middle - half)),
        high=min(1.0, max(estimate, middle + half)),
        confidence=CONFIDENCE,
        method="fleiss-cohen-everitt, half a pair added to each cell",
    )


def kappa_with_error(counts: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Kappa and its large-sample standard error, of the table as it is."""
    total = math.fsum(map(math.fsum, counts))
    p = [[each / total for each in row] for row in counts]
    rows, columns = [math.fsum(row) for row in p], [math.fsum(column) for column in zip(*p, strict=True)]
    every = range(len(p))
    same = math.fsum(p[i][i] for i in every)
    chance = math.fsum(rows[i] * columns[i] for i in every)
    value = (same - chance) / (1 - chance)
    a = math.fsum(p[i][i] * (1 - (rows[i] + columns[i]) * (1 - value)) ** 2 for i in every)
    b = (1 - value) ** 2 * math.fsum(
        p[i][j] * (columns[i] + rows[j]) ** 2 for i in every for j in every if i != j
    )
    c = (value - chance * (1 - value)) ** 2
    return value, math.sqrt(max(0.0, a + b - c) / total) / (1 - chance)


def corrected(pairs: Sequence[Pair], scored: Scored, *, seed: int = 0) -> Corrected | None:
    """The mean that people would give to all that the judge scored: mean(judge over all) + mean(person -
    judge over those that both judged). It is without bias however wrong the judge is if, and only if, chance
    chose what people judged: so it takes `sampled` pairs alone, on one scale. None with fewer than two.

    Source: A. N. Angelopoulos, S. Bates, C. Fannjiang, M. I. Jordan and T. Zrnic, Prediction-powered
    inference, Science 382 (2023), 669-674 (arXiv 2301.09633), the mean in their Algorithm 1, whose variance
    is var(judge)/N + var(person - judge)/n. Two intervals are put together as it puts variances together, end
    by end: the root of the sum of their squared halves (G. Y. Zou and A. Donner, Statistics in Medicine 27
    (2008), 1693-1702); with symmetric ones that is the same formula. The judge's is Wilson's or the normal
    one, that of the differences Tango's for yes and no, a betting one for numbers from 0 to 1, else
    Student's. As there, N is taken to be many times n.
    """
    drawn = [each for each in pairs if each.sampled]
    judges, people = numbers(each.judge for each in drawn), numbers(each.person for each in drawn)
    if len(drawn) < LEAST or scored.n < LEAST or len(judges) < len(drawn) or len(people) < len(drawn):
        return None
    bounded = _within(judges, 0, 1) and _within(people, 0, 1)
    error = _error(judges, people, bounded=bounded, seed=seed)
    judge = _judge(judges, scored)
    estimate = judge.estimate + error.estimate
    low = estimate - math.hypot(judge.estimate - judge.low, error.estimate - error.low)
    high = estimate + math.hypot(judge.high - judge.estimate, error.high - error.estimate)
    if bounded:
        estimate, low, high = (min(1.0, max(0.0, each)) for each in (estimate, low, high))
    return Corrected(
        scored=scored.n,
        sampled=len(drawn),
        judge_mean=scored.mean,
        error=error,
        people=_people(people, bounded=bounded, seed=seed),
        corrected=Interval(
            estimate=estimate, low=low, high=high, confidence=CONFIDENCE, method="prediction-powered"
        ),
    )


def numbers(values: Iterable[ScoreValue]) -> list[float]:
    """The values as numbers; none where one of them is a label."""
    found = [as_number(each) for each in values]
    return [] if None in found else [each for each in found if each is not None]


def share(count: int, total: int) -> Interval | None:
    """A share with Wilson's interval; None of nothing."""
    return wilson_interval(count, total) if total else None


def _found(said: Sequence[tuple[str, str]], word: str) -> Interval | None:
    asked = [judge for judge, person in said if person == word]
    return share(sum(judge == word for judge in asked), len(asked))


def _error(judges: Sequence[float], people: Sequence[float], *, bounded: bool, seed: int) -> Interval:
    """The mean of person minus judge."""
    if set(judges) | set(people) <= {0.0, 1.0}:
        only_judge = sum(j > p for j, p in zip(judges, people, strict=True))
        only_person = sum(p > j for j, p in zip(judges, people, strict=True))
        return paired_proportions_interval(only_judge, only_person, len(judges))
    differences = [p - j for j, p in zip(judges, people, strict=True)]
    if bounded:
        rng = random.Random(seed)  # noqa: S311 - an order, not a secret
        return bounded_interval(differences, low=-1.0, high=1.0, rng=rng)
    return mean_interval(differences)


def _judge(judges: Sequence[float], scored: Scored) -> Interval:
    """The judge's own mean over all that it scored."""
    plain = set(judges) <= {0.0, 1.0} and abs(scored.variance - scored.mean * (1 - scored.mean)) < _CLOSE
    if plain:
        return wilson_interval(round(scored.mean * scored.n), scored.n)
    half = normal_quantile((1 + CONFIDENCE) / 2) * math.sqrt(scored.variance / scored.n)
    return Interval(
        estimate=scored.mean,
        low=scored.mean - half,
        high=scored.mean + half,
        confidence=CONFIDENCE,
        method="normal",
    )


def _people(people: Sequence[float], *, bounded: bool, seed: int) -> Interval:
    if set(people) <= {0.0, 1.0}:
        return wilson_interval(sum(each == 1.0 for each in people), len(people))
    if bounded:
        rng = random.Random(seed)  # noqa: S311 - an order, not a secret
        return bounded_interval(people, low=0.0, high=1.0, rng=rng)
    return mean_interval(people)


def _within(values: Sequence[float], low: float, high: float) -> bool:
    return all(low <= each <= high for each in values)


def _word(value: ScoreValue) -> str:
    number = as_number(value)
    return str(value) if number is None else f"{number:g}"
