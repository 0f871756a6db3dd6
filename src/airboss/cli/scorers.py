"""Scorers as they are written on a command line, made ready to be sent: files that they name are read here.

A Python file is never sent. Whoever owns the data directory may put it there, which is what this does; an
Airboss elsewhere runs only what stands in its own `scorers` folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from airboss.cli.files import unreadable
from airboss.domain.errors import WrongCall

NAMED = re.compile(r"(?:([A-Za-z][\w.-]{0,63})=)?(\w+):(.+)", re.DOTALL)
"""`NAME=KIND:ARGUMENT`, the name left out or not."""

FILE_BYTES_MAX = 1024 * 1024


def scorer_of(text: str, data_dir: Path | None) -> str | dict[str, Any]:
    """A scorer to send. `data_dir` is where Python files are put, None for an Airboss elsewhere. Raises
    WrongCall for a file that cannot be read."""
    if text.lstrip().startswith("{"):
        return _table(text, data_dir)
    found = NAMED.fullmatch(text)
    if found is None:
        return text
    name, kind, argument = found.groups()
    if kind == "json_schema":
        return _with_name({"kind": kind, "schema": _json(argument)}, name)
    if kind == "python":
        function = _placed(argument, data_dir)
        return _with_name({"kind": kind, "function": function}, name or argument.rpartition(":")[2])
    return text


def _table(text: str, data_dir: Path | None) -> dict[str, Any]:
    try:
        table = json.loads(text)
    except ValueError as error:
        raise WrongCall(f"the scorer {text[:80]!r} is no JSON table: {error}") from None
    if not isinstance(table, dict):
        raise WrongCall(f'the scorer {text[:80]!r} is no JSON table; write {{"kind": …}}')
    if table.get("kind") == "python" and isinstance(table.get("function"), str):
        table["function"] = _placed(table["function"], data_dir)
    return table


def _with_name(table: dict[str, Any], name: str | None) -> dict[str, Any]:
    return table if name is None else {**table, "name": name}


def _json(path: str) -> Any:
    try:
        return json.loads(_read(Path(path)))
    except ValueError as error:
        raise WrongCall(f"{path} is no JSON: {error}") from None


def _placed(function: str, data_dir: Path | None) -> str:
    """`FILE.py:NAME` with the file put into the data directory, under a name that follows from its content;
    one that is not here is taken to be there."""
    place, _, name = function.rpartition(":")
    path = Path(place)
    if data_dir is None or not place.endswith(".py") or not path.is_file():
        return function
    content = _read(path)
    target = data_dir / "scorers" / f"{path.stem}-{hashlib.sha256(content).hexdigest()[:12]}.py"
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.new")
        fresh.write_bytes(content)
        fresh.replace(target)
    except OSError as error:
        raise WrongCall(f"{path} cannot be put into {target.parent}: {error.strerror}") from None
    return f"{target.name}:{name}"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    if len(content) > FILE_BYTES_MAX:
        raise WrongCall(f"{path} has more than {FILE_BYTES_MAX} bytes")
    return content
