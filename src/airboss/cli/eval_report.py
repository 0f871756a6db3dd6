"""Evaluations as tables: the scores of both releases, their difference and how sure it is."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Any

from airboss.cli.output import console, escape, local_time, table_of, usd
from airboss.evaluations.few import Few, counted, lines
from airboss.store.wording import level, many

VERDICT_COLOURS = {"better": "green", "pass": "green", "worse": "red", "fail": "red"}


def show_evals(found: list[dict[str, Any]]) -> None:
    """Evaluations, one a line."""
    out = console()
    table = table_of("id", "state", "dataset", "part", "A", "B", "scorers", "gates", "created")
    for each in found:
        steps = f" {each['done']}/{each['total']}" if each["state"] == "running" else ""
        table.add_row(
            each["id"],
            each["state"] + steps,
            escape(each["dataset"]),
            each["part"],
            escape(release(each["a"])) if each["a"] is not None else "-",
            escape(release(each["b"])),
            escape(", ".join(with_means(each))),
            each["conclusion"] or "-",
            local_time(each["created_at"]),
        )
    out.print(table)


def with_means(found: dict[str, Any]) -> list[str]:
    """Each scorer of an evaluation with the means of A and B, as far as there are any."""
    told = []
    for name in found["scorers"]:
        sides = [side[name] for side in (found.get("mean_a", {}), found.get("mean_b", {})) if name in side]
        told.append(" ".join([name, " → ".join(f"{each:.4g}" for each in sides)]).strip())
    return told


def show_report(found: dict[str, Any]) -> None:
    """One evaluation: what it was to do, and what it found if it is done."""
    out = console()
    plan, report, summary = found["plan"], found["report"], found["summary"]
    out.print(f"[bold]{summary['id']}[/] {summary['state']}, {escape(plan['dataset_name'])} {plan['part']}")
    if plan["a"] is not None:
        then = f", as it was in {plan['held_to']}" if plan.get("held_to") else ""
        out.print(f"A {escape(release(plan['a']))}{then}, which B is held against")
    out.print(f"B {escape(release(plan['b']))}")
    tell_uneven(found)
    if report is None:
        out.print(f"{summary['done']} of {many(summary['total'], 'item')}; {escape(summary['note'])}")
        if summary["error"]:
            out.print(f"[red]{escape(summary['error'])}[/]")
        return
    out.print()
    not_judged = found.get("not_judged", ())
    out.print(scores(report, plan["alpha"], not_judged))
    out.print()
    if not_judged:
        out.print(escape(f"by {', '.join(not_judged)} nobody is judged: both answered at different times"))
    alone = report["a"] is None
    few = too_few(report["comparisons"], what="item", unit=report.get("unit", "group"), alone=alone)
    for line in [*few, *notes(report, found["holdout_reads_before"])]:
        out.print(escape(line))
    if summary["note"]:
        out.print(f"answers, of judges too: {escape(summary['note'])}")
    failed = any(
        report[side] is not None and report[side]["errors"] and plan[side]["deployment"]
        for side in ("a", "b")
    )
    if failed and not plan.get("anew"):
        out.print("run it again: what was answered is kept, and only the rest is asked")
    if report["decision"] is not None:
        tell_decision(report["decision"])


def tell_uneven(found: dict[str, Any]) -> None:
    """How the dataset was too small for what was asked for, in a part that is used."""
    for line in found.get("uneven", ()):
        console().print(f"[yellow]{escape(line)}[/]")


def release(target: dict[str, Any]) -> str:
    """A release for people."""
    digest = target["release"][:8]
    named = f"{target['name']} {digest}" if target["name"] else digest
    return named if target["deployment"] else f"app {named}"


def scores(report: dict[str, Any], alpha: float, not_judged: Collection[str] = ()) -> Any:
    """The comparisons as a table."""
    difference_of = f"B - A ({level(alpha)}%)"
    table = table_of("scorer", "n", "A", "B", difference_of, "p", "verdict", left=("scorer", "verdict"))
    for each in report["comparisons"]:
        apart = each["metric"]["name"] in not_judged
        said = "not judged" if apart else verdict(each, report, alpha)
        colour = VERDICT_COLOURS.get(said)
        table.add_row(
            escape(each["metric"]["name"]),
            counted(each["units"], scored(each, alone=report["a"] is None)),
            *(number(each[side]) for side in ("mean_a", "mean_b")),
            difference(each["difference"]),
            p_value(each),
            f"[{colour}]{said}[/]" if colour else escape(said),
        )
    return table


def number(interval: dict[str, Any] | None) -> str:
    """The middle of an interval."""
    return "-" if interval is None else f"{interval['estimate']:.4g}"


def difference(interval: dict[str, Any] | None) -> str:
    """A difference with its interval, `-` of too few units for one."""
    if interval is None:
        return "-"
    if interval["low"] is None:
        return f"{interval['estimate']:+.4g} (-)"
    return f"{interval['estimate']:+.4g} ({interval['low']:+.4g} to {interval['high']:+.4g})"


def p_value(comparison: dict[str, Any]) -> str:
    """The exact test's p-value, corrected for the number of tests."""
    p = comparison["p_adjusted"]
    return "-" if p is None else ("<0.0001" if p < 0.0001 else f"{p:.4f}")


