"""`airboss replica`: model engines on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from airboss.cli.api import reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, LogFormatOption, UrlOption
from airboss.cli.output import console, dash, escape, left_out, print_each, print_nothing, table_of
from airboss.cli.status import age, coloured

replica = typer.Typer(help="Model engines on this machine.", no_args_is_help=True)


@replica.command("list")
def list_replicas(
    *, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """List the replicas and how they stand, and how many each model should have."""
    with reach(data_dir, url) as api:
        status = api.get("/api/v1/status")
    found = status["replicas"]
    if not found:
        print_nothing("no model of this configuration runs here")
        return
    if as_json:
        print_each(found)
        return
    from airboss.cli.narrow import without  # noqa: PLC0415 - 40 ms that JSON output need not pay

    names = ("replica", "model", "url", "state", "since", "pid", "restarts", "running", "queued", "reason")
    table = table_of(*names)
    for each in found:
        told = [escape(each["id"]), escape(each["model"]), escape(each["url"]), coloured(each["state"], None)]
        told += [age(each["since"]), dash(each["pid"]), str(each["restarts"])]
        told += ["-" if each["running"] is None else f"{each['running']} of {each['slots']}"]
        table.add_row(*told, dash(each["queued"]), escape(each["detail"] or "-"))
    out = console()
    gone = without(table, out, ("pid", "restarts", "queued", "model", "reason"))
    out.print(table)
    if gone:
        out.print(left_out(names, [each for each in names if each not in gone]), style="dim", markup=False)
    for each in status["scaling"]:
        ready = sum(1 for one in found if one["model"] == each["model"] and one["state"] == "ready")
        wanted = f"{each['model']}: {ready} ready of {each['wanted']} wanted"
        out.print(escape(f"{wanted} since {age(each['since'])} ({each['reason']})"))


@replica.command("serve")
def serve(
    *,
    model: Annotated[str, typer.Option(help="Name of the model in the configuration.")],
    port: Annotated[int, typer.Option(help="Port on loopback.", min=1, max=65535)],
    placement: Annotated[
        str | None, typer.Option(help="Start it with what this replica was placed with.")
    ] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    log_format: LogFormatOption = None,
) -> None:
    """Run one engine of a local model."""
    from airboss.compose.replica_role import run_replica  # noqa: PLC0415 - loads what only this role needs

    run_replica(data_dir, model=model, port=port, placement=placement, log_format=log_format)


@replica.command("ray")
def ray(*, data_dir: DataDirOption = DEFAULT_DATA_DIR, log_format: LogFormatOption = None) -> None:
    """Have the engines run on a Ray cluster, as [replicas] host = "ray" says."""
    from airboss.compose.ray import run_ray  # noqa: PLC0415 - loads what only this role needs

    run_ray(data_dir, log_format=log_format)
