"""Fine-tunings in words: what was trained on what, and what the holdout says."""

from __future__ import annotations

from typing import Any

from airboss.cli.eval_report import release, tell_uneven
from airboss.cli.output import console, dash, escape, local_time, table_of, usd
from airboss.cli.tune_report import interval
from airboss.store.wording import many


def show_finetunes(found: list[dict[str, Any]]) -> None:
    """Fine-tunings, one a line."""
    out = console()
    table = table_of("id", "state", "deployment", "dataset", "model", "better", "release", "created")
    for each in found:
        steps = f" {each['done']}/{each['total']}" if each["state"] == "running" and each["total"] else ""
        table.add_row(
            each["id"],
            each["state"] + steps,
            escape(each["deployment"]),
            escape(each["dataset"]),
            escape(each["model"]),
            {True: "yes", False: "no", None: "-"}[each["better"]],
            escape(dash(each["proposed"])),
            local_time(each["created_at"]),
        )
    out.print(table)


def show_finetune(found: dict[str, Any]) -> None:
    """One fine-tuning: where it stands, and what came of it if it is done."""
    out = console()
    summary, result = found["summary"], found["result"]
    out.print(
        f"[bold]{summary['id']}[/] {summary['state']}, {escape(summary['model'])} at "
        f"{escape(summary['provider'])} on {escape(summary['dataset'])} by {escape(summary['scorer'])}"
    )
    out.print(f"to beat: {escape(release(summary['base']))} of {escape(summary['deployment'])}")
    tell_uneven(found)
    if result is None:
        steps = f"{summary['done']} of {summary['total']}; " if summary["total"] else ""
        out.print(f"{steps}{escape(summary['note'])}")
        if summary["error"]:
            out.print(f"[red]{escape(summary['error'])}[/]")
        return
    out.print()
    for line in trained(result):
        out.print(escape(line))
    judged = result["judgement"]
    if judged["reads_before"]:
        often = many(judged["reads_before"], "time")
        out.print(f"the holdout had been read {often} before: the more often, the less its word counts")
    cost = "" if result["cost_unknown"] == result["calls"] else f", {usd(result['cost_usd'])}"
    out.print(
        f"holdout: {interval(judged['before'])} before, {interval(judged['after'])} after "
        f"({many(judged['items'], 'item')}, {many(result['calls'], 'call')}{cost})"
    )
    colour = "green" if result["better"] else "yellow"
    out.print(f"[{colour}]{'better' if result['better'] else 'not better'}[/]: {escape(result['reason'])}")
    if result["proposed"] is not None:
        named = escape(result["proposed"])
        out.print(
            f"model and release are in the configuration as {named}; roll it out with: airboss rollout start "
            f"{escape(summary['deployment'])} --release {named}"
        )
        if summary["new_model"].get("model"):
            out.print(f"no price of it is known: give one as price under \\[models.{named}]")
    elif result["unproposed"] is not None:
        out.print(f"[red]it is not in the configuration: {escape(result['unproposed'])}[/]")


def trained(result: dict[str, Any]) -> list[str]:
    """What was learnt from what, a line each."""
    learned = result["learned"]
    made = learned["trained"]
    tokens = made["trained_tokens"]
    cost = "" if made["cost_usd"] is None else f", {usd(made['cost_usd'])}"
    told = f"{many(tokens, 'token')}{cost}" if tokens is not None else f"tokens not told{cost}"
    lines = [
        "; ".join(f"{name} = {value}" for name, value in made["fields"].items()),
        f"learnt from {many(learned['examples'], 'example')} in {many(result['epochs'], 'epoch')} ({told})",
    ]
    if made["losses"]:
        first, last = made["losses"][0], made["losses"][-1]
        lines += [
            f"{part} loss {first[part]:.3f} at step {first['step']}, {last[part]:.3f} at step {last['step']}"
            for part in ("training", "validation")
            if first[part] is not None and last[part] is not None
        ]
    if learned["left_out"]:
        lines.append(
            f"{many(learned['left_out'], 'item of the train part')} came from people, not learnt from "
            "(see --people)"
        )
    if learned["unfit"]:
        lines.append(f"of {learned['unfit']} training items no example could be made")
    if made["left_behind"]:
        lines.append(f"left at the provider, delete there: {', '.join(made['left_behind'])}")
    return lines
