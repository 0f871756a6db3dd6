"""`airboss.toml` read into a `Config`: the only reader of the file, and it takes nothing it does not know."""

from __future__ import annotations

import re
import tomllib
import types
from collections.abc import Callable, Iterable
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from airboss.config.checks import check
from airboss.config.listed import check_listed, with_listed
from airboss.config.locate import errors_in
from airboss.config.meant import meant
from airboss.config.spreads import check_spreads, with_spreads
from airboss.config.types import Config
from airboss.config.wording import BARE_KEY, NONE, Path, Wrong, dotted, nearest, quoted, seen
from airboss.domain.errors import ConfigError

T = TypeVar("T")

MAX_CONFIG_BYTES = 1024 * 1024
"""No configuration is longer; a longer file is some other file."""

_TOML_LINE = re.compile(r"\s*\(at line (\d+), column (\d+)\)")


def parse_config(text: str, *, source: str) -> Config:
    """Read and check a whole configuration. `source` names it in messages, usually the file's path.

    Raises ConfigError for the first thing that is wrong: what was seen, where (file and line), what is
    expected and, for a name, the nearest valid one. A value of an `api_key` is never repeated.
    """
    found = read_toml(text, Config, _checked, source=source, noun="a configuration")
    return with_spreads(with_listed(found))


def read_unchecked(text: str, *, source: str) -> Config:
    """What a configuration says, in its shape, whether or not it can be: names that it uses may not be there
    yet (`config.found`). Raises ConfigError, as `parse_config`."""
    return read_toml(text, Config, lambda _config, _wrong: None, source=source, noun="a configuration")


def _checked(config: Config, wrong: Wrong) -> None:
    check_listed(config, wrong)
    listed = with_listed(config)
    check_spreads(listed, wrong)
    check(with_spreads(listed), wrong)


def read_toml(text: str, kind: type[T], checked: Callable[[T, Wrong], None], *, source: str, noun: str) -> T:
    """A whole TOML file, called `noun` to people, as a `kind` that `checked` has nothing against. Raises
    ConfigError, as `parse_config`."""
    length = len(text.encode("utf-8", "surrogatepass"))
    if length > MAX_CONFIG_BYTES:
        raise ConfigError(
            f"{source}: {length:,} bytes, with the files it names, and {noun} has at most "
            f"{MAX_CONFIG_BYTES:,}; is this the right file?"
        )
    text = text.replace("\r\n", "\n")
    try:
        # Decimal keeps a price as it was written; a float would be rounded before we see it.
        raw = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_LINE.search(str(error))
        where, column = (f"{source}:{place[1]}", f" (column {place[2]})") if place else (source, "")
        raise ConfigError(f"{where}: this is not TOML: {_TOML_LINE.sub('', str(error))}{column}") from None
    except RecursionError:
        raise ConfigError(f"{source}: this is nested too deeply to be {noun}") from None
    wrong = errors_in(text, source=source)
    found: T = _read(raw, kind, (), wrong)
    checked(found, wrong)
    return found


