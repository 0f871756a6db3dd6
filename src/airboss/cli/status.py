"""`airboss status`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import typer

from airboss.cli.api import reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import console, dash, print_json, size


def status(
    *, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """Show what is served and how its processes stand; exit 1 if it is stopped or not all is well."""
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/status")
    if as_json:
        print_json(found)
    else:
        show(found)
    if not well(found):
        raise typer.Exit(1)


def well(found: dict[str, Any]) -> bool:
    """Whether it runs and everything that it should serve is ready."""
    things = [*found["deployments"], *found["processes"]]
    return bool(
        found["running"] and found["journal"]["store_up"] and all(t["state"] == "ready" for t in things)
    )


def show(found: dict[str, Any]) -> None:
    """The status as tables."""
    from rich.markup import escape  # noqa: PLC0415 - 40 ms that JSON output need not pay
    from rich.table import Table  # noqa: PLC0415 - as above

    out = console()
    state = f"up {age(found['started_at'])}" if found["running"] else "stopped"
    plan = (
        f"plan {found['plan_number']}, {age(found['plan_created_at'])} old"
        if found["plan_number"]
        else "no plan"
    )
    out.print(f"[bold]airboss {found['version']}[/] {state}, {plan}, data in {escape(found['data_dir'])}")
    if found["running"]:
        out.print(f"serves {found['base_url']}\nconsole {found['console_url']}")
    deployments = Table(
        "deployment", "aliases", "provider", "model", "release", "state", box=None, padding=(0, 2, 0, 0)
    )
    for each in found["deployments"]:
        shown = [
            each["name"],
            ", ".join(each["aliases"]) or "-",
            each["provider"],
            each["model"],
            each["release"][:12],
        ]
        deployments.add_row(*map(escape, shown), coloured(each["state"], each["detail"]))
    out.print()
    out.print(deployments)
    processes = Table(
        "process", "state", "since", "pid", "restarts", "memory", box=None, padding=(0, 2, 0, 0)
    )
    for each in found["processes"]:
        memory = size(each["rss_bytes"]) if each.get("rss_bytes") else "-"
        row = [age(each["since"]), dash(each["pid"]), str(each["restarts"]), memory]
        processes.add_row(escape(each["name"]), coloured(each["state"], each["detail"]), *row)
    if found["processes"]:
        out.print()
        out.print(processes)
    out.print()
    out.print(journal(found["journal"]))


def journal(found: dict[str, Any]) -> str:
    """How far the record store is behind, in one line."""
    store = "[green]up[/]" if found["store_up"] else "[red]down[/]"
    if not found["unmoved_bytes"]:
        return f"record store {store}, all records moved"
    behind = f"{size(found['unmoved_bytes'])} of journal wait, the oldest for {found['lag_s']:.0f} s"
    return f"record store {store}, {behind}; nothing is lost while it waits"


def coloured(state: str, detail: str | None) -> str:
    """A state with its colour, and what there is to say about it."""
    from rich.markup import escape  # noqa: PLC0415 - as above

    colour = {"ready": "green", "starting": "yellow", "fetching": "yellow", "stopping": "yellow"}.get(
        state, "red"
    )
    return f"[{colour}]{state}[/]" + (f" ({escape(detail)})" if detail else "")


def age(moment: str | None) -> str:
    """How long ago, in one unit."""
    if moment is None:
        return "-"
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
