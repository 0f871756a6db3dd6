"""`airboss controller`: plans, records, jobs and the console, as one process."""

from __future__ import annotations

from typing import Annotated

import typer

from airboss.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_HOST,
    DataDirOption,
    HostOption,
    InsecureOption,
    LogFormatOption,
)


def controller(
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    host: HostOption = DEFAULT_HOST,
    console_port: Annotated[int, typer.Option(help="Port of the control plane.", min=0, max=65535)] = 8701,
    join: Annotated[
        str | None, typer.Option(help="Instead bring journals to the Airboss whose console is at this URL.")
    ] = None,
    insecure: InsecureOption = False,
    log_format: LogFormatOption = None,
) -> None:
    """Run the controller: moves records into the store, serves the console and the admin API."""
    if join is not None:
        from airboss.compose.joining import run_joined_controller  # noqa: PLC0415 - only who joins

        run_joined_controller(data_dir, join, log_format=log_format)
        return
    from airboss.compose.controller_role import run_controller  # noqa: PLC0415 - loads what only this role needs

    run_controller(data_dir, host=host, console_port=console_port, insecure=insecure, log_format=log_format)
