"""Several releases against one baseline: what is shared, what is refused, and the table."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.errors import WrongCall
from airboss.evaluations.compare import Comparison, Metric, Observed, Standing, compare_all, standing
from airboss.evaluations.contest import (
    RELEASES_MAX,
    Contender,
    Contest,
    Entry,
    check_sides,
    eval_id,
    shared,
    table,
)
from airboss.evaluations.marks import scored
from airboss.evaluations.plan import ArmTotals, EvalPlan, EvalReport
from airboss.evaluations.ports import Target
from airboss.evaluations.scorers.exact import Exact
from airboss.evaluations.scorers.latency import Latency
from airboss.evaluations.scorers.length import Length
from tests.evaluations.test_coverage import most_missed

ALPHA = 0.05
SEED = 20261201
GOLDEN = Path(__file__).parent / "contest.json"
A = Target(deployment="support", release="a" * 64, name="old")


def side(letter: str) -> Target:
    """A release that contends."""
    return Target(deployment="support", release=letter * 64, name=f"new {letter}")


def answered(rng: random.Random, items: int) -> list[bool]:
    """Which items a release answers rightly that is right half of the time."""
    return [rng.random() < 0.5 for _ in range(items)]


def false_finds(rng: random.Random, *, releases: int, alpha: float) -> bool:
    """Whether one release at least is told apart from a baseline that all of them equal, by one of two
    scorers, whose marks of an item have nothing to do with each other."""
    names = ("exact", "polite")
    a = {name: answered(rng, 60) for name in names}
    for _ in range(releases):
        b = {name: answered(rng, 60) for name in names}
        observed = [
            (
                Metric(name=name, bounds=(0.0, 1.0)),
                [
                    Observed(item=str(n), unit=str(n), a=(scored(x),), b=(scored(y),))
                    for n, (x, y) in enumerate(zip(a[name], b[name], strict=True))
                ],
            )
            for name in names
        ]
        if any(standing(each, alpha) != "open" for each in compare_all(observed, alpha=alpha, seed=0)):
            return True
    return False


def test_eight_releases_that_equal_the_baseline_are_seldom_told_apart() -> None:
    """Over all releases and scorers at most alpha of the contests find a difference that is none. At alpha
    each, the same ones find several times as many."""
    runs = 120
    together, singly = (
        sum(false_finds(random.Random(SEED + run), releases=8, alpha=alpha) for run in range(runs)) / runs
        for alpha in (shared(ALPHA, 8), ALPHA)
    )
    assert together <= ALPHA < 2 * ALPHA < singly, f"seed {SEED}: {together} and {singly}"


def test_a_gate_holds_its_share() -> None:
    """Of a release that is worse by the margin, up to 0.3, the interval at an eighth of alpha lies above that
    at most an eighth of alpha of the time: exactly, over a grid of truths."""
    pairs, share = 20, shared(ALPHA, RELEASES_MAX)
    grid = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.499)
    chances = ((a, b) for a in grid for b in grid if a - 0.3 <= b <= a)
    assert share / 4 < most_missed(pairs, chances, 1 - share) <= share


@pytest.mark.parametrize(
    ("alpha", "said"),
    [
        (0.5, "alpha is 0.5; give"),
        (0.0, "alpha is 0.0; give"),
        (0.000_004, "8 releases share; give 0.000008"),
    ],
)
def test_an_alpha_that_cannot_be_shared(alpha: float, said: str) -> None:
    """Is refused by what was given, and not by what each would have of it."""
    with pytest.raises(WrongCall, match=said):
        shared(alpha, 8)
    assert shared(0.000_008, 8) == pytest.approx(0.000_001)


@pytest.mark.parametrize(
    ("named", "a", "said"),
    [
        ("b", A, "1 release; name 2 to 8"),
        ("bcdefghij", A, "9 releases; name 2 to 8"),
        ("bc", None, "there is none; name one"),
        ("bcb", A, "'b' is named twice"),
        ("ba", A, "'a' is the baseline"),
    ],
)
def test_releases_that_are_no_contest(named: str, a: Target | None, said: str) -> None:
    """Too few, too many, one twice, the baseline among them, or nothing to hold them against."""
    with pytest.raises(WrongCall, match=said):
        check_sides(a, [side(each) for each in named], tuple(named))


def test_two_names_of_one_release_are_one() -> None:
    """They would be two rows of the same, and a correction for nothing."""
    with pytest.raises(WrongCall, match="'again' and 'b' are the same release"):
        check_sides(A, [side("b"), side("b")], ("b", "again"))


# The table.

CONTEST = Contest(id="contest-0f", size=3, alpha=ALPHA)
EXACT = Metric(name="exact", bounds=(0.0, 1.0))
LENGTH = Metric(name="length", higher_is_better=False)


def comparison(metric: Metric, gap: float, *, p: float, width: float = 0.1, **given: Any) -> Comparison:
    """What a scorer shows."""

    def interval(middle: float) -> dict[str, Any]:
        ends = {"low": middle - width, "high": middle + width}
        return {"estimate": middle, "confidence": 1 - ALPHA / 3, "method": "tango", **ends}

    shown: dict[str, Any] = {
        "metric": metric,
        "items": 60,
        "pairs": 60,
        "units": 60,
        "unscored_a": 0,
        "unscored_b": 0,
        "causes": {},
        "mean_a": interval(0.5),
        "mean_b": interval(0.5 + gap),
        "difference": interval(gap),
        "test": {"p_value": p, "method": "mcnemar-exact", "units": 60},
        "p_adjusted": p,
    }
    return msgspec.convert(msgspec.to_builtins(shown | given), Comparison)


def totals(**given: Any) -> ArmTotals:
    """A side's answers."""
    fields = {"answers": 60, "errors": 0, "input_tokens": 1, "output_tokens": 1, "cost_unknown": 0}
    return ArmTotals(**{**fields, "cost_usd": Decimal("0.3"), **given})


