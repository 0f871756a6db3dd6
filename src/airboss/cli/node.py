"""`airboss node`: machines that have joined."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from airboss.cli.api import place, reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import console, escape, print_each, print_json, print_nothing, size, table_of
from airboss.cli.status import age
from airboss.domain.errors import WrongCall

node = typer.Typer(help="Machines that serve calls beside this one.", no_args_is_help=True)


@node.command("list")
def list_nodes(
    *, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """List the machines that have joined, and how far what they record has come."""
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/nodes")["nodes"]
    if not found:
        print_nothing("no machine has joined; `airboss up --join URL` on another one does")
        return
    if as_json:
        print_each(found)
        return
    names = ("machine", "serves", "gateways", "heard", "all here until", "waits there")
    table = table_of(*names)
    for each in found:
        here = [f"{age(each['heard_at'])} ago", f"{age(each['clear_at'])} ago", size(each["unsent_bytes"])]
        table.add_row(escape(each["name"]), escape(each["base_url"]), str(each["workers"]), *here)
    console().print(table)


@node.command("forget")
def forget_node(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The machine, as `node list` names it.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: what it has not brought is given up.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give up a machine that is gone for good, with what it recorded and did not bring."""
    if not yes:
        raise WrongCall(f"what {name} has not brought is given up, and it cannot join again; say --yes")
    with reach(data_dir, url) as api:
        found = api.post(place("nodes", name, "/forget"), {})
    if as_json:
        print_json(found)
        return
    sys.stdout.write(f"{found['name']} is forgotten\n")
