"""Tables where there is little room: every value whole, over several lines if need be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

GAP = 2
"""Blanks between columns."""

WORD = 12
"""Columns of a word that may be broken: where not even so much of each has room, a table is hard to read."""


class WholeConsole(Console):
    """Prints tables so that nothing of them is cut: rich would end what has no room in an ellipsis, or make
    its column vanish, and half of an id is of no use to anybody."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As the base class."""
        for each in objects:
            if isinstance(each, Table) and crowded(self, each):
                super().print(*_between(stacked(each)), **options)
                return
            if isinstance(each, Table):
                fit(self, each)
        super().print(*objects, **options)


def crowded(console: Console, table: Table) -> bool:
    """Whether a table has so many columns that most of their words would be broken."""
    words = [_longest_word(console, column.header, column.cells) for column in table.columns]
    return sum(min(each, WORD) + GAP for each in words) > console.width


def stacked(table: Table) -> Iterator[Table]:
    """Each row of a table by itself, a line a column; what is empty is left out."""
    names = [column.header for column in table.columns]
    for row in zip(*(column.cells for column in table.columns), strict=True):
        made = Table(box=None, padding=(0, GAP, 0, 0), show_header=False)
        made.add_column(no_wrap=True, style="bold")
        made.add_column(overflow="fold")
        for name, cell in zip(names, row, strict=True):
            if cell != "":
                made.add_row(name, cell)
        yield made


def _between(rows: Iterable[Table]) -> Iterator[Any]:
    """Rows with an empty line after each but the last."""
    for number, row in enumerate(rows):
        if number:
            yield ""
        yield row


def fit(console: Console, table: Table) -> None:
    """Have cells take lines where a table is wider than the console, broken between words if possible."""
    if _natural(console, table) <= console.width:
        return
    natural = [_room(console, column.header, column.cells).maximum for column in table.columns]
    widths = [_longest_word(console, column.header, column.cells) for column in table.columns]
    room = console.width - GAP * len(widths)
    while sum(widths) > max(room, len(widths)):
        widths[widths.index(max(widths))] -= 1  # the longest words are broken, and no others
    while sum(widths) < room and widths != natural:
        # The one with the least of what it wants is next.
        at = min(range(len(widths)), key=lambda at: widths[at] / natural[at])
        widths[at] += 1
    for column, width in zip(table.columns, widths, strict=True):
        column.no_wrap = False
        column.overflow = "fold"
        column.width = width


def without(table: Table, console: Console, least: Sequence[str]) -> list[str]:
    """Take columns out of a table, the first of `least` first, until the longest word of each of the others
    has room; returns those that are gone."""
    gone: list[str] = []
    for name in least:
        words = [_longest_word(console, column.header, column.cells) for column in table.columns]
        if sum(words) + GAP * len(words) <= console.width:
            break
        table.columns = [each for each in table.columns if each.header != name]
        for at, each in enumerate(table.columns):
            each._index = at
        gone.append(name)
    return gone


def _longest_word(console: Console, header: Any, cells: Iterable[Any]) -> int:
    return _room(console, header, cells).minimum


def _room(console: Console, header: Any, cells: Iterable[Any]) -> Measurement:
    """How wide the longest word of a column is, and its longest cell; 1 at least."""
    options = console.options.update(width=10_000)
    found = [Measurement.get(console, options, each) for each in (header, *cells)]
    return Measurement(max(1, *(each.minimum for each in found)), max(1, *(each.maximum for each in found)))


def _natural(console: Console, table: Table) -> int:
    return Measurement.get(console, console.options.update(width=10_000), table).maximum
