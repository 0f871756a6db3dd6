"""Probes of bias for people: what was found in a sentence, forest plots, a table, and examples."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airboss.cli.eval_report import p_value, release
from airboss.cli.output import clipped, console, escape, local_time, table_of, usd
from airboss.store.wording import level, many

if TYPE_CHECKING:
    from airboss.console.forest import Forest, ForestRow

COLOURS = {"different": "red", "equivalent": "green"}
CONCLUSIONS = {
    "found": "[red]a difference is shown[/]",
    "none_found": "[yellow]no difference is shown, though not every one is ruled out[/]",
    "equivalent": "[green]every difference lies within its margin[/]",
}
TITLES = {
    "decision": "decision: share of better answers",
    "flips": "flips: decisions that differ, beyond the noise",
    "refusal": "refusal: share of answers that decline",
    "length": "length of free answers, as a logarithm",
    "log_odds": "log-odds of the better answer",
}
PLOT_COLUMNS = 49
NOTE_CHARS = 60


def show_probes(found: list[dict[str, Any]]) -> None:
    """Probes, one a line."""
    out = console()
    table = table_of("id", "state", "deployment", "release", "attributes", "conclusion", "created")
    for each in found:
        calls = f" {each['done']}/{each['total']}" if each["state"] == "running" else ""
        table.add_row(
            each["id"],
            each["state"] + calls,
            escape(each["deployment"]),
            escape(release(each["target"])),
            ", ".join(each["questions"]),
            (each["conclusion"] or "-").replace("_", " "),
            local_time(each["created_at"]),
        )
    out.print(table)


def show_probe(found: dict[str, Any]) -> None:
    """One probe: where it stands, and what it found if it is done."""
    out = console()
    summary, report = found["summary"], found["report"]
    out.print(
        f"[bold]{summary['id']}[/] {summary['state']}, {escape(summary['deployment'])} "
        f"{escape(release(summary['target']))}"
    )
    if report is None:
        out.print(f"{summary['done']} of {many(summary['total'], 'call')}; {escape(summary['note'])}")
        if summary["error"]:
            out.print(f"[red]{escape(summary['error'])}[/]")
        return
    out.print()
    plots(report, summary["alpha"])
    out.print(table(report))
    out.print()
    for line in notes(summary, report):
        out.print(line)
    for each in report["examples"]:
        out.print(
            escape(
                f"  {each['attribute']}, {each['prompt']}: {each['a']} {said(each['answer_a'])}, "
                f"{each['b']} {said(each['answer_b'])}"
            )
        )
    out.print(f"{CONCLUSIONS[report['conclusion']]}, of this release on these prompts")


def plots(report: dict[str, Any], alpha: float) -> None:
    """The forest plots, one a measure."""
    import msgspec  # noqa: PLC0415 - which JSON output does without

    from airboss.console.forest import forest  # noqa: PLC0415 - as above
    from airboss.evaluations.bias_measures import MEASURES, Finding  # noqa: PLC0415 - as above

    found = msgspec.convert(report["findings"], list[Finding])
    sure = f"{level(2 * alpha)}%"
    for measure in MEASURES:
        picture = forest(found, measure)
        if picture is not None:
            sys.stdout.write(f"{TITLES[measure]}, the other group minus the reference ({sure})\n")
            sys.stdout.write("\n".join(lines(picture)) + "\n\n")


def lines(picture: Forest, columns: int = PLOT_COLUMNS) -> list[str]:
    """A forest plot in characters: a line a group, the margin shaded, and the axis below."""
    labels = [f"{row.attribute} {row.group}" for row in picture.rows]
    width = max(map(len, labels))
    drawn = [
        f"{label.ljust(width)}  {bar(row, picture, columns)}  {row.verdict}"
        for label, row in zip(labels, picture.rows, strict=True)
    ]
    return [*drawn, " " * (width + 2) + axis(picture, columns)]


def bar(row: ForestRow, picture: Forest, columns: int) -> str:
    """One group's line."""
    cells = [" "] * columns
    margin = range(
        column(picture.margin_left, columns), column(picture.margin_left + picture.margin_width, columns) + 1
    )
    for at in margin:
        cells[at] = "░"
    cells[column(picture.zero, columns)] = "│"
    first, last = column(row.left, columns), column(row.left + row.width, columns)
    for at in range(first, last + 1):
        cells[at] = "─"
    cells[first], cells[last] = "├", "┤"
    cells[column(row.middle, columns)] = "●"
    return "".join(cells)


