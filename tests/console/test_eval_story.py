"""An evaluation's items: how B stands on each, and which want to be seen first."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

import msgspec

from airboss.console.eval_story import Differing, asked, differing, narrowed
from airboss.domain.score import ScoreValue
from airboss.evaluations.compare import Comparison, Metric
from airboss.evaluations.datasets import Input, Item
from airboss.evaluations.marks import Mark, scored
from airboss.evaluations.plan import ArmTotals, EvalPlan, EvalReport, ItemResult
from airboss.evaluations.ports import Target
from airboss.evaluations.run import Arm
from airboss.evaluations.scorers.exact import Exact
from airboss.store.eval_rows import ResultRow

TOTALS = ArmTotals(answers=0, errors=0, input_tokens=0, output_tokens=0, cost_usd=Decimal(0), cost_unknown=0)
ARMS: Final[tuple[Arm, ...]] = ("a", "b", "pair")
A, B = (Target(deployment="support", release=each) for each in "ab")


def rows(item: str, **arms: Mark) -> list[ResultRow]:
    """What came of an item: a scorer's mark by arm."""
    return [
        ResultRow(
            run="r",
            item=item,
            arm=arm,
            repeat=0,
            subject="s",
            content=msgspec.json.encode(ItemResult(marks={"m": mark})).decode(),
        )
        for arm in ARMS
        if (mark := arms.get(arm)) is not None
    ]


def told(
    found: list[ResultRow], *, up: bool = True, a: Target | None = A, not_judged: tuple[str, ...] = ()
) -> list[Differing]:
    """The items of an evaluation with one scorer."""
    plan = EvalPlan(dataset="d", dataset_name="d", part="validation", a=a, b=B, scorers=(Exact(name="m"),))
    metric = Metric(name="m", higher_is_better=up)
    shown = Comparison(metric=metric, items=1, pairs=1, units=1, unscored_a=0, unscored_b=0, causes={})
    report = EvalReport(items=1, a=TOTALS, b=TOTALS, comparisons=(shown,))
    return differing(found, plan, report, {}, not_judged)


def side(a: ScoreValue, b: ScoreValue) -> str:
    """How B stands where the marks are these."""
    (item,) = told(rows("q", a=scored(a), b=scored(b)))
    return item.parts[0].side


def test_a_pairs_mark_is_both_sides_share() -> None:
    """A judge of pairs gives B's share of the win: B is better above a half, and A's share is the rest."""
    sides: dict[float, tuple[Literal["better", "worse", "alike"], str]] = {
        0.75: ("better", "0.25"),
        0.5: ("alike", "0.5"),
        0.25: ("worse", "0.75"),
    }
    for share, (expected, of_a) in sides.items():
        (item,) = told(rows("q", a=Mark(), b=Mark(), pair=scored(share, "first,second")))
        (part,) = item.parts
        assert (part.side, part.a) == (expected, of_a), share
        assert part.why_b == "A where A was shown first, A where B was"


def test_labels_differ_and_none_is_worse() -> None:
    """A label is no better than another; numbers are."""
    assert side("calm", "rude") == "differs"
    assert side("calm", "calm") == "alike"
    assert (side(True, False), side(1.0, 2.0)) == ("worse", "better")


def test_what_judges_nobody_makes_neither_better() -> None:
    """Marks that are numbers differ or are alike; what is not scored says so."""
    found = [
        told(rows("q", a=scored(1.0), b=b), not_judged=("m",))[0].parts[0].side
        for b in (scored(2.0), scored(1.0), Mark(unscored="no time"))
    ]
    assert found == ["differs", "alike", "unscored"]


def test_what_is_alike_is_shown_when_asked_for() -> None:
    """Both wrong is worth a look, but not among those that part."""
    found = told(rows("q1", a=scored(False), b=scored(False)) + rows("q2", a=scored(False), b=scored(True)))
    assert [each.item for each in narrowed(found, scorer=None, side=None)] == ["q2"]
    assert [each.item for each in narrowed(found, scorer="m", side="alike")] == ["q1"]


def test_a_release_by_itself_shows_its_worst_items_first() -> None:
    """What has no score comes first of all; where less is better, the most."""
    values = {"q1": 2.0, "q2": 1.0, "q3": 3.0}
    marks = [row for name, value in values.items() for row in rows(name, b=scored(value))]
    marks += rows("q4", b=Mark(unscored="no price"))

    def order(*, up: bool) -> list[str]:
        found = told(marks, up=up, a=None)
        return [each.item for each in narrowed(found, scorer=None, side=None)]

    assert order(up=True) == ["q4", "q2", "q1", "q3"]
    assert order(up=False) == ["q4", "q3", "q1", "q2"]


def test_the_last_said_may_come_in_parts() -> None:
    """A question with a picture is a list of parts; the system's word is not the question."""
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": parts})
    assert asked(Item(id="q", input=Input(messages=messages))) == "What is this?"
