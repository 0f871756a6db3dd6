"""Answers of an odd shape, read as far as they can be: one odd member must not cost a whole answer. Pure."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, NoReturn, TypeVar, cast, get_args, get_origin

import msgspec

from airboss.domain.errors import UpstreamFailed
from airboss.providers.cut import beginning

T = TypeVar("T")
_ESCAPED = re.compile(rb"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)")
"""A backslash, a pair, or half of one."""
CALLS_MAX = 128
"""Tool calls of one answer that are put together; pieces of further ones are left out."""
NAME_CHARS_MAX = 1024
"""Of the name of a tool call."""


def decoded(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """What `decoder`, of a Struct, reads in `data`; where a member has another shape than it should, the
    rest, and halves of characters as U+FFFD. Raises msgspec.DecodeError for what is no JSON or has no shape
    at all, RecursionError and UnicodeDecodeError."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        return cast("T", readable(any_json(without_halves(data)), decoder.type))
    except msgspec.DecodeError:
        mended = without_halves(data)
        if mended == data:
            raise
        return decoded(decoder, mended)


def answered(decoder: msgspec.json.Decoder[T], data: bytes, odd: str) -> T:
    """As `decoded`, of what an upstream answers. Raises UpstreamFailed, which calls `odd` what cannot be."""
    try:
        return decoded(decoder, data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise not_answered(data, odd) from None


def not_answered(data: bytes, odd: str) -> UpstreamFailed:
    """What is to be raised for an answer that is `odd`."""
    return UpstreamFailed(f"the upstream's answer is {odd}; it begins {beginning(data, 80)!r}")


def any_json(data: bytes) -> Any:
    """The value of a JSON text; a number that no float holds is infinite, which is no count of anything.
    Raises msgspec.DecodeError, RecursionError and UnicodeDecodeError."""
    try:
        return msgspec.json.decode(data)
    except msgspec.ValidationError:
        pass
    try:
        return json.loads(data, parse_int=_int, parse_constant=_no_json)
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from None


def without_halves(text: bytes) -> bytes:
    """A JSON text without halves of characters (of UTF-16's pairs), which are none: U+FFFD instead."""
    return _ESCAPED.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)


def is_json(data: bytes) -> bool:
    """Whether all of it is one JSON text."""
    try:
        any_json(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return True


def as_error(data: bytes) -> bytes:
    """The data of an event that is named an error as an object that has one: as it is, or what it says in
    that place."""
    try:
        value = any_json(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        value = data.decode("utf-8", "replace")
    if isinstance(value, dict) and value.get("error"):
        return data
    if isinstance(value, dict):
        value = {name: each for name, each in value.items() if (name, each) != ("type", "error")}
    return msgspec.json.encode({"type": "error", "error": value if isinstance(value, dict) else str(value)})


class CallNumbers:
    """Tells the tool calls of a stream apart, by number. Each piece is to be told once, in order."""

    def __init__(self) -> None:
        self._ids: dict[int, object] = {}
        self._names: dict[int, str] = {}
        self._begun: set[int] = set()
        """The calls whose arguments have."""
        self._last = -1
        self._at: dict[int, int] = {}
        """The call that is at each `index` now."""

    def of(self, index: object, id_: object, name: object, arguments: object) -> int | None:
        """The call that a piece is of; None where it is one more than CALLS_MAX. Where its server says no
        `index`: the one with its id; a new one where it has a name or another id; else the last."""
        if isinstance(index, int):
            number = self._at.get(index, index if index not in self._ids else self._last + 1)
            known = self._ids.get(number)
            if name and ((id_ and known and id_ != known) or self._is_another(number, name)):
                # Some servers give every call the same index. Others give every piece of one another id, but
                # the first alone has the name.
                number = self._last + 1
        elif id_:
            number = next((known for known, each in reversed(self._ids.items()) if each == id_), -1)
            if number < 0 or self._is_another(number, name):
                number = self._last + 1
        else:
            number = self._last + 1 if name or self._last < 0 else self._last
        self._last = max(self._last, number)
        kept = number in self._ids or len(self._ids) < CALLS_MAX
        if isinstance(index, int) and (kept or index in self._at):
            self._at[index] = number
        if not kept:
            return None  # what follows it is not of the call before it: it is the last all the same
        self._ids[number] = self._ids.get(number) or id_
        self._name(number, name)
        if arguments is not None and arguments != "":
            self._begun.add(number)
        return number

    def _name(self, number: int, more: object) -> None:
        before = self._names.setdefault(number, "")
        # Some servers cut names too; others send the whole name with every piece.
        if isinstance(more, str) and more != before:
            self._names[number] = before + more[: NAME_CHARS_MAX - len(before)]

    def name(self, number: int) -> str:
        """The name of a call, as far as it has come."""
        return self._names[number]

    def _is_another(self, number: int, name: object) -> bool:
        """Whether a name is not that of a call: once its arguments come, no more comes of one that it has."""
        if not isinstance(name, str) or not name or number not in self._begun:
            return False
        return self._names[number] not in {"", name}


class Pieces:
    """A text that is put together: added to a string, a hundred thousand pieces would be copied as often. An
    encoder's `enc_hook` is `str`."""

    __slots__ = ("pieces",)

    def __init__(self, *pieces: str) -> None:
        self.pieces = list(pieces)

    def __str__(self) -> str:
        return "".join(self.pieces)


def arguments_of(value: object) -> str:
    """The arguments of a tool call as the text that they should be: some servers send the object itself."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def unnumbered(piece: dict[str, Any]) -> dict[str, Any]:
    """A piece of a list without its `index`, which only a stream has."""
    return {name: value for name, value in piece.items() if name != "index"} if "index" in piece else piece


def whole_number(value: Any) -> Any:
    """`value`, a whole number where it is one that is written as a fraction (3.0)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _int(digits: str) -> int | float:
    return int(digits) if len(digits) < 100 else float(digits)


def _no_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def readable(value: object, kind: Any) -> Any:
    """`value` as a Struct of `kind`, without the members that cannot be read. Raises msgspec.ValidationError
    where `value` is no object, or lacks what `kind` needs."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        if not isinstance(value, dict):
            raise
    read = {}
    for field in _fields(kind):
        if field.encode_name in value:
            part = _part(value[field.encode_name], field.type)
            if part is not msgspec.UNSET:
                read[field.name] = part
    try:
        return kind(**read)
    except TypeError as error:
        raise msgspec.ValidationError(str(error)) from None


_fields = lru_cache(maxsize=256)(msgspec.structs.fields)
"""Which reads the annotations of a class anew each time."""


def _part(value: Any, kind: Any) -> Any:
    """A member, or UNSET."""
    if kind is msgspec.Raw:
        return msgspec.Raw(msgspec.json.encode(value))
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        pass
    if isinstance(value, float) and value.is_integer():
        return _part(int(value), kind)
    if isinstance(value, list):
        inner = next((get_args(each)[0] for each in _choices(kind) if get_origin(each) is list), None)
        if inner is not None:
            parts = [_part(each, inner) for each in value]
            return [each for each in parts if each is not msgspec.UNSET]
    if isinstance(value, dict):
        for each in _choices(kind):
            if isinstance(each, type) and issubclass(each, msgspec.Struct):
                try:
                    return readable(value, each)
                except msgspec.ValidationError:
                    continue
    return msgspec.UNSET


def _choices(kind: Any) -> tuple[Any, ...]:
    """What a type may be, where it is a union."""
    return (kind,) if get_origin(kind) in {list, dict, None} else get_args(kind)
