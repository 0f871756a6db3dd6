"""Changing one member of a JSON object leaves every other byte alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.gateway.splice import (
    DEPTH_MAX,
    LONG,
    insert_member,
    join_members,
    member_spans,
    members,
    repeated_member,
    replace_model,
    too_deep,
)

VALUES = ["1", '" "', "[1, 2]", '{"a": 1, "a": 2}', "null", '"x,  y"']
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(), json_values, max_size=6),
    st.text(),
    st.booleans(),
    st.sampled_from([None, 0, 3]),
)
def test_model_replaced_and_nothing_else(
    members: dict[str, Any], model: str, ascii_only: bool, indent: int | None
) -> None:
    """Whatever stands beside it and however it is spelt, only the value of `model` changes."""
    body = members | {"model": model}
    text = json.dumps(body, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    changed = replace_model(text, b'"upstream \\"x\\""')
    assert json.loads(changed.decode("utf-8", "surrogatepass")) == body | {"model": 'upstream "x"'}


@given(
    st.permutations(["model", "padding", "é", 'q"', "n"]),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,", ":  ")]),
    st.booleans(),
    json_values,
)
def test_model_replaced_in_a_long_text(
    names: list[str], separators: tuple[str, str], ascii_only: bool, value: Any
) -> None:
    """The same where the text is long and is not scanned: in any order, written in any way."""
    body = dict.fromkeys(names, value) | {"padding": "x" * LONG, "model": "a", "n": {"model": "b"}}
    text = json.dumps(body, ensure_ascii=ascii_only, separators=separators).encode("utf-8", "surrogatepass")
    changed = replace_model(text, b'"upstream"')
    assert json.loads(changed.decode("utf-8", "surrogatepass")) == body | {"model": "upstream"}
    assert len(changed) == len(text) + len("upstream") - len("a")


@pytest.mark.parametrize("pad", [0, LONG])
@pytest.mark.parametrize(("depth", "deep"), [(DEPTH_MAX, False), (DEPTH_MAX + 1, True)])
def test_depth_is_bounded_whatever_the_length(pad: int, depth: int, deep: bool) -> None:
    """A text that nests one level too deep is found out, short or long; brackets in texts do not count."""
    inner = "[" * (depth - 1) + "]" * (depth - 1)
    text = f'{{"x":{inner},"pad":"{"x" * pad}","brackets":"{"[{" * DEPTH_MAX}"}}'
    assert too_deep(text.encode()) is deep


tricky = st.text(st.sampled_from('[]{}\\"\n/éu'), max_size=12)


@given(st.lists(tricky, max_size=6), tricky, st.integers(195, 203), st.sampled_from([0, LONG]), st.booleans())
def test_depth_is_that_of_the_structure(
    texts: list[str], name: str, depth: int, pad: int, ascii_only: bool
) -> None:
    """Whatever is quoted, be it a bracket, a quote or a backslash, says nothing of depth."""
    value: Any = [texts, "[" * DEPTH_MAX + "x" * pad]
    for level in range(depth - 2):
        value = [*texts[:1], value] if level % 2 else {name: value}
    text = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":")).encode()
    assert too_deep(text) is (depth > DEPTH_MAX)


@given(st.dictionaries(st.text(st.characters(exclude_characters='\\"')), json_values, max_size=6))
def test_spans_hold_the_values(members: dict[str, Any]) -> None:
    """Each member's span is exactly its value."""
    text = json.dumps(members, ensure_ascii=False, indent=2).encode("utf-8", "surrogatepass")
    spans = member_spans(text)
    for name, value in members.items():
        written = json.dumps(name, ensure_ascii=False).encode("utf-8", "surrogatepass")
        start, end = spans[written][-1]
        assert json.loads(text[start:end].decode("utf-8", "surrogatepass")) == value


@pytest.mark.parametrize(
    ("text", "models"),
    [
        (b'{"model":"a","model":"b"}', [b'"z"', b'"z"']),
        (b'{"mod\\u0065l":"a","x":{"model":"a"}}', [b'"z"', b'"a"']),
        (b'{"x":"\\"model\\":1","model":"a"}', [b'"z"']),
        (b'{"x":["model"],"model" :\n "a"}', [b'"z"']),
    ],
)
def test_no_reader_can_take_another_model(text: bytes, models: list[bytes]) -> None:
    """A name written twice or with escapes is replaced everywhere at the top, and nowhere below."""
    changed = replace_model(text, b'"z"')
    found = [changed[s:e] for name, spans in member_spans(changed).items() for s, e in spans if b"od" in name]
    assert changed.count(b'"z"') == models.count(b'"z"')
    assert all(value in models for value in found)


def test_insert_member_keeps_the_rest() -> None:
    """A new member goes first; the object still has all others."""
    assert insert_member(b' { "a": 1}', b'"b":2') == b' {"b":2, "a": 1}'


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=6))
def test_members_come_apart_and_together(values: dict[str, Any]) -> None:
    """An object taken apart and joined again says the same, each value as it was written."""
    text = json.dumps(values, indent=1).encode()
    apart = members(text)
    assert {name: json.loads(value) for name, value in apart.items()} == values
    assert members(join_members(apart)) == apart


NAMES = ["a", "bb", "c c", "é", "n"]


@pytest.mark.parametrize("pad", [0, LONG])
@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(["a", "bb", "c c", "é", "n"]), st.sampled_from(VALUES)), max_size=6
    ),
    comma=st.sampled_from(["", " ", "  ", "\n", "\t "]),
    colon=st.sampled_from(["", " ", "   "]),
)
def test_a_member_sent_twice_is_found(pad: int, pairs: list[tuple[str, str]], comma: str, colon: str) -> None:
    """However the object is spaced and long, and whatever stands in its values; what was sent once is let
    be."""
    pairs = [("pad", f'"{"x" * pad}"'), *pairs]
    text = "{" + f",{comma}".join(f'"{name}":{colon}{value}' for name, value in pairs) + "}"
    names = [name for name, _ in pairs]
    twice = {name for name in names if names.count(name) > 1}
    found = repeated_member(text.encode())
    assert found in twice if twice else found is None
