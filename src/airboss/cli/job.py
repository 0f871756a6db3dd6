"""`airboss job`: work that survives a crash."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from airboss.cli.api import place, reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, LimitOption, UrlOption
from airboss.cli.output import console, local_time, print_json, print_nothing
from airboss.store.wording import many

job = typer.Typer(
    help="Work that survives a crash: evaluations, tuning, fine-tuning, probes.", no_args_is_help=True
)

STATE_COLOURS = {"done": "green", "failed": "red", "cancelled": "yellow"}


@job.command("list")
def list_jobs(
    *,
    kind: Annotated[str | None, typer.Option(help="Only of this kind, such as eval.")] = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """List jobs and how far they are."""
    params = {"limit": str(limit), **({"kind": kind} if kind is not None else {})}
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/jobs", params)["jobs"]
    if kind is not None and not found:
        print_nothing(f"no jobs of kind {kind!r}; kinds are eval, scoring, probe, tune and finetune")
    elif not found:
        print_nothing("no jobs yet; `airboss eval run` makes one")
    elif as_json:
        for each in found:
            print_json(each)
    else:
        show_jobs(found)


@job.command("show")
def show_job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job, as `job list` names it.")],
    *,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Show one job."""
    with reach(data_dir, url) as api:
        found = api.get(place("jobs", job_id))
    if as_json:
        print_json(found)
        return
    show_jobs([found])
    if found["error"]:
        sys.stdout.write(f"\n{found['error']}\n")


@job.command("cancel")
def cancel_job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job, as `job list` names it.")],
    *,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """End a job that has not ended. What it has paid for is kept, so that asking again is cheaper."""
    with reach(data_dir, url) as api:
        found = api.post(place("jobs", job_id, "/cancel"), {})
    if as_json:
        print_json(found)
        return
    sys.stdout.write(
        f"{found['id']} is {found['state']} after {found['done']} of {many(found['total'], 'step')}\n"
    )


def show_jobs(found: list[dict[str, Any]]) -> None:
    """Jobs as a table."""
    from rich.markup import escape  # noqa: PLC0415 - 40 ms that JSON output need not pay
    from rich.table import Table  # noqa: PLC0415 - as above

    out = console()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("id", "state", "steps", "note", "created", "by"):
        table.add_column(name, justify="right" if name == "steps" else "left", no_wrap=name != "note")
    for each in found:
        state = each["state"]
        colour = STATE_COLOURS.get(state)
        table.add_row(
            escape(each["id"]),
            f"[{colour}]{state}[/]" if colour else state,
            f"{each['done']}/{each['total']}" if each["total"] else "-",
            escape(each["error"] or each["note"]),
            local_time(each["created_at"]),
            escape(each["by"]),
        )
    out.print(table)
