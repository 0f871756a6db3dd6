"""`airboss apply`: put a configuration into force."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from airboss.cli.api import reach
from airboss.cli.diff import read_config, show_changes
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import print_json


def apply(
    file: Annotated[Path, typer.Argument(help="The configuration, as airboss.toml.")],
    *,
    reason: Annotated[str | None, typer.Option(help="Why; the audit log keeps it.")] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a configuration whole, show what it changes, and serve from it."""
    text = read_config(file)
    with reach(data_dir, url) as api:
        given = {"config": text, "source": str(file)}
        done = api.post("/api/v1/config", given if reason is None else {**given, "reason": reason})
    if as_json:
        print_json(done)
        return
    show_changes(done)
    sys.stdout.write(f"applied as plan {done['plan']}\n")
    for each in done["deployments"]:
        if each.get("coming") is not None:
            sys.stdout.write(f"{each['name']}: {each['coming'][:12]} takes over once its engine is ready\n")
        if each["candidate"] is not None:
            candidate = f"{each['name']}: {each['candidate'][:12]} is a candidate"
            start = f"`airboss rollout start {each['name']}`"
            sys.stdout.write(f"{candidate}, which no caller gets before {start}\n")
