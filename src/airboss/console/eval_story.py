"""An evaluation as its page tells it: the differences drawn, what each scorer shows in words, and the items
on which the two releases part. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from airboss.console.api_eval import EvalSummary
from airboss.console.picture import Picture, Spread, picture
from airboss.evaluations.compare import Comparison, Standing, standing
from airboss.evaluations.datasets import Item, flat_text
from airboss.evaluations.few import Few, counted, lines
from airboss.evaluations.intervals import Mean
from airboss.evaluations.marks import Mark
from airboss.evaluations.plan import EvalPlan, EvalReport, ItemResult
from airboss.evaluations.scorers.pairwise import votes_in
from airboss.store.eval_rows import ResultRow

MINUS = "\N{MINUS SIGN}"
NO_INTERVAL = " (\N{EN DASH})"
SHARED = (0.0, 1.0)
"""Metrics of this range stand on one axis; each other one has its own."""

QUESTION_MAX = 600
Side = Literal["better", "worse", "unscored", "differs", "alike", "scored"]
"""How B stands on an item: it has the better mark, the worse one, another one of which neither is better, or
which judges nobody, or the same; or one side has none. By itself it is scored or not."""

ORDER: dict[Side, int] = {"worse": 0, "unscored": 1, "differs": 2, "better": 3, "alike": 4, "scored": 5}
"""What wants to be seen first."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One scorer's comparison in words; `look` as of a state, `n` counts what the means are of."""

    comparison: Comparison
    n: str
    a: str
    b: str
    difference: str
    p: str
    look: str
    verdict: str


class Forest(msgspec.Struct, frozen=True, kw_only=True):
    """Scorers on one axis; `unit` says in what they are."""

    names: tuple[str, ...]
    unit: str
    picture: Picture


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One scorer's marks of an item. `why_a` and `why_b` are its reasons, where it gives any; `good` puts
    items that are scored alone in order: less is seen first."""

    scorer: str
    side: Side
    a: str
    b: str
    why_a: str | None = None
    why_b: str | None = None
    good: float = 0.0


class Differing(msgspec.Struct, frozen=True, kw_only=True):
    """An item with every scorer's marks of the two releases. `key_a` and `key_b` find the answers, `record_a`
    and `record_b` their calls."""

    item: str
    question: str | None
    expected: str | None
    parts: tuple[Part, ...]
    key_a: str | None = None
    key_b: str | None = None
    record_a: str | None = None
    record_b: str | None = None


SHOWN: Final[Mapping[Standing, tuple[str, str]]] = {
    "better": ("ok", "better"),
    "open": ("none", "no difference shown"),
    "worse": ("bad", "worse"),
}
"""How what a comparison shows looks, and what it says."""


def told(report: EvalReport, plan: EvalPlan, not_judged: Collection[str] = ()) -> tuple[Told, ...]:
    """Every scorer's comparison; by some nobody is judged."""
    found = (one(each, report, plan) for each in report.comparisons)
    return tuple(
        msgspec.structs.replace(each, look="none", verdict="not judged")
        if each.comparison.metric.name in not_judged
        else each
        for each in found
    )


def one(found: Comparison, report: EvalReport, plan: EvalPlan) -> Told:
    """One scorer's."""
    look, verdict = judged(found, report, plan)
    return Told(
        comparison=found,
        n=counted(found.units, scored(found, alone=plan.a is None)),
        a=mean(found.mean_a),
        b=mean(found.mean_b),
        difference=difference_told(found.difference),
        p=chance(found.p_adjusted),
        look=look,
        verdict=verdict,
    )


def judged(found: Comparison, report: EvalReport, plan: EvalPlan) -> tuple[str, str]:
    """How a comparison looks, and what it says: a gate's word where there is one, else what is shown."""
    for finding in report.decision.findings if report.decision is not None else ():
        if finding.gate.metric == found.metric.name:
            look = {"pass": "ok", "fail": "bad", "inconclusive": "warn"}[finding.conclusion]
            return look, f"{finding.gate.rule}: {finding.conclusion}"
    if found.labels:
        return "none", "labels"
    if plan.a is None:
        return ("warn", "too few") if without_interval(found) else ("none", "scored alone")
    shown = standing(found, plan.alpha)
    if shown is None:
        return "warn", "too few" if found.pairs else "unscored"
    return SHOWN[shown]


