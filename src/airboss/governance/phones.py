"""Phone numbers: written internationally, in the North American way, with a trunk zero, or after a word that
says so. The numbering plans are those of libphonenumber, in the package `phonenumberslite`.

Its own parser takes 25-50 µs a number, so its plans are matched here directly, in about one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from airboss.governance.candidates import END, START, Detector, Span, digits_of, glued
from airboss.governance.shapes import Shape, chars, either, many, maybe, seq, word, words

_TRUNK_CODES = (44, 49, 33, 31, 32, 41, 43, 46, 61, 64, 81, 82, 86, 91, 27, 90)
"""Codes of countries whose numbers begin with 0 at home only; Italy's do abroad as well."""

_ITALY = 39

_TYPES = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager",
    "uan", "voicemail",
)  # fmt: skip

_DATE = re.compile(
    rb"(?:[0-3]?\d([-./ ])[01]?\d\1(?:19|20)\d\d|(?:19|20)\d\d([-./ ])[01]?\d\2[0-3]?\d)(?!\d)"
)
_ZIP = re.compile(rb"0\d{4}-\d{4}")
_AMERICAN = re.compile(rb"(?:1[ .-])?(?:\(\d{3}\)[ .-]?\d{3}[ .-]\d{4}|\d{3}([ .-])\d{3}\1\d{4})")
_NUMBER_END = re.compile(rb"\d(?!\d)")

Matches = Callable[[str], object | None]


def _numbers(code: int) -> str:
    """A pattern of the numbers of the countries with this code, without the code."""
    patterns: dict[str, None] = {}
    for region in COUNTRY_CODE_TO_REGION_CODE[code]:
        known = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        kinds = [getattr(known, name) for name in _TYPES]
        patterns.update(
            {kind.national_number_pattern: None for kind in kinds if kind and kind.national_number_pattern}
        )
    return "|".join(f"(?:{pattern})" for pattern in patterns)


@lru_cache(maxsize=512)
def _plan(code: int) -> Matches:
    """What matches the numbers of the countries with this code, without the code."""
    return re.compile(_numbers(code)).fullmatch


@lru_cache(maxsize=1)
def _plans_at_home() -> Matches:
    """What matches the numbers of all countries that are known by a zero at home, with that."""
    abroad = "|".join(_numbers(code) for code in _TRUNK_CODES)
    return re.compile(f"0(?:{abroad})|{_numbers(_ITALY)}").fullmatch


def international(digits: str) -> bool:
    """Whether a country's numbering plan has this number; `digits` begins with the country's code."""
    for width in (1, 2, 3):  # no code begins another
        code, rest = int(digits[:width]), digits[width:]
        if code in COUNTRY_CODE_TO_REGION_CODE:
            fits = _plan(code)
            return bool(fits(rest) or (rest[:1] == "0" and fits(rest[1:])))
    return False


def national(digits: str) -> bool:
    """Whether one of the countries whose numbers begin with 0 at home has this number."""
    return bool(_plans_at_home()(digits))


def _in_a_longer_number(before: bytes, after: bytes) -> bool:
    return (before[-1:] in (b"-", b".", b"/", b",") and before[-2:-1].isdigit()) or (
        after[:1] in (b"-", b".", b"/", b",") and after[1:2].isdigit()
    )


def _international(before: bytes, found: bytes, after: bytes) -> Span | None:
    """The longest part that is a number: what follows a number may look like more of it."""
    if glued(before) or before[-1:] == b"+":
        return None
    ends = [match.end() for match in _NUMBER_END.finditer(found)]
    if after[:1].isdigit():
        ends = ends[:-1]
    for end in reversed(ends):
        digits = digits_of(found[:end]).removeprefix("00" if found[:2] == b"00" else "")
        if 7 <= len(digits) <= 15 and international(digits):
            return 0, end
    return None


