"""`airboss approvals`: changes that wait for somebody else."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from airboss.cli.api import place, reach
from airboss.cli.diff import show_changes
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import console, escape, plain, print_each, print_json, print_nothing, table_of
from airboss.cli.status import age, until

approvals = typer.Typer(help="Changes that wait for somebody else to approve them.", no_args_is_help=True)

NumberArgument = Annotated[str, typer.Argument(metavar="NUMBER", help="Which, as `approvals list` says.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; the audit log keeps it.")]


@approvals.command("list")
def list_approvals(
    *,
    every: Annotated[bool, typer.Option("--all", help="Those decided, too.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what waits, the newest first."""
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/approvals", {} if every else {"state": "waiting"})["approvals"]
    if not found:
        print_nothing("nothing was ever to be approved" if every else "nothing waits for approval")
        return
    if as_json:
        print_each(found)
        return
    table = table_of("number", "what", "of", "by", "since", "state", "lapses", "why")
    for each in found:
        who = [each["action"], escape(each["subject"]), escape(each["by"]), f"{age(each['at'])} ago"]
        lapses = until(each["lapses_at"])
        table.add_row(str(each["number"]), *who, each["state"], lapses, escape(plain(each["reason"])))
    console().print(table)


@approvals.command("show")
def show_approval(
    number: NumberArgument,
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one: what it asks for, and what it would change now."""
    with reach(data_dir, url) as api:
        found = api.get(place("approvals", number))
    if as_json:
        print_json(found)
        return
    about = found["approval"]
    sys.stdout.write(
        f"{about['number']}: {about['action']} of {about['subject']}, by {about['by']}, {about['state']}\n"
    )
    if about["lapses_at"] is not None:
        sys.stdout.write(f"lapses: {until(about['lapses_at'])}, if nobody decides\n")
    if about["reason"]:
        sys.stdout.write(f"why: {plain(about['reason'])}\n")
    if found["problem"] is not None:
        sys.stdout.write(f"it cannot be applied any more: {plain(found['problem'])}\n")
    elif about["action"] == "config.apply" and about["state"] == "waiting":
        show_changes({"changes": found["changes"], "warnings": []})
    elif about["action"] != "config.apply":
        sys.stdout.write(f"{found['asks'].get('rollout') or found['asks'].get('release')}\n")


@approvals.command("approve")
def approve_it(
    number: NumberArgument,
    *,
    reason: ReasonOption = "",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve what somebody else has asked for: it is made at once."""
    with reach(data_dir, url) as api:
        told(api.post(place("approvals", number, "/approve"), {"reason": reason}), as_json=as_json)


@approvals.command("reject")
def reject_it(
    number: NumberArgument,
    *,
    reason: ReasonOption = "",
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reject it, or take back what you have asked for yourself."""
    with reach(data_dir, url) as api:
        told(api.post(place("approvals", number, "/reject"), {"reason": reason}), as_json=as_json)


def told(found: dict[str, Any], *, as_json: bool) -> None:
    """Say what was decided."""
    if as_json:
        print_json(found)
        return
    sys.stdout.write(f"{found['number']}: {found['action']} of {found['subject']} is {found['state']}\n")