def forests(report: EvalReport, plan: EvalPlan, not_judged: Collection[str] = ()) -> tuple[Forest, ...]:
    """The differences drawn, but for some: scorers of one range on one axis; one with a margin, or in units
    of its own, by itself."""
    margins = {gate.metric: gate.margin for gate in plan.gates if gate.rule == "non-inferior"}
    shown = [each for each in report.comparisons if each.metric.name not in not_judged]
    drawn = [each for each in shown if each.gap is not None]
    shared = [each for each in drawn if each.metric.bounds == SHARED and each.metric.name not in margins]
    groups = ([shared] if shared else []) + [[each] for each in drawn if each not in shared]
    found = []
    for group in groups:
        ups = {each.metric.higher_is_better for each in group}
        pic = picture(
            [spread(each, report, plan) for each in group],
            margin=margins.get(group[0].metric.name) if len(group) == 1 else None,
            higher_is_better=next(iter(ups)) if len(ups) == 1 else None,
            words=lambda value: "0" if value == 0 else f"{value:+g}".replace("-", MINUS),
        )
        if pic is not None:
            names = tuple(each.metric.name for each in group)
            of_one = all(each.metric.bounds == SHARED for each in group)
            unit = "B minus A, of 1" if of_one else f"B minus A, in the units of {names[0]}"
            found.append(Forest(names=names, unit=unit, picture=pic))
    return tuple(found)


def spread(found: Comparison, report: EvalReport, plan: EvalPlan) -> Spread:
    """One row of a forest."""
    assert found.gap is not None  # only those with one are drawn
    look, _ = judged(found, report, plan)
    return Spread(
        label=found.metric.name,
        low=found.gap.low,
        high=found.gap.high,
        estimate=found.gap.estimate,
        note=f"n {found.units:,}",
        look=look if look in ("ok", "bad") else "open",
    )


def mean(found: Mean | None) -> str:
    """A side's mean with its interval, or a dash of too few units for one."""
    if found is None:
        return "no data"
    interval = found.interval
    if interval is None:
        return f"{found.estimate:.3g}".replace("-", MINUS) + NO_INTERVAL
    return f"{interval.estimate:.3g} ({interval.low:.3g} to {interval.high:.3g})".replace("-", MINUS)


def difference_told(found: Mean | None) -> str:
    """A difference as `mean` tells a side's."""
    if found is None:
        return "no data"
    interval = found.interval
    if interval is None:
        return signed(found.estimate) + NO_INTERVAL
    return f"{signed(interval.estimate)} ({signed(interval.low)} to {signed(interval.high)})"


def scored(found: Comparison, *, alone: bool) -> int:
    """How many items the means are of."""
    return found.items - found.unscored_b if alone else found.pairs


def without_interval(found: Comparison) -> bool:
    """Whether there are means, of too few units for an interval."""
    return found.mean_b is not None and found.mean_b.interval is None


def too_few(comparisons: Sequence[Comparison], *, what: str, unit: str, alone: bool) -> list[str]:
    """Why there are means without an interval, as `few.lines` has it."""
    found = (
        Few(scorer=each.metric.name, scored=scored(each, alone=alone), units=each.units)
        for each in comparisons
        if without_interval(each)
    )
    return lines(found, what=what, unit=unit, alone=alone)


def means(found: EvalSummary) -> list[str]:
    """Each scorer of an evaluation with the means of both sides, as far as there are any."""
    told = []
    for name in found.scorers:
        sides = [side[name] for side in (found.mean_a, found.mean_b) if name in side]
        told.append(" ".join([name, " → ".join(f"{each:.3g}".replace("-", MINUS) for each in sides)]).strip())
    return told


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{value:+.3g}".replace("-", MINUS)


def chance(p: float | None) -> str:
    """An adjusted p-value."""
    return "none" if p is None else "<0.0001" if p < 0.0001 else f"{p:.4f}"


def differing(
    rows: Iterable[ResultRow],
    plan: EvalPlan,
    report: EvalReport,
    items: Mapping[str, Item],
    not_judged: Collection[str] = (),
) -> list[Differing]:
    """Every item. `items` are what may be shown of the questions: none of a holdout. By some scorers nobody
    is judged."""
    results: dict[tuple[str, str], list[ItemResult]] = {}
    for row in sorted(rows, key=lambda each: each.repeat):
        results.setdefault((row.item, row.arm), []).append(msgspec.json.decode(row.content, type=ItemResult))
    up = {
        each.metric.name: None if each.metric.name in not_judged else each.metric.higher_is_better
        for each in report.comparisons
    }
    found: list[Differing] = []
    for name in sorted({item for item, _ in results}):
        a, b, pair = (results.get((name, arm), []) for arm in ("a", "b", "pair"))
        parts: list[Part] = []
        for scorer, higher in up.items():
            judged_pair = marks_of(pair, scorer)
            marks_a = [other_share(each) for each in judged_pair] or marks_of(a, scorer)
            marks_b = [votes_told(each) for each in judged_pair] or marks_of(b, scorer)
            if marks_a or marks_b:
                parts.append(part_of(scorer, marks_a, marks_b, up=higher, alone=plan.a is None))
        if parts:
            found.append(difference(name, tuple(parts), a, b, items.get(name)))
    return found


