"""`airboss diff`: what applying a configuration would change."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from airboss.cli.api import reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import plain, print_json
from airboss.domain.errors import WrongCall

VALUES_MAX = 100
"""Characters of two values that stand on one line."""


def diff(
    file: Annotated[Path, typer.Argument(help="The configuration, as airboss.toml.")],
    *,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what applying a configuration would change, and change nothing."""
    text = read_config(file)
    with reach(data_dir, url) as api:
        found = api.post("/api/v1/config/diff", {"config": text, "source": str(file)})
    if as_json:
        print_json(found)
        return
    show_changes(found)


def read_config(file: Path) -> str:
    """The text of a configuration file, with the content of the prompt and example files that it names.

    Raises WrongCall if there is no such file, ConfigError as `config.files.read_config`.
    """
    from airboss.config.files import read_config as read  # noqa: PLC0415 - tomllib, where it is needed

    try:
        return read(file)
    except OSError as error:
        reason = error.strerror or error
        raise WrongCall(
            f"{file} cannot be read: {reason}. Name the configuration, as airboss.toml."
        ) from None


def show_changes(found: dict[str, Any]) -> None:
    """Each change on its line: `+` new, `-` gone, `~` another value; of what is long the lines, or
    entries, that differ. Warnings go to stderr."""
    for warning in found["warnings"]:
        sys.stderr.write(f"airboss: {warning}\n")
    for each in found.get("found", ()):
        show_found(each)
    for each in found["changes"]:
        if "found" in found and each["path"].endswith(".models_found"):
            continue  # told above
        before, after = (plain(json.dumps(each[side], ensure_ascii=False)) for side in ("before", "after"))
        if each["kind"] == "added":
            sys.stdout.write(f"+ {each['path']} = {after}\n")
        elif each["kind"] == "removed":
            sys.stdout.write(f"- {each['path']} = {before}\n")
        elif len(before) + len(after) > VALUES_MAX and _lines(each["before"]) != _lines(each["after"]):
            _show_long(each)
        else:
            sys.stdout.write(f"~ {each['path']}: {before} -> {after}\n")
    if not found["changes"]:
        sys.stdout.write("no difference\n")


def _show_long(change: dict[str, Any]) -> None:
    """A text that has changed by its lines, or a list by its entries, with one on each side that has not."""
    from difflib import unified_diff  # noqa: PLC0415 - of what is short none is made

    sys.stdout.write(f"~ {change['path']}:\n")
    old, new = (_lines(change[side]) for side in ("before", "after"))
    for line in list(unified_diff(old, new, n=1, lineterm=""))[3:]:
        sys.stdout.write("    ...\n" if line.startswith("@@") else f"    {line[0]} {plain(line[1:])}\n")


def _lines(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    entries = value if isinstance(value, list) else [value]
    return [json.dumps(each, ensure_ascii=False) for each in entries]


def show_found(found: dict[str, Any]) -> None:
    """What a provider with `models = "*"` lists: `+` what is new, `-` what is gone."""
    many = len(found["models"])
    sys.stdout.write(f"providers.{found['provider']} lists {many} {'model' if many == 1 else 'models'}\n")
    for sign, names in (("+", found["added"]), ("-", found["removed"])):
        for name in names:
            sys.stdout.write(f"{sign} {name}\n")
