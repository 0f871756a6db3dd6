"""`airboss eval items`: an evaluation's answers one by one, as a table, JSON or a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from airboss.cli.api import Api, place, reach
from airboss.cli.files import form_of, write_table
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import clipped, console, escape, print_each, print_nothing, table_of

SHOWN: Final = 100
"""Answers in a table for people."""
CHARS: Final = 40
NOTHING: Final = "no answers are there: none yet, or none any more; `airboss eval show ID` says how far it is"


def items(
    eval_id: Annotated[str, typer.Argument(metavar="ID", help="The evaluation, as `eval list` names it.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Write a .csv or .parquet file.")] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Show the answers of an evaluation one by one, with their scores."""
    with reach(data_dir, url) as api:
        path = f"{place('evals', eval_id)}/items"
        if out is not None:
            content = api.get_file(path, {"format": form_of(out)})
            write_table(out, content, as_json=as_json)
        elif as_json:
            if not print_each(_pages(api, path)):
                print_nothing(NOTHING)
        else:
            _show(api.get(path, {"limit": str(SHOWN // 2)}))


def _pages(api: Api, path: str) -> Iterator[dict[str, Any]]:
    after: dict[str, str] = {}
    while True:
        found = api.get(path, after)
        yield from found["answers"]
        if found["next"] is None:
            return
        after = {"after": found["next"]}


def _show(found: dict[str, Any]) -> None:
    if not found["answers"]:
        print_nothing(NOTHING)
        return
    out = console()
    names = sorted({name for each in found["answers"] for name in (*each["scores"], *each["unscored"])})
    table = table_of("item", "side", "expected", "answer", *map(escape, names))
    for each in found["answers"]:
        texts = (each["item"], each["side"].upper(), each["expected"], each["error"] or each["answer"])
        table.add_row(
            *(escape(clipped(" ".join((text or "-").split()), CHARS)) for text in texts),
            *(escape(_mark(each, name)) for name in names),
        )
    out.print(table)
    if found["next"] is not None:
        out.print("there are more: --json and --out give all of them", style="dim", markup=False)


def _mark(answer: dict[str, Any], name: str) -> str:
    value = answer["scores"].get(name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "unscored" if name in answer["unscored"] else "-"
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
