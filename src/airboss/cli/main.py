"""The command `airboss`: every verb in one place, and one way to fail."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from airboss.cli.apply import apply
from airboss.cli.controller import controller
from airboss.cli.diff import diff
from airboss.cli.doctor import doctor
from airboss.cli.export import export
from airboss.cli.gateway import gateway
from airboss.cli.output import print_error
from airboss.cli.records import records
from airboss.cli.replica import replica
from airboss.cli.status import status
from airboss.cli.store import store
from airboss.cli.up import up
from airboss.cli.version import version
from airboss.domain.errors import AirbossError, WrongCall

app = typer.Typer(
    name="airboss",
    help="LLMOps in one command: deploy, monitor, maintain, scale and govern LLMs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

USE, CONFIGURE, ROLES = "Run and look", "Configuration", "Roles, one process each (`up` starts them all)"
app.command(rich_help_panel=USE)(up)
app.command(rich_help_panel=USE)(status)
app.command(rich_help_panel=USE)(records)
app.command(rich_help_panel=USE)(doctor)
app.command(rich_help_panel=USE)(version)
app.command(rich_help_panel=CONFIGURE)(apply)
app.command(rich_help_panel=CONFIGURE)(diff)
app.command(rich_help_panel=CONFIGURE)(export)
app.command(rich_help_panel=ROLES)(gateway)
app.command(rich_help_panel=ROLES)(controller)
app.command(rich_help_panel=ROLES)(store)
app.add_typer(replica, name="replica", rich_help_panel=ROLES)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit: 0 done, 1 the answer is no, 2 called wrongly.

    People never see a trace of what we raise on purpose, nor of Ctrl-C or of a pipe that nobody reads any
    more: typer ends those two quietly.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        # On its own typer prints usage errors for people; with --json they are ours to print.
        code = app(given, prog_name="airboss", standalone_mode=not as_json)
    except typer.TyperException as error:
        print_error(WrongCall(error.format_message()), as_json=True)
        sys.exit(error.exit_code)
    except AirbossError as error:
        print_error(error, as_json=as_json)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
