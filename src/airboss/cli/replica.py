"""`airboss replica`: model engines on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from airboss.cli.api import reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, LogFormatOption, UrlOption
from airboss.cli.output import console, dash, print_json
from airboss.cli.status import age, coloured

replica = typer.Typer(help="Model engines on this machine.", no_args_is_help=True)


@replica.command("list")
def list_replicas(
    *, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """List the replicas and how they stand."""
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/status")["replicas"]
    if as_json:
        for each in found:
            print_json(each)
        return
    from rich.markup import escape  # noqa: PLC0415 - 40 ms that JSON output need not pay
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(
        "replica", "model", "url", "state", "since", "pid", "restarts", box=None, padding=(0, 2, 0, 0)
    )
    for each in found:
        names = [escape(each["id"]), escape(each["model"]), escape(each["url"])]
        rest = [age(each["since"]), dash(each["pid"]), str(each["restarts"])]
        table.add_row(*names, coloured(each["state"], each["detail"]), *rest)
    console().print(table if found else "no model of this configuration runs here")


@replica.command("serve")
def serve(
    *,
    model: Annotated[str, typer.Option(help="Name of the model in the configuration.")],
    port: Annotated[int, typer.Option(help="Port on loopback.", min=1, max=65535)],
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    log_format: LogFormatOption = None,
) -> None:
    """Run one engine of a local model."""
    from airboss.compose.roles import run_replica  # noqa: PLC0415 - loads what only this role needs

    run_replica(data_dir, model=model, port=port, log_format=log_format)