def other_share(mark: Mark) -> Mark:
    """A's share of a win that a judge of pairs tells of B; its two votes stand with B's."""
    if not isinstance(mark.value, float):
        return mark
    return msgspec.structs.replace(mark, value=1 - mark.value, comment=None)


def votes_told(mark: Mark) -> Mark:
    """A pair's mark with its two votes in words."""
    votes = votes_in(mark)
    if votes is None:
        return mark
    forth = {"first": "A", "second": "B"}.get(votes[0], votes[0])
    back = {"first": "B", "second": "A"}.get(votes[1], votes[1])
    return msgspec.structs.replace(mark, comment=f"{forth} where A was shown first, {back} where B was")


def part_of(scorer: str, a: Sequence[Mark], b: Sequence[Mark], *, up: bool | None, alone: bool) -> Part:
    """One scorer's marks of an item; `up` as in `parted`."""
    good = number(b) if alone else None
    return Part(
        scorer=scorer,
        side=parted(a, b, up=up, alone=alone),
        a=marked(a),
        b=marked(b),
        why_a=next((each.comment for each in a if each.comment), None),
        why_b=next((each.comment for each in b if each.comment), None),
        good=0.0 if good is None else good if up else -good,
    )


def narrowed(found: Sequence[Differing], *, scorer: str | None, side: str | None) -> list[Differing]:
    """Those on which this scorer, or any, says this, or anything but that both are alike: where B is worse
    first, and by itself its worst marks."""
    wanted: list[tuple[int, float, str, Differing]] = []
    for each in found:
        parts = [part for part in each.parts if scorer in (None, part.scorer)]
        if side is None:
            shown = any(part.side != "alike" for part in parts)
        elif side == "alike":
            shown = bool(parts) and all(part.side == "alike" for part in parts)
        else:
            parts = [part for part in parts if part.side == side]
            shown = bool(parts)
        if shown:
            first, good = min((ORDER[part.side], part.good) for part in parts)
            wanted.append((first, good, each.item, each))
    return [each for *_, each in sorted(wanted, key=lambda one: one[:3])]


def marks_of(results: Sequence[ItemResult], scorer: str) -> list[Mark]:
    """How a scorer marked one side, by repeat."""
    return [each.marks[scorer] for each in results if scorer in each.marks]


def difference(
    name: str, parts: tuple[Part, ...], a: Sequence[ItemResult], b: Sequence[ItemResult], item: Item | None
) -> Differing:
    """One item."""
    first_a, first_b = next(iter(a), None), next(iter(b), None)
    expected = item.expected if item is not None else None
    return Differing(
        item=name,
        question=asked(item) if item is not None else None,
        expected=None if expected is None else plainly(expected),
        parts=parts,
        key_a=first_a.key if first_a is not None else None,
        key_b=first_b.key if first_b is not None else None,
        record_a=first_a.record if first_a is not None else None,
        record_b=first_b.record if first_b is not None else None,
    )


def parted(a: Sequence[Mark], b: Sequence[Mark], *, up: bool | None, alone: bool) -> Side:
    """How B stands on an item; `up` says whether more is better, None that nobody is judged by it."""
    if any(each.unscored is not None for each in (*a, *b)):
        return "unscored"
    if alone:
        return "scored"
    x, y = number(a), number(b)
    if x is None or y is None or up is None:
        return "alike" if [each.value for each in a] == [each.value for each in b] else "differs"
    return "alike" if x == y else "better" if (y > x) == up else "worse"


def number(marks: Sequence[Mark]) -> float | None:
    """The mean of marks that are numbers."""
    values = [float(each.value) for each in marks if isinstance(each.value, bool | int | float)]
    return sum(values) / len(values) if values else None


def marked(marks: Sequence[Mark]) -> str:
    """Marks in a few words."""
    if not marks:
        return "nothing"
    causes = [each.unscored for each in marks if each.unscored is not None]
    if causes:
        return f"unscored: {causes[0]}"
    words = dict.fromkeys(value(each.value) for each in marks)
    return ", ".join(words)


def value(found: Any) -> str:
    """One mark."""
    if isinstance(found, bool):
        return "yes" if found else "no"
    return f"{found:.4g}".replace("-", MINUS) if isinstance(found, int | float) else str(found)


def asked(item: Item) -> str:
    """The last thing that was said to the release, or its variables."""
    for message in reversed(item.input.messages):
        if said := flat_text(message.get("content")):
            return said[:QUESTION_MAX]
    return plainly(item.input.variables or list(item.input.messages))[:QUESTION_MAX]


def plainly(found: Any) -> str:
    """A JSON value as text; a text as itself."""
    return found if isinstance(found, str) else msgspec.json.encode(found).decode()
