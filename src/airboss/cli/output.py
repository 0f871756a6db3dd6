"""How verbs print: JSON for machines, tables for people, errors in words."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airboss.domain.errors import AirbossError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Rows = list[dict[str, Any]]
"""What an API lists."""

PIPED_WIDTH = 300
"""Columns where nobody says how wide the output is: a table in a file should not lose its columns."""


FOLDED_WIDTH = 24
"""Columns that a name may take before numbers are left out for it."""


def print_json(value: Any) -> None:
    """One JSON object on one line of stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str) + "\n")
    sys.stdout.flush()


def say(lines: Iterable[str]) -> None:
    """Say on stderr what is to be known beside what was done, a line each; with --json too."""
    for line in lines:
        sys.stderr.write(f"airboss: {line}\n")


def print_nothing(words: str) -> None:
    """Say on stderr that there is nothing, with --json too: stdout has what there is, and nothing else."""
    sys.stderr.write(f"airboss: {words}\n")


def print_each(found: Iterable[Any], write: Callable[[Any], None] = print_json) -> bool:
    """Write each as it comes; whether there was one."""
    some = False
    for each in found:
        some = True
        write(each)
    return some


def print_list(found: Rows, show: Callable[[Rows], None], *, none: str, as_json: bool) -> None:
    """A list, as JSON or as `show` does; where nothing is in it, `none` says so."""
    if not found:
        print_nothing(none)
    elif as_json:
        print_each(found)
    else:
        show(found)


def plain(text: str) -> str:
    """What somebody else wrote, for a terminal: nothing in it hides or moves what stands around it."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def clipped(text: str, chars: int) -> str:
    """A text as short as a table needs it. It shows that it is cut: half a digest is no whole one."""
    return text if len(text) <= chars else f"{text[: chars - 1]}…"


def escape(text: str) -> str:
    """A text to print as it stands: nothing in it is markup."""
    from rich import markup  # noqa: PLC0415 - as in `console`

    return markup.escape(text)


def console() -> Console:
    """Where tables go."""
    from airboss.cli.narrow import WholeConsole  # noqa: PLC0415 - 40 ms that JSON output need not pay

    # Names of models have colons (`ft:up:…`), of which rich would make pictures.
    return WholeConsole(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False, emoji=False)


def table_of(*columns: str, left: Collection[str] | None = None) -> Table:
    """A table without lines, of these columns, for its rows to be added; numbers, which stand to the right,
    are in all but those in `left`."""
    from rich.table import Column, Table  # noqa: PLC0415 - as in `console`

    made = (Column(name, justify="left" if left is None or name in left else "right") for name in columns)
    return Table(*made, box=None, padding=(0, 2, 0, 0))


def fitting(
    columns: Mapping[str, Sequence[str]], width: int, *, least: Sequence[str], folded: Collection[str] = ()
) -> list[str]:
    """The names of the columns that are shown whole in `width`, two blanks apart; `folded` ones take lines.

    Where there is no room for all, those in `least` go, the first of it first: half of an id or of a number
    is of no use to anybody, and a column that has shrunk to nothing is not seen to be missing.
    """
    from rich.cells import cell_len  # noqa: PLC0415 - as in `console`

    room = {name: 2 + max(map(cell_len, (name, *cells))) for name, cells in columns.items()}
    room |= {name: min(room[name], 2 + FOLDED_WIDTH) for name in folded}
    for name in least:
        if sum(room.values()) <= width:
            break
        room.pop(name, None)
    return list(room)


def left_out(columns: Iterable[str], kept: Collection[str]) -> str | None:
    """What to say below a table of the columns that are not in it; None where all are."""
    gone = [name for name in columns if name not in kept]
    return (
        f"no room here for {', '.join(gone)}: a wider terminal, a pipe or --json has them" if gone else None
    )


def print_error(error: AirbossError, *, as_json: bool) -> None:
    """An error on stderr, in words or as `{"error": {"message", "type", "code", "param"}}`."""
    if as_json:
        inside = {"message": str(error), "type": error.type}
        body = {"error": inside | {"code": error.code, "param": error.param}}
        sys.stderr.write(json.dumps(body, ensure_ascii=False) + "\n")
    else:
        sys.stderr.write(f"airboss: {error}\n")


def local_time(moment: str) -> str:
    """A time in this machine's zone, to the second, as every table has it."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"


def short_time(moment: str) -> str:
    """The same where room is short: the time of a day that is today, else the day and the minute."""
    then = datetime.fromisoformat(moment).astimezone()
    return f"{then:%H:%M:%S}" if then.date() == datetime.now().astimezone().date() else f"{then:%m-%d %H:%M}"


def said(value: object) -> str:
    """A value in a table: a text as it is, what is more than a word as JSON has it, not as Python would."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def dash(value: object) -> str:
    """A value for a table; what was not measured is a dash, not a zero."""
    return "-" if value is None else str(value)


def amount(alarm: Mapping[str, Any], value: float | None) -> str:
    """A number of an alarm with its unit, to what a person reads of it."""
    from airboss.store.alert_metrics import worded  # noqa: PLC0415 - msgspec, which JSON output does without

    return "-" if value is None else worded(alarm["kind"], alarm["metric"], value)


def milliseconds(value: float | None) -> str:
    """A time in the unit that reads best."""
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"


def usd(value: object) -> str:
    """Money with as many decimals as a single call needs, of a cheap one two digits that count; a dash where
    the price is unknown."""
    if value is None:
        return "-"
    amount = float(str(value))
    if amount == 0 or amount >= 1:
        return f"${amount:,.2f}" if amount else "$0"
    decimals = max(6, 1 - math.floor(math.log10(amount)))
    return f"${amount:.{decimals}f}".rstrip("0").rstrip(".")


def size(value: int) -> str:
    """A number of bytes in the unit that reads best."""
    amount = float(value)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
