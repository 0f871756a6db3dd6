"""`airboss up`: everything in one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airboss.cli.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_HOST,
    DataDirOption,
    HostOption,
    InsecureOption,
    JsonOption,
    LogFormatOption,
)
from airboss.cli.output import print_json
from airboss.cli.progress import bar, steps

if TYPE_CHECKING:
    from airboss.compose.up import Ready


def up(
    *,
    config: Annotated[
        Path, typer.Option(help="Configuration; a starter is written if there is no airboss.toml.")
    ] = Path("airboss.toml"),
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    host: HostOption = DEFAULT_HOST,
    port: Annotated[int, typer.Option(help="Port of the data plane.", min=0, max=65535)] = 8700,
    console_port: Annotated[
        int, typer.Option(help="Port of the console and admin API.", min=0, max=65535)
    ] = 8701,
    workers: Annotated[int, typer.Option(help="Gateway processes.", min=1, max=64)] = 1,
    join: Annotated[
        str | None,
        typer.Option(help="Serve calls beside the Airboss whose console is at this URL, with its ledger."),
    ] = None,
    insecure: InsecureOption = False,
    log_format: LogFormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start everything and serve until Ctrl-C or SIGTERM, which lets calls in flight finish."""
    from airboss.compose.process_limits import fit_limits  # noqa: PLC0415 - as the next one
    from airboss.compose.up import UpOptions, run_up  # noqa: PLC0415 - loads the ledger and asyncio

    fit_limits()
    options = UpOptions(
        config=config,
        data_dir=data_dir,
        host=host,
        port=port,
        console_port=console_port,
        workers=workers,
        insecure=insecure,
        log_format=log_format,
    )
    if join is not None:
        from airboss.cli.api import console_address  # noqa: PLC0415 - only who joins
        from airboss.compose.joining import run_joined  # noqa: PLC0415 - as above

        leader = console_address(join, flag="--join")
        run_joined(options, leader, announce=print_ready_json if as_json else print_joined)
        return
    run_up(
        options,
        announce=print_ready_json if as_json else print_ready,
        draw=bar if sys.stderr.isatty() and not as_json else steps,
    )


def print_ready_json(ready: Ready) -> None:
    """The one line that `up --json` prints on stdout."""
    print_json(
        {
            "event": "ready",
            "base_url": ready.base_url,
            "console_url": ready.console_url,
            "api_key": ready.api_key,
            "admin_key": ready.admin_key,
        }
    )


def print_joined(ready: Ready) -> None:
    """Where a machine that has joined serves."""
    sys.stdout.write(
        f"\nAirboss is ready in {ready.after_s:.1f} s.\n\n"
        f"  serves   {ready.base_url}\n"
        f"  beside   {ready.console_url}, whose keys and console are those of both\n\n"
    )
    sys.stdout.flush()


def print_ready(ready: Ready) -> None:
    """Where it serves, and what to paste into a shell."""
    api_key = ready.api_key or "(as preset in AIRBOSS_API_KEY)"
    admin_key = ready.admin_key or "(as preset in AIRBOSS_ADMIN_KEY)"
    sys.stdout.write(
        f"\nAirboss is ready in {ready.after_s:.1f} s.\n\n"
        f"  serves   {ready.base_url}\n"
        f"  console  {ready.console_url}   admin key: {admin_key}\n\n"
        f"Paste into the shell of your app:\n\n"
        f"export OPENAI_BASE_URL={ready.base_url}\n"
    )
    if ready.api_key is not None:
        sys.stdout.write(f"export OPENAI_API_KEY={api_key}\n\n")
    else:
        sys.stdout.write(f"# OPENAI_API_KEY {api_key}\n\n")
    sys.stdout.flush()