def _american(before: bytes, found: bytes, after: bytes) -> Span | None:
    if glued(before) or _in_a_longer_number(before, after) or _AMERICAN.fullmatch(found) is None:
        return None
    digits = digits_of(found)
    return (0, len(found)) if international(digits if len(digits) == 11 else "1" + digits) else None


def _with_trunk_zero(before: bytes, found: bytes, after: bytes) -> Span | None:
    digits, abroad = digits_of(found), found.startswith(b"00")
    if not abroad and not 9 <= len(digits) <= 12:
        return None
    in_a_table = before[-1:] == b" " and before[-2:-1].isdigit()
    if glued(before) or in_a_table or _in_a_longer_number(before, after):
        return None
    if _DATE.match(found) or _ZIP.fullmatch(found):
        return None
    if abroad:
        return _international(before, found, after)
    return (0, len(found)) if national(digits) else None


_FIRST = re.compile(rb"[+(0-9]")


def _named(before: bytes, found: bytes, after: bytes) -> Span | None:
    start = _FIRST.search(found)
    if glued(before) or start is None or _DATE.match(found, start.start()):
        return None
    number = found[start.start() :]
    ends = [match.end() for match in _NUMBER_END.finditer(number)]
    if after[:1].isalnum():
        ends = ends[:-1]
    for end in reversed(ends):
        if 7 <= len(digits_of(number[:end])) <= 15:
            return start.start(), start.start() + end
    return None


def _canonical(value: bytes) -> bytes:
    """Digits; ten of them that cannot begin with a trunk zero are taken for North American."""
    digits = digits_of(value).removeprefix("00")
    return ("1" + digits if len(digits) == 10 and digits[0] > "1" and value[:1] != b"+" else digits).encode()


def _digits(low: int, high: int | None = None) -> Shape:
    return chars("[0-9]", low, high)


_SEPARATOR = chars("[ ./-]", 1)
_MORE = chars("[0-9 ()./-]", 5, 24)
_NAMES = words(
    "phone", "telephone", "tel", "mobile", "mobil", "movil", "cell", "cellphone", "cellular", "celular",
    "cellulare", "fax", "whatsapp", "telefon", "telefono", "telefoon", "handy", "portable", "call", "call us",
    "call me", "dial", "sms", "text me", any_case=True,
)  # fmt: skip
_LINK = words(" number", " no", " nr", " #", " is", " at", " on", ".", ":", " ", "=", '"', any_case=True)

PHONES = (
    Detector(
        kind="phone",
        name="international",
        shape=seq(word("+"), maybe(word(" ")), chars("[0-9(]", 1), _MORE, _digits(1)),
        confirm=_international,
        left=2,
        canonical=_canonical,
    ),
    Detector(
        kind="phone",
        name="american",
        shape=seq(
            maybe(seq(word("1"), chars("[ .-]", 1))),
            either(
                seq(word("("), _digits(3), word(")"), maybe(chars("[ .-]", 1))),
                seq(_digits(3), chars("[ .-]", 1)),
            ),
            _digits(3),
            chars("[ .-]", 1),
            _digits(4),
            END,
        ),
        confirm=_american,
        left=2,
        right=2,
        canonical=_canonical,
    ),
    Detector(
        kind="phone",
        name="trunk_zero",
        shape=seq(
            maybe(word("(")),
            word("0"),
            _digits(1, 4),
            maybe(word(")")),
            many(seq(_SEPARATOR, _digits(2, 8)), 1, 5),
            END,
        ),
        confirm=_with_trunk_zero,
        left=2,
        right=2,
        canonical=_canonical,
    ),
    Detector(
        kind="phone",
        name="named",
        shape=seq(START, _NAMES, many(_LINK, 1, 4), maybe(word("+")), chars("[0-9(]", 1), _MORE, _digits(1)),
        confirm=_named,
        left=2,
        canonical=_canonical,
    ),
)
"""In the order in which they name a value that several find."""
