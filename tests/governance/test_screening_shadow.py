"""A shadow has one byte a character, and says where the others were."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from airboss.governance.shadow import INVISIBLE_MAX, Caster


def shadow_of(text: str) -> str:
    """The shadow, as text."""
    return Caster().cast(text)[0].decode("latin-1")


def test_lookalikes() -> None:
    """Full-width, mathematical and accented forms, digits, spaces and hyphens of any script become ASCII."""
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in "AB@.1")
    assert shadow_of(wide) == "AB@.1"
    assert shadow_of("\U0001d7d2\U0001d7d9 é ñ ٤ १") == "41 e n 4 1"
    assert shadow_of("x\u00a0y\u2009z a\u2011b\u2013c \u201cq\u201d \u2018s\u2019") == "x y z a-b-c \"q\" 's'"


def test_letters_and_others() -> None:
    """Letters of scripts with spaces between words are one sign, and all that ends a value another."""
    assert shadow_of("пример ß हि") == "\xe9" * 6 + " \xe9 \xe9\xe9"
    assert shadow_of("请。👩한ไ\ud83d\ue000") == "\xff" * 7
    edges = "\u3400\u9fff\uac00\ud7a3\ud800\udfff\ue000\uf8ff\uf900\U00020000\U000dffff\U000f0000\U0010ffff"
    assert shadow_of(edges) == "\xff" * len(edges)
    assert shadow_of("\ua8d0\uff10\U0001fbf0\U000e0041") == "000"


def test_what_does_not_show() -> None:
    """It is left out up to a number in a row, and its place told."""
    shadow, gaps = Caster().cast("a\u200bb\u0301\u0301c" + "\u200d" * (INVISIBLE_MAX + 2) + "d")
    assert shadow == b"abc\xff\xffd"
    assert gaps == ((1, 1), (2, 2), (3, INVISIBLE_MAX))


def test_every_character_has_a_shadow() -> None:
    """Any character is a byte or nothing; ASCII is itself."""
    for code in range(0, sys.maxunicode + 1, 3):
        shadow, gaps = Caster().cast(chr(code))
        assert len(shadow) + sum(count for _, count in gaps) == 1
        assert code > 0x7F or shadow == bytes([code])


@given(text=st.text("a4é\u200b\u0301请\ud83d", max_size=40), place=st.integers(0, 40))
def test_a_shadow_does_not_depend_on_the_cut(text: str, place: int) -> None:
    """Two pieces cast one shadow, with the same number of characters left out at each place."""
    caster = Caster()
    first, before = caster.cast(text[:place])
    second, after = caster.cast(text[place:])
    whole, gaps = Caster().cast(text)
    assert first + second == whole
    left_out = dict.fromkeys(range(len(whole) + 1), 0)
    for at, count in (*before, *((at + len(first), count) for at, count in after)):
        left_out[at] += count
    assert {at: count for at, count in left_out.items() if count} == dict(gaps)