def verdict(comparison: dict[str, Any], report: dict[str, Any], alpha: float) -> str:
    """What a gate says of it; without one, whether a difference is shown."""
    name = comparison["metric"]["name"]
    for finding in (report["decision"] or {"findings": []})["findings"]:
        if finding["gate"]["metric"] == name:
            return str(finding["conclusion"])
    if comparison["labels"]:
        return ", ".join(f"{label} {a}:{b}" for label, (a, b) in comparison["labels"].items())
    interval, p = comparison["difference"], comparison["p_adjusted"]
    if report["a"] is None:
        return "too few" if scored_few(comparison) else scored_alone(comparison["mean_b"])
    if interval is None or interval["low"] is None or p is None:
        return "too few" if comparison["pairs"] else "unscored"
    if p > alpha or interval["low"] <= 0 <= interval["high"]:
        return "no difference shown"
    return "better" if (interval["low"] > 0) == comparison["metric"]["higher_is_better"] else "worse"


def scored_alone(interval: dict[str, Any] | None) -> str:
    """How sure the score of a release by itself is; `-` of too few units to say."""
    if interval is None:
        return "unscored"
    return "-" if interval["low"] is None else f"{interval['low']:.4g} to {interval['high']:.4g}"


def scored(comparison: dict[str, Any], *, alone: bool) -> int:
    """How many items the means are of."""
    found = comparison["items"] - comparison["unscored_b"] if alone else comparison["pairs"]
    return int(found)


def scored_few(comparison: dict[str, Any]) -> bool:
    """Whether there are means, of too few units for an interval."""
    return comparison["mean_b"] is not None and comparison["mean_b"]["low"] is None


def too_few(comparisons: Sequence[dict[str, Any]], *, what: str, unit: str, alone: bool) -> list[str]:
    """Why there are means without an interval, as `few.lines` has it."""
    found = (
        Few(scorer=each["metric"]["name"], scored=scored(each, alone=alone), units=each["units"])
        for each in comparisons
        if scored_few(each)
    )
    return lines(found, what=what, unit=unit, alone=alone)


def notes(report: dict[str, Any], reads_before: int | None) -> list[str]:
    """What else is to be known: what it cost, what could not be scored, who had seen the holdout."""
    lines = []
    for side in ("a", "b"):
        totals = report[side]
        if totals is None:
            continue
        unknown = (
            f"{many(totals['cost_unknown'], 'answer')} of unknown price" if totals["cost_unknown"] else ""
        )
        known = usd(totals["cost_usd"]) if totals["answers"] > totals["cost_unknown"] or not unknown else ""
        cost = ", ".join(each for each in (known, unknown) if each)
        lines.append(
            f"{side.upper()}: {many(totals['answers'], 'answer')}, {many(totals['errors'], 'error')}, {cost}"
        )
    for each in report["comparisons"]:
        if each["unscored_a"] or each["unscored_b"]:
            causes = "; ".join(f"{count} x {cause}" for cause, count in each["causes"].items())
            lines.append(
                f"{each['metric']['name']}: of {many(each['items'], 'item')} "
                f"{each['unscored_a']} unscored for A and {each['unscored_b']} for B: {causes}"
            )
    for name, bias in report["position_bias"].items():
        lines.append(
            f"{name}: the same vote in both orders for {bias['consistent']} of {many(bias['items'], 'item')}"
        )
    if reads_before:
        lines.append(
            f"the holdout had been read {many(reads_before, 'time')} before: this judgement is less firm"
        )
    return lines


def tell_decision(decision: dict[str, Any]) -> None:
    """What came of the gates."""
    sys.stdout.write(f"\ngates: {decision['conclusion']}\n")
    for finding in decision["findings"]:
        sys.stdout.write(f"  {finding['conclusion']}: {finding['reason']}\n")
