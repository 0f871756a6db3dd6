"""Prompt and example files put into the configuration's text: what is applied stands alone.

An applied configuration is read by processes in other folders, on other machines and long after, so it never
names a file of the operator's; only who applies it reads those.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, MutableMapping
from pathlib import PurePath
from typing import Any

import msgspec

from airboss.config.locate import errors_in
from airboss.config.wording import dotted, quoted
from airboss.domain.errors import ConfigError

PROMPT_FILE = re.compile(r"[^\s{}]+\.(md|txt|prompt|jinja2?|j2)")
"""A prompt that looks so is a file's name: no prompt is one word with such an ending."""

ReadFile = Callable[[str], str]
"""The text of a file named in the configuration, relative to it. Raises OSError or UnicodeDecodeError."""


def inlined(text: str, *, source: str, read: ReadFile, in_place: bool = False) -> str:
    """The configuration with the content of the files that its releases name; unchanged where they name none.

    A `prompt` that ends with .md, .txt, .prompt, .j2 or the like is a file; so is `examples` that is a text:
    a JSONL file of `{"input": …, "output": …}`. Comments and order stay, and with `in_place` every line stays
    where it was, however long that makes one. Raises ConfigError for a file that
    cannot be read or is no such JSONL, naming the line. Text that is not TOML is returned as it is: parsing
    it says what is wrong.
    """
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    releases = raw.get("releases")
    if not isinstance(releases, dict) or not any(map(_names_files, releases.values())):
        return text
    import tomlkit  # noqa: PLC0415 - 30 ms that files without such names need not cost

    document = tomlkit.parse(text)
    tables: Any = document["releases"]
    for name, release in releases.items():
        if not isinstance(release, dict):
            continue
        table: MutableMapping[str, Any] = tables[name]
        prompt, examples = release.get("prompt"), release.get("examples")
        if isinstance(prompt, str) and PROMPT_FILE.fullmatch(prompt):
            content = _read(prompt, read, source, text, ("releases", name, "prompt"))
            table["prompt"] = tomlkit.string(
                content.strip("\n"), multiline=not in_place and "\n" in content.strip("\n")
            )
        if isinstance(examples, str):
            where = ("releases", name, "examples")
            rows = tomlkit.array()
            for row in _examples(_read(examples, read, source, text, where), f"{examples}"):
                table_row = tomlkit.inline_table()
                table_row.update(row)
                rows.append(table_row)
            table["examples"] = rows.multiline(multiline=not in_place)
    return tomlkit.dumps(document)


def _names_files(release: object) -> bool:
    if not isinstance(release, dict):
        return False
    prompt = release.get("prompt")
    named = isinstance(prompt, str) and PROMPT_FILE.fullmatch(prompt) is not None
    return named or isinstance(release.get("examples"), str)


def _read(name: str, read: ReadFile, source: str, text: str, path: tuple[str, ...]) -> str:
    try:
        return read(name)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise errors_in(text, source=source)(
            path,
            f"{dotted(path)} names the file {quoted(name)}, which cannot be read: {reason}; paths are "
            f"relative to {quoted(str(PurePath(source).parent))}",
        ) from None


def _examples(text: str, file: str) -> list[dict[str, str]]:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append(msgspec.json.decode(line, type=dict[str, str]))
        except msgspec.DecodeError as error:
            raise ConfigError(f'{file}:{number}: expected {{"input": "…", "output": "…"}}: {error}') from None
        if rows[-1].keys() != {"input", "output"}:
            raise ConfigError(
                f'{file}:{number}: has {sorted(rows[-1])}; expected {{"input": "…", "output": "…"}}'
            )
    return rows
