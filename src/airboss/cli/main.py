"""The command `airboss`: every verb in one place, and one way to fail."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence

import typer
from typer.main import get_command_name

from airboss.cli.apply import apply
from airboss.cli.audit import audit
from airboss.cli.controller import controller
from airboss.cli.counters import counters
from airboss.cli.dataset import dataset
from airboss.cli.demo import demo
from airboss.cli.diff import diff
from airboss.cli.doctor import doctor
from airboss.cli.ending import told
from airboss.cli.erase import erase
from airboss.cli.eval import evals
from airboss.cli.export import export
from airboss.cli.finetune import finetune
from airboss.cli.gateway import gateway
from airboss.cli.job import job
from airboss.cli.keys import keys
from airboss.cli.monitor import monitor
from airboss.cli.node import node
from airboss.cli.output import print_error
from airboss.cli.policy import policy
from airboss.cli.prices import prices
from airboss.cli.probe import probe
from airboss.cli.records import records
from airboss.cli.records_dead import dead as dead_records
from airboss.cli.records_files import export as export_records
from airboss.cli.records_files import import_ as import_records
from airboss.cli.records_score import score as score_record
from airboss.cli.release import release
from airboss.cli.replica import replica
from airboss.cli.report import report
from airboss.cli.rollout import rollout
from airboss.cli.status import status
from airboss.cli.store import store
from airboss.cli.tune import tune
from airboss.cli.up import up
from airboss.cli.version import version
from airboss.cli.wording import Verbs
from airboss.domain.errors import WrongCall

app = typer.Typer(
    name="airboss",
    cls=Verbs,
    help="LLMOps in one command: deploy, monitor, maintain, scale and govern LLMs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

USE, CONFIGURE, ROLES = "Run and look", "Configuration", "Roles, one process each (`up` starts them all)"
QUALITY = "Quality: datasets, evaluations"
MAINTAIN = "Versions: compare, roll out, take back"
GOVERN = "Keys, people, proof"
app.command(rich_help_panel=USE)(up)
app.command(rich_help_panel=USE)(demo)
app.command(rich_help_panel=USE)(status)
records.command("export")(export_records)
records.command("import")(import_records)
records.command("score")(score_record)
records.command("dead")(dead_records)
app.add_typer(records, name="records", rich_help_panel=USE)
app.add_typer(monitor, name="monitor", rich_help_panel=USE)
app.add_typer(node, name="node", rich_help_panel=USE)
app.command(rich_help_panel=USE)(doctor)
app.command(rich_help_panel=USE)(version)
app.command(rich_help_panel=CONFIGURE)(apply)
app.command(rich_help_panel=CONFIGURE)(diff)
app.command(rich_help_panel=CONFIGURE)(export)
app.add_typer(prices, name="prices", rich_help_panel=CONFIGURE)
app.add_typer(release, name="release", rich_help_panel=MAINTAIN)
app.add_typer(rollout, name="rollout", rich_help_panel=MAINTAIN)
app.add_typer(dataset, name="dataset", rich_help_panel=QUALITY)
app.add_typer(evals, name="eval", rich_help_panel=QUALITY)
app.add_typer(probe, name="probe", rich_help_panel=QUALITY)
app.add_typer(tune, name="tune", rich_help_panel=QUALITY)
app.add_typer(finetune, name="finetune", rich_help_panel=QUALITY)
app.add_typer(job, name="job", rich_help_panel=QUALITY)
app.add_typer(policy, name="policy", rich_help_panel=GOVERN)
app.add_typer(keys, name="keys", rich_help_panel=GOVERN)
app.command(rich_help_panel=GOVERN)(erase)
app.add_typer(audit, name="audit", rich_help_panel=GOVERN)
app.command(rich_help_panel=GOVERN)(report)
app.command(rich_help_panel=ROLES)(gateway)
app.command(rich_help_panel=ROLES)(controller)
app.command(rich_help_panel=ROLES)(store)
app.command(rich_help_panel=ROLES)(counters)
app.add_typer(replica, name="replica", rich_help_panel=ROLES)


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
            code = only(*given[:1])(given, prog_name="airboss", standalone_mode=not as_json)
        except typer.TyperException as error:
            print_error(WrongCall(error.format_message()), as_json=True)
            sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def only(verb: str = "") -> typer.Typer:
    """The command with this verb alone, where there is such a one: typer prepares the options of all that it
    is given, which takes longer than most verbs."""
    one = copy.copy(app)
    one.registered_commands = [
        each
        for each in app.registered_commands
        if each.callback is not None and get_command_name(each.callback.__name__) == verb
    ]
    one.registered_groups = [each for each in app.registered_groups if each.name == verb]
    if not one.registered_commands + one.registered_groups:
        return app
    one.callback()(lambda: None)  # so that it has verbs, be it only one
    return one


if __name__ == "__main__":
    main()
