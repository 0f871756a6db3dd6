"""Facts about the canonical form that hold for all values."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airboss.releases.digest import canonical

texts = st.text(st.characters(codec=None), max_size=6)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, -1])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
)


def told_apart(value: Any) -> Any:
    """A value that equals another's exactly if the two should have one form; written another way than the
    form is: pairs of type and value, sets for tables.
    """
    if isinstance(value, list):
        return ("list", tuple(told_apart(item) for item in value))
    if isinstance(value, dict):
        return ("dict", frozenset((key, told_apart(item)) for key, item in value.items()))
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, Decimal):
        return ("Decimal", value)
    return (type(value).__name__, value)


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same value, its tables written in another order."""
    if isinstance(value, list):
        return [shuffled(item, chance) for item in value]
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return value


@given(values, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: Any, chance: random.Random) -> None:
    """Tables that hold the same have one form."""
    assert canonical(shuffled(value, chance)) == canonical(value)


@given(values, values)
def test_one_form_means_one_value(one: Any, other: Any) -> None:
    """Two values have the same form exactly if they are equal and of equal types."""
    assert (canonical(one) == canonical(other)) == (told_apart(one) == told_apart(other))


@given(st.lists(scalars, max_size=4), st.lists(scalars, max_size=4))
def test_neighbours_do_not_run_together(one: list[Any], other: list[Any]) -> None:
    """Moving the border between two lists changes the form."""
    whole = one + other
    assert (canonical([one, other]) == canonical([whole, []])) == (other == [])


@given(texts, texts)
def test_a_text_is_not_what_it_quotes(key: str, text: str) -> None:
    """A text that holds the form of a table is another value than the table."""
    table = {key: text}
    assert canonical(canonical(table).decode("utf-8", "surrogatepass")) != canonical(table)
