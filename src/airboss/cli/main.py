"""The command `airboss`: every verb in one place, and one way to fail."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import typer

from airboss.cli.ending import leave, told
from airboss.cli.output import print_error
from airboss.cli.wording import Verbs
from airboss.domain.errors import WrongCall

VERBS = {
    "Run and look": ("up", "demo", "status", "records", "monitor", "node", "ledger", "doctor", "version"),
    "Configuration": ("apply", "diff", "export", "approvals", "prices"),
    "Versions: compare, roll out, take back": ("release", "rollout"),
    "Quality: datasets, evaluations": ("dataset", "eval", "probe", "tune", "finetune", "job"),
    "Keys, people, proof": ("policy", "keys", "erase", "audit", "report"),
    "Roles, one process each (`up` starts them all)": (
        *("gateway", "controller", "store", "counters", "replica"),
    ),
}
"""All verbs, by their headings in the help. Each is what has its name in the module of its name."""


class InOrder(Verbs):
    """The verbs as `VERBS` has them: else those with verbs of their own come last, and headings with them."""

    def list_commands(self, _ctx: Any) -> list[str]:
        """As the base class."""
        return [name for names in VERBS.values() for name in names if name in self.commands]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit: 0 done, 1 the answer is no or it failed, 2 something must be changed first.

    People never see a trace of what we raise on purpose, nor of Ctrl-C or of a pipe that nobody reads any
    more: typer ends those two quietly.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["--version"]:  # as of any other command
        given[0] = "version"
    as_json = "--json" in given
    with told(as_json=as_json):
        try:
            # On its own typer prints usage errors for people; with --json they are ours to print.
            code = command(*given[:1])(given, prog_name="airboss", standalone_mode=not as_json)
        except typer.TyperException as error:
            print_error(WrongCall(error.format_message()), as_json=True)
            sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def command(verb: str = "") -> typer.Typer:
    """`airboss` with this verb alone, where there is such a one, else with all: to load and prepare them all
    takes longer than most verbs do."""
    every = [name for names in VERBS.values() for name in names]
    chosen = [verb] if verb in every else every
    made = typer.Typer(
        name="airboss",
        cls=InOrder,
        help="LLMOps in one command: deploy, monitor, maintain, scale and govern LLMs.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        # What installs it comes before any verb; even where it is not given, it loads pydantic.
        add_completion=chosen is every,
    )
    made.callback()(lambda: None)  # so that it has verbs, be it only one
    for heading, names in VERBS.items():
        for name in names:
            if name in chosen:
                found = getattr(import_module(f"airboss.cli.{name}"), name)
                if isinstance(found, typer.Typer):
                    made.add_typer(found, name=name, rich_help_panel=heading)
                else:
                    made.command(name, rich_help_panel=heading)(found)
    return made


def process() -> NoReturn:
    """`main` as all that this process does."""
    leave(main)


if __name__ == "__main__":
    process()
