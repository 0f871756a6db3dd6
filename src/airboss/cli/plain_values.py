"""Plain values of options, read without pydantic, which typer loads for any: that takes as long as all else
of a verb's start."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from typer import core

NUMBERS: Final[dict[Any, re.Pattern[str]]] = {
    int: re.compile("[0-9]{1,15}"),
    float: re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?"),
}
NOT_PLAIN: Final = object()


class Reader:
    """Reads the values of one option; what is not plain is left to typer, which has the words for what is
    wrong."""

    def __init__(self, typers: Callable[[], Any]) -> None:
        self._typers = typers

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """As typer's `RuntimeParam.coerce`."""
        try:
            found = plain(value, param)
        except (
            AttributeError
        ):  # what an option takes is no part of typer's interface: it may be told otherwise
            found = NOT_PLAIN
        return self._typers().coerce(value, param=param, ctx=ctx) if found is NOT_PLAIN else found


def read_plainly() -> None:
    """Have options read so from now on, where typer is one that we know."""
    kind: Any = getattr(core, "_TyperParameter", None)
    own = getattr(kind, "get_runtime_param", None)
    if own is None or own.__module__ == __name__:
        return

    def get_runtime_param(self: Any) -> Reader:
        return Reader(lambda: own(self))

    kind.get_runtime_param = get_runtime_param


def plain(value: Any, param: Any) -> Any:
    """The value that an option has, or NOT_PLAIN."""
    kind, info = param.type_descriptor.annotation, param.type_descriptor.parameter_info
    several = param.multiple or param.nargs == -1
    if value is None:
        return () if several else None
    if info.parser is not None or param.nargs not in {1, -1}:
        return NOT_PLAIN
    if several:
        each_is_text = kind == list[str] and isinstance(value, list | tuple)
        return list(value) if each_is_text and all(type(each) is str for each in value) else NOT_PLAIN
    if kind in NUMBERS:
        return _number(value, kind, info)
    if kind is Path:
        return _path(value, info)
    return value if kind is str and type(value) is str else NOT_PLAIN


def _number(value: Any, kind: type[int | float], info: Any) -> Any:
    if type(value) is str and NUMBERS[kind].fullmatch(value):
        value = kind(value)
    if type(value) is not kind:
        return NOT_PLAIN
    over = (info.min is not None and value < info.min) or (info.max is not None and value > info.max)
    return NOT_PLAIN if over else value


def _path(value: Any, info: Any) -> Any:
    asked = info.exists or info.writable or info.resolve_path or info.allow_dash or info.path_type is not None
    plain_kind = isinstance(value, str | Path) and "\0" not in str(value)
    if asked or not (info.file_okay and info.dir_okay) or not plain_kind:
        return NOT_PLAIN
    path = Path(value)
    return path if not info.readable or not path.exists() or os.access(path, os.R_OK) else NOT_PLAIN
