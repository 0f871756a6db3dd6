"""A dataset from a table: CSV, or cells copied out of a spreadsheet. Its head names the columns.

    input,expected
    Is this spam?,yes

The columns are those of an item in JSON Lines, of which `input` must be there; `tags` has commas between
them, an empty cell says nothing. Commas, semicolons or tabs part the columns, whichever the head has most of.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from airboss.domain.errors import WrongCall

COLUMNS: Final = ("input", "expected", "id", "tags", "group", "user", "part")
DELIMITERS: Final = ("\t", ",", ";")


def as_lines(text: str, *, source: str) -> str:
    """The text as JSON Lines, as `read_items` takes them: itself, unless it is a table. Then each row stands
    on the line of its number, the head on an empty one. Raises WrongCall for a table that cannot be read;
    `source` is how messages call it."""
    text = text.removeprefix("\ufeff")
    if text.lstrip()[:1] in ("", "{", "["):
        return text
    return "\n".join(_lines(text.lstrip("\r\n"), source))


def _lines(text: str, source: str) -> Iterator[str]:
    first = text.splitlines()[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=first.count), strict=True)
    number = 1
    try:
        head = _head(next(rows), source)
        yield ""
        for number, cells in enumerate(rows, 2):
            row = _ended(cells)
            if len(row) > len(head):
                raise WrongCall(f"{source}, row {number}: {len(row)} cells, and the head has {len(head)}")
            given = {name: cell for name, cell in zip(head, row, strict=False) if cell.strip()}
            tags = [each.strip() for each in given.get("tags", "").split(",") if each.strip()]
            item: dict[str, object] = {**given, **({"tags": tags} if tags else {})}
            yield msgspec.json.encode(item).decode() if item else ""
    except csv.Error as error:
        raise WrongCall(
            f"{source}, row {number} or the next: {error}; write it as CSV or JSON Lines"
        ) from None


def _ended(cells: Sequence[str]) -> Sequence[str]:
    """Without the empty cells at its end, which spreadsheets like to have."""
    last = max((at for at, cell in enumerate(cells) if cell.strip()), default=-1)
    return cells[: last + 1]


def _head(cells: Sequence[str], source: str) -> tuple[str, ...]:
    """The columns that it names. Raises WrongCall for others."""
    head = tuple(cell.strip().lower() for cell in _ended(cells))
    for name in head:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COLUMNS)}"
            raise WrongCall(
                f"{source}: a table begins with the names of its columns; {name[:60]!r} is none; {hint}"
            )
    if "input" not in head or len(set(head)) < len(head):
        raise WrongCall(f"{source}: its head is {', '.join(head)[:200]}; name `input`, and no column twice")
    return head