def entry(number: int, *found: Comparison, b: ArmTotals | None = None, **given: Any) -> Entry:
    """An evaluation of the contest; without comparisons it is not done."""
    release = side("bcd"[number - 1])
    fields: dict[str, Any] = {"state": "done" if found else "running", "error": None, "conclusion": None}
    report = EvalReport(items=60, a=totals(), b=b or totals(), comparisons=found) if found else None
    return Entry(
        contender=Contender(
            **{
                **fields,
                "eval": eval_id(CONTEST.id, number),
                "release": release,
                "done": 60,
                "total": 60,
                **given,
            }
        ),
        plan=EvalPlan(
            dataset="d",
            dataset_name="golden",
            part="validation",
            a=A,
            b=release,
            scorers=(Exact(), Length()),
            alpha=ALPHA / 3,
        ),
        report=report,
        ms_a=800.0 if found else None,
        ms_b=100.0 * number if found else None,
    )


def test_the_table_is_golden() -> None:
    """As the API gives it: the best first, each cell with its mean, distance, corrected p and standing."""
    found = table(
        CONTEST,
        [
            entry(1, comparison(EXACT, 0.05, p=0.3), comparison(LENGTH, 0.4, p=0.0001)),
            entry(2, comparison(EXACT, 0.2, p=0.016), comparison(LENGTH, -0.4, p=0.0001)),
            entry(
                3,
                comparison(EXACT, -0.3, p=0.001, pairs=54, units=54),
                comparison(LENGTH, 0.0, p=1.0),
                b=totals(answers=50, errors=10, cost_unknown=30, cost_usd=Decimal("0.02")),
                conclusion="fail",
            ),
        ],
    )
    golden = msgspec.json.decode(GOLDEN.read_bytes())
    assert msgspec.json.decode(msgspec.json.encode(found)) == golden


def test_a_mean_cost_is_rounded() -> None:
    """To ten decimals, as the cost of a call: a third has no end."""
    for usd, each in (("0.01", "0.0033333333"), ("0.3", "0.1"), ("0", "0")):
        found = table(
            CONTEST, [entry(1, comparison(EXACT, 0.05, p=0.3), b=totals(answers=3, cost_usd=Decimal(usd)))]
        )
        took = found.releases[0].took
        assert took is not None
        assert str(took.usd_per_answer) == each