def _read(value: object, kind: Any, path: Path, wrong: Wrong) -> Any:
    """`value` as `kind`, built from the top down so that every error knows its own path."""
    if get_origin(kind) in (Union, types.UnionType):  # TOML has no null: `X | None` is X where it is written
        options = [option for option in get_args(kind) if option is not type(None)]
        kind = options[0] if len(options) == 1 else kind
        if isinstance(value, list):
            kind = next((option for option in options if get_origin(option) is tuple), kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _read_struct(value, kind, path, wrong)
    if get_origin(kind) is dict:
        entry = get_args(kind)[1]
        table = _table(value, kind, path, wrong)
        return {name: _read(item, entry, (*path, name), wrong) for name, item in table.items()}
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            of = " of texts in quotes" if get_args(kind)[0] is str else ""
            raise wrong(path, f"{dotted(path)} is {_seen(value, path)}; expected a list{of}")
        entry = get_args(kind)[0]
        return tuple(_read(item, entry, (*path, f"[{at}]"), wrong) for at, item in enumerate(value))
    return _read_leaf(value, kind, path, wrong)


def _read_struct(value: object, kind: type[msgspec.Struct], path: Path, wrong: Wrong) -> msgspec.Struct:
    table = _table(value, kind, path, wrong)
    fields, hints = _shape(kind)
    for key in table:
        if key not in fields:
            inside = f"[{dotted(path)}]" if path else "the file"
            hint = _elsewhere(key, fields, path) or nearest(key, fields)
            raise wrong((*path, key), f"{quoted(key)} is not a key of {inside}; {hint}")
    given = {
        fields[key].name: _read(item, hints[fields[key].name], (*path, key), wrong)
        for key, item in table.items()
    }
    for name, field in fields.items():
        if field.required and name not in table:
            beside = ", ".join(f"{each.encode_name} = …" for each in fields.values() if each.required)
            raise wrong(path, f'[{dotted(path)}] lacks "{name}"; it needs {beside}')
    return kind(**given)


def _elsewhere(key: str, fields: Iterable[str], path: Path) -> str:
    """Which tables have a key that stands in one with only `fields`; "" if none has. A name that is hardly
    another's is offered, too."""
    if not 1 <= len(path) <= 2 or path[0] not in _shape(Config)[0]:  # within a table, or of another file
        return ""
    tables = []
    for name, kind in _shape(Config)[1].items():
        named = get_origin(kind) is dict
        entry = get_args(kind)[1] if named else kind
        if isinstance(entry, type) and issubclass(entry, msgspec.Struct) and key in _shape(entry)[0]:
            tables.append(f"[{name}.NAME]" if named else f"[{name}]")
    near = nearest(key, get_close_matches(key, fields, cutoff=0.8)) if tables else ""
    return f"it is one of {', '.join(tables)}{f'; or {near}' if near != NONE else ''}" if tables else ""


@lru_cache
def _shape(kind: type[msgspec.Struct]) -> tuple[dict[str, msgspec.structs.FieldInfo], dict[str, Any]]:
    """The fields of a kind, by their keys, and their types, by name. To find them takes longer than to read a
    table, and a list of prices has dozens of one kind."""
    # `encode_name` is the key as it is written, where Python keeps the word (`for`) to itself.
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    return fields, get_type_hints(kind)


def _table(value: object, kind: Any, path: Path, wrong: Wrong) -> dict[str, object]:
    if isinstance(value, dict):
        return value

    def reads(table: object) -> bool:
        try:
            _read(table, kind, path, lambda _, message: ConfigError(message))
        except ConfigError:
            return False
        return True

    said = f"{dotted(path)} is {_seen(value, path)}; expected a table, as in [{dotted(path)}]"
    hint = meant(path[-1], value, kind, reads) if BARE_KEY.fullmatch(path[-1]) else None
    raise wrong(path, f"{said}: {hint}" if hint is not None else said)


def _read_leaf(value: object, kind: Any, path: Path, wrong: Wrong) -> Any:
    if get_origin(kind) is Literal:
        return _read_choice(value, get_args(kind), path, wrong)
    if kind in (float, Decimal):
        number = isinstance(value, int | Decimal) and not isinstance(value, bool)
        if not number or not Decimal(str(value)).is_finite():
            raise wrong(path, f"{dotted(path)} is {_seen(value, path)}; expected a number")
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError:
        named: dict[object, str] = {str: "text in quotes", int: "a whole number", bool: "true or false"}
        lists = any(get_origin(option) is tuple for option in get_args(kind))
        expected = named.get(kind, f"text in quotes, or a {'list' if lists else 'table'}")
        raise wrong(path, f"{dotted(path)} is {_seen(value, path)}; expected {expected}") from None


def _read_choice(value: object, choices: tuple[str, ...], path: Path, wrong: Wrong) -> str:
    if isinstance(value, str) and value in choices:
        return value
    offered = " | ".join(choices)
    close = isinstance(value, str) and get_close_matches(value, choices, n=1, cutoff=0.5)
    hint = f"; {nearest(close[0], close)}" if close else ""  # without one all are said already
    raise wrong(path, f"{dotted(path)} is {_seen(value, path)}; expected {offered}{hint}")


def _seen(value: object, path: Path) -> str:
    """A value for a message, short, and never what may be a secret."""
    names = {dict: "a table", list: "a list", str: "a text", bool: "true or false", int: "a number"}
    return names.get(type(value), "another kind of value") if path[-1:] == ("api_key",) else seen(value)
