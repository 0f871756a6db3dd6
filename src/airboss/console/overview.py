"""What the first page says: how each deployment did, in cards over all and in rows. Pure.

Quantiles of different deployments cannot be added up, so a card over all of them names the slowest one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from airboss.console.chart import Chart, coarse, counted, sparkline
from airboss.console.text import NB, usd
from airboss.domain.plan import DeploymentPlan, ServingPlan
from airboss.domain.ports import DeploymentStats
from airboss.store.wording import many

Level = Literal["ok", "info", "warn", "bad", "none"]
"""How a thing stands. Always shown with a word or a shape; `none` is where there is nothing to say."""

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
ERRORS_BAD = 0.05
ERRORS_WARN = 0.01
ENOUGH = 20
"""Calls below which a rate is shown with its n, and turns no light red."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One headline number; `value` None is no data. `kind` says how it reads; `note` stands below it."""

    label: str
    kind: Literal["count", "percent", "ms", "usd"]
    value: float | None
    note: str
    level: Level = "none"
    spark: tuple[str, ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment; `stats` None where it had no call. `share` is its part of all requests, 0 to 1."""

    name: str
    plan: DeploymentPlan | None
    stats: DeploymentStats | None
    share: float
    level: Level
    spark: tuple[str, ...] = ()


def level(errors: int, calls: int) -> Level:
    """How so many errors in so many calls look."""
    if calls < 1 or (calls < ENOUGH and errors == 0):
        return "none"
    if calls < ENOUGH:
        return "warn"
    rate = errors / calls
    return "bad" if rate >= ERRORS_BAD else "warn" if rate >= ERRORS_WARN else "ok"


def rows(
    stats: Sequence[DeploymentStats], plan: ServingPlan | None, chart: Chart, *, sort: str
) -> tuple[Row, ...]:
    """Every deployment of the plan and every one that was called; `sort` is a name in `SORTS`, `-` before it
    for descending."""
    by_name = {each.deployment: each for each in stats}
    plans = {each.name: each for each in plan.deployments} if plan else {}
    lines = {each.deployment: each for each in chart.lines}
    total = sum(each.requests for each in stats)
    found = [
        Row(
            name=name,
            plan=plans.get(name),
            stats=by_name.get(name),
            share=by_name[name].requests / total if name in by_name and total else 0.0,
            level=level(by_name[name].errors, counted(by_name[name])) if name in by_name else "none",
            spark=sparkline(coarse(lines[name].requests, add=True), width=96, height=20)
            if name in lines
            else (),
        )
        for name in sorted({*by_name, *plans})
    ]
    key = SORTS.get(sort.lstrip("-"))
    return tuple(sorted(found, key=key, reverse=sort.startswith("-")) if key is not None else found)


def by(read: Callable[[DeploymentStats], float | None]) -> Callable[[Row], float]:
    """A sort key; a deployment without the number counts as the least."""

    def key(row: Row) -> float:
        value = read(row.stats) if row.stats is not None else None
        return -1.0 if value is None else float(value)

    return key


SORTS: dict[str, Callable[[Row], float]] = {
    "requests": by(lambda each: each.requests),
    "errors": by(lambda each: each.errors / counted(each) if counted(each) else None),
    "p50": by(lambda each: each.latency_p50_ms),
    "p95": by(lambda each: each.latency_p95_ms),
    "ttft": by(lambda each: each.ttft_p50_ms),
    "ttft95": by(lambda each: each.ttft_p95_ms),
    "speed": by(lambda each: each.tokens_per_s),
    "tokens": by(lambda each: each.output_tokens),
    "cost": by(lambda each: each.cost_usd),
}
"""What the table can be sorted by; anything else is by name."""


def cards(
    stats: Sequence[DeploymentStats], before: Sequence[DeploymentStats], chart: Chart, *, earlier: str
) -> tuple[Card, ...]:
    """The headline numbers; `before` is the period before, which `earlier` names in the notes."""
    requests, calls, errors = totals(stats)
    requests_before, calls_before, errors_before = totals(before)
    return (
        Card(
            label="Requests",
            kind="count",
            value=requests if stats else None,
            note=change(requests, requests_before, earlier),
            spark=picture([line.requests for line in chart.lines], add=True),
        ),
        Card(
            label="Errors",
            kind="percent",
            value=errors / calls if calls else None,
            note=error_note(errors, calls, errors_before, calls_before, earlier) + refused_note(stats),
            level=level(errors, calls),
            spark=picture([line.errors for line in chart.lines]),
        ),
        slowest(
            "Latency p95",
            stats,
            before,
            read=lambda each: each.latency_p95_ms,
            lines={line.deployment: line.p95 for line in chart.lines},
        ),
        slowest(
            "First token p95",
            stats,
            before,
            read=lambda each: each.ttft_p95_ms,
            lines={line.deployment: line.ttft for line in chart.lines},
        ),
        Card(
            label="Output tokens",
            kind="count",
            value=sum(each.output_tokens for each in stats) if stats else None,
            note=f"{many(sum(each.input_tokens for each in stats), 'token')} in" if stats else "no calls",
            spark=picture([line.tokens for line in chart.lines], add=True),
        ),
        cost_card(stats, chart),
    )


def totals(stats: Sequence[DeploymentStats]) -> tuple[int, int, int]:
    """Requests, the calls that an error rate is of, and errors."""
    return sum(each.requests for each in stats), sum(map(counted, stats)), sum(each.errors for each in stats)


def change(now: int, before: int, earlier: str) -> str:
    """How much more or less than in the period before."""
    if before < ENOUGH:
        return f"{before or 'none'} in the {earlier} before"
    percent = 100 * (now - before) / before
    if abs(percent) < 0.5:
        return f"as in the {earlier} before"
    if percent > 1_000:
        return f"{TIMES}{now / before:.0f} on the {earlier} before"
    return f"{percent:+.0f}{NB}% on the {earlier} before".replace("-", MINUS)


def error_note(errors: int, calls: int, errors_before: int, calls_before: int, earlier: str) -> str:
    """The count behind a rate, and the rate before it."""
    if not calls:
        return "no calls"
    note = f"{errors:,} of {calls:,}"
    if calls_before >= ENOUGH:
        note += f", {100 * errors_before / calls_before:.2f}{NB}% in the {earlier} before"
    return note


def refused_note(stats: Sequence[DeploymentStats]) -> str:
    """How many calls a policy or limit refused, where any were."""
    refused = sum(each.refused for each in stats)
    return f"; {refused:,} refused" if refused else ""


def slowest(
    label: str,
    stats: Sequence[DeploymentStats],
    before: Sequence[DeploymentStats],
    *,
    read: Callable[[DeploymentStats], float | None],
    lines: Mapping[str, Sequence[float | None]],
) -> Card:
    """The card of a latency: that of the slowest deployment, by name, and what it was before."""
    found = [(value, each.deployment) for each in stats if (value := read(each)) is not None]
    if not found:
        return Card(label=label, kind="ms", value=None, note="nothing measured")
    value, name = max(found)
    past = next((read(each) for each in before if each.deployment == name), None)
    note = f"slowest: {name}" if len(found) > 1 else name
    if past:
        note += f", {100 * (value - past) / past:+.0f}{NB}%".replace("-", MINUS)
    drawn = picture([lines[name]] if name in lines else ())
    return Card(label=label, kind="ms", value=value, note=note, spark=drawn)


def cost_card(stats: Sequence[DeploymentStats], chart: Chart) -> Card:
    """Money spent, and how many calls it does not know the price of."""
    known = [each.cost_usd for each in stats if each.cost_usd is not None]
    unknown = sum(each.cost_unknown for each in stats)
    value = sum(known) if known else None
    requests = sum(each.requests for each in stats)
    if unknown:
        note = (
            f"without {unknown:,} call{'' if unknown == 1 else 's'} of unknown price"
            if known
            else "no price known; set `price` on the model"
        )
    elif value and requests:
        note = f"{usd(1_000 * value / requests)} per 1,000 calls"
    else:
        note = "local models cost nothing" if known else "no calls"
    return Card(
        label="Cost",
        kind="usd",
        value=value,
        note=note,
        spark=picture([line.cost for line in chart.lines], add=True),
    )


def picture(lines: Sequence[Sequence[float | None]], *, add: bool = False) -> tuple[str, ...]:
    """A sparkline over several deployments: their sum if `add`, else the highest at each step."""
    merged: list[float | None] = []
    for step in zip(*lines, strict=True):
        present = [value for value in step if value is not None]
        merged.append((sum(present) if add else max(present)) if present else None)
    return sparkline(coarse(merged, add=add))
