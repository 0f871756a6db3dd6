"""Every verb in one place, by typer."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.main import get_command

from airboss.cli.output import print_error
from airboss.cli.wording import Verbs
from airboss.domain.errors import WrongCall

VERBS = {
    "Run and look": ("up", "demo", "status", "records", "monitor", "node", "ledger", "doctor", "version"),
    "Configuration": ("apply", "diff", "export", "approvals", "prices"),
    "Versions: compare, roll out, take back": ("release", "rollout"),
    "Quality: datasets, evaluations": ("dataset", "eval", "scoring", "probe", "tune", "finetune", "job"),
    "Keys, people, proof": ("policy", "keys", "erase", "audit", "report"),
    "Roles, one process each (`up` starts them all)": (
        *("gateway", "controller", "store", "counters", "replica"),
    ),
}
"""All verbs, by their headings in the help. Each is what has its name in the module of its name."""

FRAMED_WIDTH = 80
"""Columns from which the options of a verb are told in a frame."""


class InOrder(Verbs):
    """The verbs as `VERBS` has them: else those with verbs of their own come last, and headings with them."""

    def list_commands(self, _ctx: Any) -> list[str]:
        """As the base class."""
        return [name for names in VERBS.values() for name in names if name in self.commands]


def run(given: Sequence[str], *, as_json: bool) -> int:
    """Run one verb; returns its exit code, or exits with it. Raises what the verb does; a call that is wrong
    is told here."""
    try:
        # On its own typer prints usage errors for people; with --json they are ours to print.
        verb = get_command(command(*given[:1]))
        if typer.get_terminal_size().columns < FRAMED_WIDTH:
            unframe(verb)
        code = verb(given, prog_name="airboss", standalone_mode=not as_json)
    except typer.TyperException as error:
        print_error(WrongCall(error.format_message()), as_json=True)
        return error.exit_code
    return code if isinstance(code, int) else 0


def unframe(verb: Any) -> None:
    """Have help tell what it and its own verbs take without frames: these take room, and what has none left,
    of an option, a default or a word, ends in an ellipsis. A list of verbs is whole in its frame alone."""
    own = vars(verb).get("commands", {})
    if not own or verb.invoke_without_command:
        verb.rich_markup_mode = None
    for each in own.values():
        unframe(each)


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
