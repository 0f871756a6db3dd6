"""The canonical form and the digest, value by value."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airboss.domain.errors import WrongCall
from airboss.releases.digest import MAX_DEPTH, canonical, digest


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-7, "-7"),
        (2**70, "1180591620717411303424"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e22, "1e+22"),
        (5e-324, "5e-324"),
        (Decimal("0.20"), "2e-1d"),
        (Decimal("0.2"), "2e-1d"),
        (Decimal(-1200), "-12e2d"),
        (Decimal("1.2E3"), "12e2d"),
        (Decimal("-0.00"), "0e0d"),
        (Decimal("123456789012345678901234567890.123456789"), "123456789012345678901234567890123456789e-9d"),
        (Decimal("1E+999999"), "1e999999d"),
        ("", '""'),
        ('a"b\\c\n\x00', '"a\\"b\\\\c\\n\\u0000"'),
        ("é€😀", '"é€😀"'),
        ([], "[]"),
        ((1, [2]), "[1,[2]]"),
        ({}, "{}"),
        ({"b": 1, "a": {"é": 2, "z": 3}}, '{"a":{"z":3,"é":2},"b":1}'),
    ],
)
def test_each_kind_of_value_has_one_form(value: object, form: str) -> None:
    """The form is the one that the module's docstring tells."""
    assert canonical(value) == form.encode()


def test_values_that_travel_differently_are_told_apart() -> None:
    """1, 1.0, True, Decimal 1 and "1" are five values; so are the two ways to write é."""
    alike = [1, 1.0, True, Decimal(1), "1", [1], {"1": 1}]
    assert len({canonical(value) for value in alike}) == len(alike)
    assert canonical("\u00e9") != canonical("e\u0301")


def test_lone_surrogates_have_a_form_of_their_own() -> None:
    """Two halves of a pair are not the character that they would make together."""
    halves = "\ud83d" + "\ude00"
    assert canonical(halves) != canonical("\U0001f600")
    assert canonical("\ud83d") != canonical("\ude00")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")])
def test_numbers_that_json_lacks_are_refused(value: object) -> None:
    """NaN and infinities have no form."""
    with pytest.raises(ValueError, match="no JSON number"):
        canonical([value])


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), {1: 2}, {None: 1}])
def test_what_is_not_json_is_refused(value: object) -> None:
    """Other kinds of value and keys have no form."""
    with pytest.raises(TypeError, match=r"canonical form|no str"):
        canonical({"a": [value]})


def test_depth_is_bounded() -> None:
    """A value nested too deeply is refused, not a crash."""
    value: object = 1
    for _ in range(MAX_DEPTH // 2):
        value = [{"a": value}]
    assert canonical(value).startswith(b'[{"a":[{')
    with pytest.raises(WrongCall, match="nested deeper"):
        canonical([value])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        ([None, True, 1, 1.5, "é"], "711737279730741b35f9e7b67923f7224b6c158c3c8e7c33a225be848781c3ba"),
        (
            {"params": {"temperature": 0.2, "max_tokens": 300}, "model": {"name": "m"}},
            "6a2645ad5cc5de980a3acc046efc064149e871aaa8584dad682a55abf54579b0",
        ),
    ],
)
def test_digests_never_change(value: object, expected: str) -> None:
    """These digests are in ledgers and in responses' headers: a change of the form would orphan them."""
    assert digest(value) == expected
