"""`airboss gateway`: serve calls, as one process."""

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


def gateway(
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    host: HostOption = DEFAULT_HOST,
    port: Annotated[int, typer.Option(help="Port of the data plane.", min=0, max=65535)] = 8700,
    worker: Annotated[int, typer.Option(help="Number of this worker.", min=0)] = 0,
    insecure: InsecureOption = False,
    log_format: LogFormatOption = None,
) -> None:
    """Run one gateway worker: the data path."""
    from airboss.compose.gateway_role import run_gateway  # noqa: PLC0415 - loads what only this role needs

    run_gateway(data_dir, host=host, port=port, worker=worker, insecure=insecure, log_format=log_format)
