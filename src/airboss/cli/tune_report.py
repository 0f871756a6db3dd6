"""Tunings as tables: what was tried, what more tokens buy, and what the holdout says."""

from __future__ import annotations

from typing import Any

from airboss.cli.eval_report import release, tell_uneven
from airboss.cli.output import clipped, console, dash, escape, local_time, table_of, usd
from airboss.store.wording import many

SHOWN = 10
"""Candidates of a table; the JSON has more."""


def show_tunes(found: list[dict[str, Any]]) -> None:
    """Tunings, one a line."""
    out = console()
    table = table_of("id", "state", "deployment", "dataset", "from", "better", "release", "created")
    for each in found:
        calls = f" {each['done']}/{each['total']}" if each["state"] == "running" else ""
        table.add_row(
            each["id"],
            each["state"] + calls,
            escape(each["deployment"]),
            escape(each["dataset"]),
            escape(release(each["base"])),
            {True: "yes", False: "no", None: "-"}[each["better"]],
            escape(dash(each["proposed"])),
            local_time(each["created_at"]),
        )
    out.print(table)


def show_tune(found: dict[str, Any]) -> None:
    """One tuning: where it stands, and what came of it if it is done."""
    out = console()
    summary, result = found["summary"], found["result"]
    out.print(
        f"[bold]{summary['id']}[/] {summary['state']}, {escape(summary['deployment'])} on "
        f"{escape(summary['dataset'])} by {escape(summary['scorer'])}"
    )
    out.print(f"to beat: {escape(release(summary['base']))}")
    tell_uneven(found)
    if result is None:
        out.print(f"{summary['done']} of {many(summary['total'], 'call')}; {escape(summary['note'])}")
        if summary["error"]:
            out.print(f"[red]{escape(summary['error'])}[/]")
        return
    out.print()
    out.print(candidates(result))
    out.print()
    if len(result["frontier"]) > 1:
        steps = (f"{each['score']:.3f} for {each['tokens_per_call']:.0f}" for each in result["frontier"])
        out.print(f"score for tokens per call: {', '.join(steps)}")
    cost = "" if result["cost_unknown"] == result["calls"] else f", {usd(result['cost_usd'])}"
    calls = f"{many(result['calls'], 'call')} of {result['budget']}{cost}"
    out.print(f"{many(result['tried'] - 1, 'other')} tried in {calls}")
    if result["left_out"]:
        items = many(result["left_out"], "item of the train part")
        out.print(f"{items} came from people and went into no prompt (see --people)")
    written = result["reflections"]
    if written is not None and written["failed"]:
        failed = f"{written['failed']} of {many(written['asked'], 'call')}"
        out.print(f"[yellow]the reflector gave no answer to {failed}: {escape(written['cause'])}[/]")
    judged = result["judgement"]
    if judged is not None:
        if judged["reads_before"]:
            often = many(judged["reads_before"], "time")
            out.print(f"the holdout had been read {often} before: the more often, the less its word counts")
        out.print(f"holdout: {interval(judged['before'])} before, {interval(judged['after'])} after")
    colour = "green" if result["better"] else "yellow"
    out.print(f"[{colour}]{'better' if result['better'] else 'not better'}[/]: {escape(result['reason'])}")
    if result["proposed"] is not None:
        out.print(
            f"it is in the configuration as {escape(result['proposed'])}; roll it out with: airboss rollout "
            f"start {escape(summary['deployment'])} --release {escape(result['proposed'])}"
        )
    elif result["unproposed"] is not None:
        out.print(f"[red]it is not in the configuration: {escape(result['unproposed'])}[/]")


def candidates(result: dict[str, Any]) -> Any:
    """The best candidates and today's release, by validation."""
    names = ("validation", "n", "score", "tokens a call", "form", "examples", "instruction")
    table = table_of(*names, left=("validation", "form", "instruction"))
    chosen = result["chosen"]["release"] if result["chosen"] is not None else None
    rows = [("today", result["today"])]
    rows += [
        ("chosen" if each["release"] == chosen else each["release"][:8], each)
        for each in result["candidates"][:SHOWN]
    ]
    for label, each in rows:
        tokens = each["tokens_per_call"]
        text = " ".join((each["instruction"] or "").split())
        table.add_row(
            label,
            str(each["n"]),
            f"{each['score']:.3f}",
            "-" if tokens is None else f"{tokens:.0f}",
            each["form"],
            str(each["examples"]),
            escape(clipped(text, 60)),
        )
    return table


def interval(value: dict[str, Any] | None) -> str:
    """A number with its interval."""
    if value is None:
        return "unknown"
    return f"{value['estimate']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
