"""`airboss job`: work that survives a crash."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from airboss.cli.api import place, reach
from airboss.cli.follow_job import say_stopped
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, LimitOption, UrlOption
from airboss.cli.output import console, escape, local_time, print_json, print_list, table_of
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
        say_stopped(api, found)
    none = "no jobs yet; `airboss eval run` makes one"
    if kind is not None:
        none = f"no jobs of kind {kind!r}; kinds are eval, scoring, probe, tune and finetune"
    print_list(found, show_jobs, none=none, as_json=as_json)


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
        say_stopped(api, [found])
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
    out = console()
    left = ("id", "state", "note", "created", "by")
    table = table_of("id", "state", "steps", "note", "created", "by", left=left)
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
