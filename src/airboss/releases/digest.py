r"""The canonical form of a value and its digest.

The form covers what travels to a model, and a model may tell `1` from `1.0` and a composed from a decomposed
"é". So nothing is normalised but what cannot travel, the order of a table's keys:

- None, True and False are `null`, `true` and `false`. True is not 1.
- An int is its decimal digits. A float is Python's shortest form that reads back to it, always with a `.`,
  an `e` or both: 1.0 is not 1, and -0.0 is not 0.0. NaN and infinities are refused: JSON has none.
- A Decimal is the exact number `DIGITSeEXPONENTd` without trailing zeros: 0.2 and 0.20 are one value, and
  another than the float 0.2.
- A str is a JSON string in UTF-8 with only `"`, `\` and control characters escaped; no Unicode
  normalisation. Lone surrogates are kept as UTF-8 would write them.
- A list or tuple is `[…]`, a dict `{…}` with its keys (all str) in order of code points. No spaces.

Two values have one form only if they are equal and of equal types all the way down (list and tuple count as
one type, and Decimals by their value). Where the order of keys shapes an answer (some engines write
the properties of a JSON schema in the order given), a caller passes pairs or the text itself.
"""

from __future__ import annotations

import hashlib
import json
import math
from decimal import Decimal

from airboss.domain.errors import WrongCall

MAX_DEPTH = 250
"""Deeper values are refused: they are mistakes, and Python's own stack is not much deeper. The body of a
call, whose messages stand here within other values, may have 200 levels."""


def digest(value: object) -> str:
    """The sha256 of the canonical form, 64 hexadecimal digits. Raises as `canonical` does."""
    return hashlib.sha256(canonical(value)).hexdigest()


def canonical(value: object) -> bytes:
    """The one way to write a JSON-like value. Raises TypeError for another kind of value, or a key that is
    no str; ValueError for a number that is not finite; WrongCall for nesting deeper than MAX_DEPTH.
    """
    parts: list[str] = []
    _write(value, MAX_DEPTH, parts)
    return "".join(parts).encode("utf-8", "surrogatepass")


def _write(value: object, depth: int, into: list[str]) -> None:
    """One call of Python's for each level, of which there may be few."""
    if depth < 0:
        raise WrongCall(f"nested deeper than {MAX_DEPTH} levels; flatten it")
    if isinstance(value, list | tuple):
        into.append("[")
        for number, item in enumerate(value):
            if number:
                into.append(",")
            _write(item, depth - 1, into)
        into.append("]")
    elif isinstance(value, dict):
        into.append("{")
        for number, key in enumerate(_sorted_keys(value)):
            into.append(("," if number else "") + json.dumps(key, ensure_ascii=False) + ":")
            _write(value[key], depth - 1, into)
        into.append("}")
    else:
        into.append(_scalar(value))


def _scalar(value: object) -> str:
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    raise TypeError(f"a {type(value).__name__} has no canonical form; use JSON values and Decimal")


def _sorted_keys(table: dict[object, object]) -> list[str]:
    keys = []
    for key in table:
        if not isinstance(key, str):
            raise TypeError(f"the key {key!r} is no str")
        keys.append(key)
    return sorted(keys)


def _float(number: float) -> str:
    if not math.isfinite(number):
        raise ValueError(f"{number} is no JSON number")
    return float.__repr__(number)


def _decimal(number: Decimal) -> str:
    """`Decimal.normalize` would round to the context's precision, so the zeros are taken off by hand."""
    if not number.is_finite():
        raise ValueError(f"{number} is no JSON number")
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # it is a letter only where the number is not finite
    written = "".join(map(str, digits)).lstrip("0")
    short = written.rstrip("0")
    if not short:
        return "0e0d"
    return f"{'-' if sign else ''}{short}e{exponent + len(written) - len(short)}d"
