"""Datasets from tables: CSV, and cells copied out of a spreadsheet."""

from __future__ import annotations

import io

import pytest

from airboss.domain.errors import WrongCall
from airboss.evaluations.datasets import Item, question
from airboss.evaluations.jsonl import read_items
from airboss.evaluations.table import as_lines


def items(text: str) -> list[Item]:
    """What a text becomes, in the order of its questions."""
    lines = io.BytesIO(as_lines(text, source="f.csv").encode())
    return sorted(read_items(lines, source="f.csv"), key=question)


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_rows_are_items(between: str) -> None:
    """Whichever parts the columns, with a mark before the head, quotes, line breaks and empty cells."""
    rows = [
        ["Input", "expected", "tags", "group", "id", ""],
        ['"Is ""A""\nspam?"', "yes", '"hard, new"', "g", "q1", ""],
        ["Tell", "", "", "", "", ""],
        ["", "", "", "", "", ""],
    ]
    is_a, tell = items("\ufeff" + "\r\n".join(between.join(each) for each in rows))
    assert question(is_a) == 'Is "A"\nspam?'
    assert (is_a.expected, is_a.tags, is_a.group, is_a.id) == ("yes", ("hard", "new"), "g", "q1")
    assert (question(tell), tell.expected, tell.tags) == ("Tell", None, ())


def test_json_lines_stay_as_they_are() -> None:
    """So does an array, of which the reader of lines says what is wrong."""
    for text in ('{"input": "a, b"}\n', '\ufeff\n {"input": "a"}', "[1]", ""):
        assert as_lines(text, source="f") == text.removeprefix("\ufeff")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inputs,expected\na,b", "'inputs' is none; did you mean 'input'?"),
        ("Is this spam?\nIs that?", "'is this spam?' is none; there are input, expected"),
        ("expected,id\na,b", "its head is expected, id; name `input`"),
        ("input,input\na,b", "no column twice"),
        ("input,expected\na,b\nc,d,e", "f.csv, row 3: 3 cells, and the head has 2"),
        ('input,expected\na,"b', "f.csv, row 1 or the next: unexpected end of data"),
        ("input,part\na,holdout\nb,test", "f.csv, line 3: part is 'test'"),
        ("input,expected\n,b", "f.csv, line 2: an item has either `input` or `messages`"),
    ],
)
def test_what_is_wrong_is_told_with_its_row(text: str, said: str) -> None:
    """Nothing is guessed, and the number is the spreadsheet's."""
    with pytest.raises(WrongCall) as caught:
        items(text)
    assert said in str(caught.value)
