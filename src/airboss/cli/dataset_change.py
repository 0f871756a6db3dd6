"""`airboss dataset expect` and `remove`: what is in a dataset, changed as a version more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from airboss.cli.api import place, reach
from airboss.cli.dataset_words import NameArgument, read_file, summary
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import print_json
from airboss.domain.errors import WrongCall
from airboss.store.wording import many


def expect(
    name: NameArgument,
    item: Annotated[str | None, typer.Argument(metavar="[ITEM]", help="An item, by its id.")] = None,
    *,
    expected: Annotated[str | None, typer.Option(help="The answer that it is to expect.")] = None,
    nothing: Annotated[bool, typer.Option("--nothing", help="It is to expect nothing.")] = False,
    file: Annotated[
        Path | None, typer.Option(help="JSON Lines or CSV with ids or questions, and expected; - is stdin.")
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Say what items of a dataset are to expect: one, or all that a file names."""
    body: dict[str, Any]
    if file is not None:
        if item is not None or expected is not None or nothing:
            raise WrongCall("give either ITEM with --expected or --nothing, or --file FILE")
        body = {"jsonl": read_file(file), "source": str(file)}
    else:
        if item is None or (expected is None) != nothing:
            raise WrongCall("give ITEM with either --expected TEXT or --nothing, or --file FILE")
        body = {"expected": {item: expected}}
    _change(name, body, as_json=as_json, data_dir=data_dir, url=url)


def remove(
    name: NameArgument,
    items: Annotated[list[str], typer.Argument(metavar="ITEM", help="Items, by their ids.")],
    *,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Take items out of a dataset; the version of before has them still."""
    _change(name, {"remove": items}, as_json=as_json, data_dir=data_dir, url=url)


def _change(name: str, body: dict[str, Any], *, as_json: bool, data_dir: Path, url: str | None) -> None:
    with reach(data_dir, url) as api:
        done = api.post(place("datasets", name, "/change"), body)
    if as_json:
        print_json(done)
        return
    words = [f"{many(done['removed'], 'item')} taken out"] if "remove" in body else []
    if "remove" not in body:
        words.append(f"{many(done['changed'], 'item')} changed")
    if done["same"]:
        words.append(f"{done['same']} as before")
    sys.stdout.write(f"{', '.join(words)}\n{summary(done['dataset'])}\n")
