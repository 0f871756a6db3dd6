"""`airboss ledger`: where plans, keys, jobs and the audit log are kept."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, has_data
from airboss.cli.output import print_json
from airboss.cli.progress import counted
from airboss.domain.errors import WrongCall
from airboss.store.wording import many

if TYPE_CHECKING:
    from airboss.compose.moving import Moved

ledger = typer.Typer(help="Where plans, keys, jobs and the audit log are kept.", no_args_is_help=True)


@ledger.command("move")
def move(
    *,
    to: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="An empty database: env:NAME or file:/PATH of its URL, postgresql://USER@HOST/DATABASE or "
            "sqlite:////PATH.",
        ),
    ],
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: JsonOption = False,
) -> None:
    """Move the ledger of a stopped Airboss to another database, with all that it holds."""
    from airboss.compose.moving import move_ledger  # noqa: PLC0415 - other verbs do not need it

    if not has_data(data_dir):
        raise WrongCall(f"there is no Airboss data in {data_dir.absolute()}; name it with --data-dir.")
    with counted("rows written and read back") as tell:
        moved = move_ledger(data_dir, to, tell=tell)
    if as_json:
        print_json(
            {
                "from": moved.source,
                "to": moved.target,
                "setting": moved.setting,
                "rows": sum(each.rows for each in moved.tables.values()),
                "leaves": moved.leaves,
                "tables": {name: {"rows": t.rows, "sha256": t.sha256} for name, t in moved.tables.items()},
            }
        )
    else:
        sys.stdout.write(told(moved))


def told(moved: Moved) -> str:
    """What was done, and what there is to do now."""
    done = f"all was in {moved.target} already; the move that was broken off is done now"
    if moved.leaves is not None:
        rows = many(sum(each.rows for each in moved.tables.values()), "row")
        done = (
            f"moved {rows} to {moved.target}: every table has the same there, and the audit log of "
            f"{many(moved.leaves, 'leaf')} is valid"
        )
    change = "Take `ledger` out of [store] in airboss.toml."
    if moved.setting is not None:
        change = f"In airboss.toml:\n\n[store]\nledger = {json.dumps(moved.setting)}"
    return (
        f"{done}\n\n{change}\n\nThen `airboss up`, and `airboss apply airboss.toml`. Machines that join this "
        f"one need the same setting.\n\nThe old ledger, {moved.source}, is opened by no Airboss any more. "
        "Forgetting a person does not reach it: delete it once you trust the new one.\n"
    )