def order(*found: tuple[float, float]) -> list[tuple[str, Standing | None]]:
    """Which releases come first, and how they stand, by their distance and its p."""
    entries = [entry(n, comparison(EXACT, gap, p=p)) for n, (gap, p) in enumerate(found, 1)]
    return [(each.release.release[0], each.cells[0].standing) for each in table(CONTEST, entries).releases]


def test_what_is_sure_comes_before_what_is_far() -> None:
    """A distance that is not told from none stands behind one that is; among equals the farther is first."""
    assert order((0.3, 0.02), (0.2, 0.001), (-0.2, 0.001)) == [("c", "better"), ("b", "open"), ("d", "worse")]
    assert order((0.2, 0.001), (0.3, 0.001), (0.25, 0.001))[0] == ("c", "better")
    assert order((-0.2, 0.001), (-0.15, 0.001), (0.02, 0.9)) == [
        ("d", "open"),
        ("c", "worse"),
        ("b", "worse"),
    ]


def test_less_may_be_better() -> None:
    """Then who has less comes first, and is better."""
    entries = [entry(n, comparison(LENGTH, gap, p=0.001)) for n, gap in enumerate((0.4, -0.4), 1)]
    plans = [msgspec.structs.replace(each.plan, scorers=(Length(),)) for each in entries]
    entries = [msgspec.structs.replace(each, plan=plan) for each, plan in zip(entries, plans, strict=True)]
    found = table(CONTEST, entries)
    assert [each.cells[0].standing for each in found.releases] == ["better", "worse"]
    assert found.less_is_better == ("length",)


def test_what_is_not_done_comes_last() -> None:
    """With how far it is; what is done is compared meanwhile."""
    found = table(CONTEST, [entry(1), entry(2, comparison(EXACT, -0.3, p=0.001)), entry(3)])
    assert [(each.eval[-1], each.state) for each in found.releases] == [
        ("2", "done"),
        ("1", "running"),
        ("3", "running"),
    ]
    assert (found.releases[1].cells, found.releases[1].took, found.took is None) == ((), None, False)
    nothing = table(CONTEST, [entry(1), entry(2)])
    assert (nothing.took, nothing.means, nothing.scorers) == (None, {}, ("exact", "length"))


def test_the_baselines_means_stand_in_the_scorers_order() -> None:
    """As the releases' do, whichever scorer has marked the fewest items."""
    fewer = comparison(LENGTH, 0.1, p=0.3, pairs=50)
    found = table(CONTEST, [entry(1, comparison(EXACT, 0.1, p=0.3), fewer)])
    assert list(found.means) == [each.scorer for each in found.releases[0].cells] == ["exact", "length"]


def test_nobody_is_judged_by_time() -> None:
    """Those that answer at a time when all are slow would be called worse: numbers are told and no standing,
    and among them the fastest comes first."""
    latency = Metric(name="latency", higher_is_better=False)
    entries = [entry(n, comparison(latency, gap, p=0.0001)) for n, gap in enumerate((0.4, -0.4, 0.3), 1)]
    entries = [
        msgspec.structs.replace(each, plan=msgspec.structs.replace(each.plan, scorers=(Latency(),)))
        for each in entries
    ]
    found = table(CONTEST, entries)
    assert found.not_judged == ("latency",)
    assert [(each.eval[-1], each.cells[0].standing) for each in found.releases] == [
        ("2", None),
        ("3", None),
        ("1", None),
    ]
    assert found.releases[0].cells[0].difference is not None


def test_labels_have_no_standing() -> None:
    """Nothing is better about them."""
    tone = comparison(EXACT, 0.0, p=1.0, difference=None, test=None, p_adjusted=None, labels={"dry": (1, 2)})
    (only,) = table(CONTEST, [entry(1, tone)]).releases
    assert (only.cells[0].standing, only.cells[0].p_adjusted) == (None, None)
