"""What is said where there are too few units for an interval."""

from __future__ import annotations

import pytest

from airboss.evaluations.datasets import Input, Item
from airboss.evaluations.few import UNGROUPED, Few, Unit, counted, lines, unit_of

ASKED = Input(messages=({"role": "user", "content": "hi"},))


def item(name: str, group: str | None, user: str | None) -> Item:
    """One that counts with its group."""
    return Item(id=name, input=ASKED, group=group, user=user)


@pytest.mark.parametrize(
    ("given", "unit"),
    [
        ([(None, None), (None, "ann")], "item"),
        ([("ann", "ann"), ("bob", "bob")], "user"),
        ([("s1", "ann"), ("s2", "ann")], "group"),
        ([("ann", "ann"), (None, None)], "group"),
    ],
)
def test_what_counts_once(given: list[tuple[str | None, str | None]], unit: Unit) -> None:
    """A user where all items are grouped by theirs, an item where none is grouped, and else a group."""
    assert unit_of(item(str(at), *each) for at, each in enumerate(given)) == unit


def test_how_many_there_are() -> None:
    """Items beside units, where those are not the same."""
    assert [counted(60, 60), counted(1, 6), counted(1, 1)] == ["60", "1 (6 items)", "1"]


def test_scorers_of_the_same_numbers_share_a_line() -> None:
    """Another number is another line; a single item is of no group worth naming."""
    found = [Few(scorer=name, scored=scored, units=1) for name, scored in (("a", 6), ("b", 6), ("c", 1))]
    assert lines(found, what="item", unit="user", alone=True) == [
        f"a, b: 6 items of 1 user; an interval takes at least 2 users{UNGROUPED}",
        "c: 1 item; an interval takes at least 2",
    ]
