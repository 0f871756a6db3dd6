"""Datasets from JSON Lines."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest

from airboss.domain.errors import WrongCall
from airboss.evaluations import jsonl
from airboss.evaluations.datasets import Dataset, dataset, input_digest
from airboss.evaluations.jsonl import read_items


def read(text: str | bytes) -> Dataset:
    """The dataset in a file of this content."""
    data = text.encode() if isinstance(text, str) else text
    return dataset("n", read_items(io.BytesIO(data), source="f.jsonl"))


def test_every_form_of_input() -> None:
    """A text, a list of messages, and an object are all inputs; ids are given, or follow from the input."""
    made = read(
        '{"input": "Hi", "expected": "Hello", "tags": ["b", "a", "b"]}\n'
        "\n"
        '{"id": 7, "input": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}\n'
        '{"id": "v", "input": {"variables": {"x": "y"}}, "group": 3, "part": "train"}'
    )
    by_id = {item.id: item for item in made.items}
    hi = next(item for item in made.items if item.expected == "Hello")
    assert hi.input.messages == ({"role": "user", "content": "Hi"},)
    assert hi.id == input_digest(hi.input)[:16]
    assert hi.tags == ("a", "b")
    assert len(by_id["7"].input.messages) == 2
    assert by_id["v"].input.variables == {"x": "y"}
    assert (by_id["v"].group, by_id["v"].part) == ("3", "train")


def test_a_line_for_fine_tuning_is_an_item() -> None:
    """OpenAI's form: the answer that it ends with is expected, what trains a model alone is left out."""
    asked = '{"role": "system", "content": "s"}, {"role": "user", "content": "u"}'
    answer = '{"role": "assistant", "content": "a", "weight": 1}'
    tool = '{"type": "function", "function": {"name": "f", "parameters": {}}}'
    call = '{"function": {"name": "f", "arguments": "{}"}}'
    made = read(
        f'{{"messages": [{asked}, {answer}]}}\n'
        f'{{"id": "t", "messages": [{asked}], "tools": [{tool}], "expected": "b", '
        '"parallel_tool_calls": false}\n'
        f'{{"id": "c", "messages": [{asked}, {{"role": "assistant", "tool_calls": [{call}]}}]}}\n'
        f'{{"id": "w", "messages": [{asked}, {answer}, {{"role": "user", "content": "v"}}]}}'
    )
    by_id = {item.id: item for item in made.items}
    trained = next(item for item in made.items if item.expected == "a")
    assert [each["role"] for each in trained.input.messages] == ["system", "user"]
    assert trained.id == input_digest(trained.input)[:16]
    assert by_id["t"].expected == "b"
    assert by_id["t"].input.params["tools"][0]["function"]["name"] == "f"
    assert by_id["t"].input.params["parallel_tool_calls"] is False
    assert by_id["w"].expected is None
    assert by_id["c"].expected == {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
    assert by_id["w"].input.messages[2] == {"role": "assistant", "content": "a"}


def test_a_byte_order_mark_is_no_fault() -> None:
    """Files from some editors begin with one."""
    assert len(read(b'\xef\xbb\xbf{"input": "x"}\r\n').items) == 1


DEEP = "[" * 400 + "]" * 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"input": "a"}\n{"input": ', "line 2: .*truncated"),
        ('{"input": "a"}\n\n{"expected": 1}', "line 3: .*input"),
        ('{"input": "a", "expcted": 1}', "line 1: .*expcted.*did you mean `expected`"),
        ('{"input": {"messages": [], "variabels": {}}}', "did you mean `variables`"),
        ('{"input": {}}', "neither messages nor variables"),
        ('{"input": [{"role": "bot", "content": "x"}]}', "message 0 has the role 'bot'"),
        ('{"input": "a", "part": "test"}', "part is 'test'"),
        ('{"id": "x", "input": "a"}\n{"id": "x", "input": "b"}', "line 2: .*'x'.* in line 1"),
        ('{"input": "a"}\n{"input": "a"}', "line 2: .*there already"),
        ('{"input": "a", "messages": [{"role": "user", "content": "a"}]}', "either `input` or `messages`"),
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "neither messages nor variables"),
        ('{"variables": {"x": "y"}}', "`variables`; a line has input, .* may have messages, variables,"),
        ('["input"]', "line 1: .*object"),
        ('{"input": 3}', "line 1"),
        (f'{{"input": [{{"role": "user", "content": {DEEP}}}]}}', "line 1: nested deeper than 250"),
        (f'{{"id": "x", "input": [{{"role": "user", "content": {DEEP}}}]}}', "nested deeper than 250"),
        (f'{{"input": [{{"role": "user", "content": {"[" * 200_000}}}]}}', "line 1: "),
        ("", "0 items"),
    ],
)
def test_faults_name_their_line(text: str, said: str) -> None:
    """A complaint gives the file, the line and what is wrong with it."""
    with pytest.raises(WrongCall, match=said):
        read(text)


def test_bytes_that_are_no_text_are_refused() -> None:
    """So is what is no UTF-8."""
    with pytest.raises(WrongCall, match="line 1"):
        read(b'{"input": "\xff\xfe"}')


def test_lines_and_items_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that never ends is not read whole, and a file that never ends is left at the bound."""
    monkeypatch.setattr(jsonl, "LINE_BYTES_MAX", 100)
    with pytest.raises(WrongCall, match="line 2: longer than 100"):
        read('{"input": "a"}\n{"input": "' + "b" * 200 + '"}')
    monkeypatch.setattr(jsonl, "ITEMS_MAX", 2)
    with pytest.raises(WrongCall, match="line 3: more than 2"):
        read('{"input": "a"}\n{"input": "b"}\n{"input": "c"}\n{"input": "d"}')


def test_an_items_user_keeps_it_in_one_part() -> None:
    """Their items are a group of their own unless another is given; the user is kept, for erasure."""
    made = read('{"input": "a", "user": "ann"}\n{"input": "b", "user": "ann", "group": "g"}\n{"input": "c"}')
    assert sorted((item.user, item.group) for item in made.items if item.user) == [
        ("ann", "ann"),
        ("ann", "g"),
    ]
    assert [item.group for item in made.items if item.user is None] == [None]


def test_the_example_is_a_dataset() -> None:
    """examples/reviews.jsonl has sixty items, half of each kind."""
    path = Path(__file__).parent.parent.parent / "examples" / "reviews.jsonl"
    made = read(path.read_text())
    assert Counter(item.expected for item in made.items) == {"positive": 30, "negative": 30}
