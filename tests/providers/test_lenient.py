"""Odd answers are read as far as they can be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.providers.lenient import decoded, readable


class Inner(msgspec.Struct):
    """A part."""

    name: str
    size: int = 0


class Outer(msgspec.Struct, rename="camel"):
    """An answer."""

    main_part: Inner | None = None
    parts: list[Inner] | None = None
    text: str = ""
    anything: Any = None


def test_what_is_odd_is_left_out() -> None:
    """One member of another shape costs itself, and a part that lacks what it needs costs that part."""
    odd = {
        "mainPart": {"name": "a", "size": "big"},
        "parts": [{"name": "b"}, {"size": 1}, 7, {"name": "c", "size": None}],
        "text": ["x"],
        "anything": {"x": 1},
        "unknown": 1,
    }
    assert readable(odd, Outer) == Outer(
        main_part=Inner("a"), parts=[Inner("b"), Inner("c")], anything={"x": 1}
    )
    assert readable({"mainPart": {"size": 1}}, Outer) == Outer()
    with pytest.raises(msgspec.ValidationError):
        readable({"size": 1}, Inner)
    with pytest.raises(msgspec.ValidationError):
        readable([], Outer)


shapes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["mainPart", "parts", "text", "name", "size"]), inner, max_size=4)
    ),
)


@given(st.dictionaries(st.sampled_from(["mainPart", "parts", "text"]), shapes))
def test_every_object_is_an_answer(value: dict[str, Any]) -> None:
    """Where nothing is needed nothing is refused, and what is as it should be is read as it is."""
    read = decoded(msgspec.json.Decoder(Outer), msgspec.json.encode(value))
    assert isinstance(read, Outer)
    if isinstance(value.get("text"), str):
        assert read.text == value["text"]