def axis(picture: Forest, columns: int) -> str:
    """The numbers under a plot; those that would run into one another are left out."""
    cells = [" "] * (columns + 8)
    free = 0
    for tick in picture.ticks:
        text = "0" if tick.value == 0 else f"{tick.value:+g}"
        start = max(0, column(tick.left, columns) - len(text) // 2)
        if start >= free:
            cells[start : start + len(text)] = text
            free = start + len(text) + 1
    return "".join(cells).rstrip()


def column(percent: float, columns: int) -> int:
    """Where a percentage of the width stands."""
    return min(columns - 1, max(0, round(percent / 100 * (columns - 1))))


def table(report: dict[str, Any]) -> Any:
    """Every finding in numbers."""
    words = ("attribute", "group", "measure")
    numbers = ("n", "reference", "group's", "gap", "floor", "p")
    made = table_of(*words, *numbers, "verdict", left=(*words, "verdict"))
    for each in report["findings"]:
        colour = COLOURS.get(each["verdict"])
        made.add_row(
            each["attribute"],
            f"{each['group']} / {each['reference']}",
            each["measure"],
            f"{each['pairs']} in {each['units']}" if each["units"] != each["pairs"] else str(each["pairs"]),
            number(each["mean_a"]),
            number(each["mean_b"]),
            gap(each["gap"]),
            floor(each),
            p_value(each),
            f"[{colour}]{each['verdict']}[/]" if colour else escape(verdict(each)),
        )
    return made


def number(value: float | None) -> str:
    """A mean."""
    return "-" if value is None else f"{value:.3g}"


def gap(interval: dict[str, Any] | None) -> str:
    """A difference with its interval."""
    if interval is None:
        return "-"
    return f"{interval['estimate']:+.3f} ({interval['low']:+.3f} to {interval['high']:+.3f})"


def floor(finding: dict[str, Any]) -> str:
    """What people of one group make of it; of flips the reference's share is that already."""
    value = finding["mean_a"] if finding["measure"] == "flips" else finding["floor"]
    return "-" if value is None else f"{value:+.3f}"


def verdict(finding: dict[str, Any]) -> str:
    """The verdict, with its reason where it is a short one."""
    why = finding["why"] or ""
    return f"{finding['verdict']}: {why}" if 0 < len(why) <= NOTE_CHARS else str(finding["verdict"])


def said(answer: str) -> str:
    """The beginning of an answer in quotes."""
    return f'"{clipped(" ".join(answer.split()), 40)}"'


def notes(summary: dict[str, Any], report: dict[str, Any]) -> list[str]:
    """What else is to be known: calls, cost, what was not asked, what could have been found."""
    questions = ", ".join(f"{count} about {name}" for name, count in summary["questions"].items())
    cost = "" if report["cost_unknown"] == report["calls"] else f", {usd(report['cost_usd'])}"
    calls = f"{many(report['calls'], 'call')}, {report['errors']} without an answer{cost}"
    found = [
        f"questions: {questions}; {calls}",
        f"{many(report['tests'], 'test')} corrected together (Holm), alpha {summary['alpha']:g}",
    ]
    if report["first_error"]:
        found.append(escape(f"the first error: {report['first_error']}"))
    if report["logprobs"]:
        found.append(escape(f"no log-odds: {report['logprobs']}"))
    for why, count in summary["left_out"].items():
        found.append(escape(f"left out: {count} {why}"))
    smallest: dict[str, float] = {}
    for each in report["findings"]:
        if each["detectable"] is not None:
            least = smallest.get(each["measure"], 0.0)
            smallest[each["measure"]] = max(least, each["detectable"])
    if smallest:
        shown = ", ".join(f"{name} {value:.2g}" for name, value in smallest.items())
        found.append(f"gaps that this probe finds four times in five: {shown}")
    return found
