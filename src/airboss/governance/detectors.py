r"""What screening finds: e-mail addresses, phone and card numbers, IBANs, US social security numbers, IP
addresses and secrets.

Every detector is a pattern and a check: a checksum, a numbering plan, a range, or what stands around it.
They rather miss a value that could as well be an order number, a version, a date or an id than take such
things for values. Known to be missed:

- any: what is glued to a word or another number (`id4111…`), goes on in the next line, message or string,
  has more than eight invisible characters in a row or any control character in it, or is encoded (base64,
  percent signs but for `%40`, `&#64;`) or spelled out (`jane at example dot com`)
- email: quoted names, hosts that are addresses; of a name over 64 characters the beginning
- phone: national numbers without a zero in front, a North American form, or a word such as `phone` before
- card: groupings other than 4-4-4-4, 4-6-5 and 4-6-4, and what stands behind a decimal point
- us_ssn: nine digits without hyphens where no `SSN` stands before them, and taxpayer numbers (9xx)
- ip: loopback and netmasks, IPv6 outside 2000::/3 and f000::/4, four numbers behind `version` and such
- secret: passwords of letters alone, with spaces, or (unquoted) beyond the first bracket, quotation mark,
  comma, semicolon or backslash; keys without a known prefix or a telling name; user names in URLs
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from stdnum import numdb

from airboss.governance.candidates import END, LEFT, START, Detector, Span, digits_of, glued
from airboss.governance.phones import PHONES
from airboss.governance.secret_shapes import SECRETS
from airboss.governance.shapes import Shape, chars, either, many, maybe, seq, word, words

_FILES = frozenset(b"png jpg jpeg gif svg webp ico css js jsx ts tsx mp3 mp4 json yaml yml html htm".split())
_NOT_A_HOST = re.compile(rb"\d+x\.|\d+\.\d")
_IN_CREDENTIALS = re.compile(rb"://[^\s/]{1,72}:\Z")
_NOT_A_NAME = re.compile(rb"[^A-Za-z0-9\xe9]+")
_BYTE = rb"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(_BYTE + rb"(?:\." + _BYTE + rb"){3}")
_NUMBERED = re.compile(  # what four numbers with dots may be beside an address
    rb"(?i:\b_*(?:v|ver\.?|version|release|build|firmware|rev\.?|section|sec\.?|chapter|oid|objectidentifier)_*)"
    rb"""["'( :=#v]{0,5}\Z"""
)
_SSN_GIVEN_OUT = re.compile(  # and not one that was printed in advertisements
    rb"(?!078051120|219099999|457555462)(?!000|666|9)\d{3}(?!00)\d{2}(?!0000)\d{4}"
)
_SSN_NAMED = re.compile(rb"(?i)\bssn\b|\bsoc(?:ial)?\.? ?sec")


def _digits(low: int, high: int | None = None) -> Shape:
    return chars("[0-9]", low, high)


def _email(before: bytes, found: bytes, after: bytes) -> Span | None:  # noqa: ARG001  # a Confirm takes these
    at = found.rfind(b"@")
    local, _, domain = found.partition(b"@") if at >= 0 else found.lower().rpartition(b"%40")
    start = 1 if before[-1:] == b"\\" and local[:1] in (b"n", b"r", b"t") else 0
    odd = _NOT_A_NAME.match(local, start)
    start = odd.end() if odd else start
    top = domain.rpartition(b".")[2].lower()
    if start >= len(local) or local[start:] == b"git" or top in _FILES:
        return None
    if _NOT_A_HOST.match(domain) or _IN_CREDENTIALS.search(before):
        return None
    return start, len(found)


# Issuers by first digits and what lengths they give out: ISO/IEC 7812 ranges as the networks publish them.
_ISSUERS = re.compile(
    rb"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    rb"|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    rb"|3[47]\d{13}"  # American Express
    rb"|(?:6011|64[4-9]\d|65\d{2}|81\d{2}|82\d{2}|60\d{2}|508\d)\d{12}|65\d{17}"  # Discover, RuPay
    rb"|3(?:0[0-5]|[68]\d|09)\d{11}|36\d{17}"  # Diners Club
    rb"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    rb"|62\d{14,17}"  # UnionPay
    rb"|(?:50|5[6-8]|63|67)\d{14,17}"  # Maestro
    rb"|220[0-4]\d{12,15}"  # Mir
)


_LUHN = bytes(
    (sum(divmod(2 * a, 10)) + b + sum(divmod(2 * c, 10)) + d) % 10
    for a in range(10)
    for b in range(10)
    for c in range(10)
    for d in range(10)
)
"""What four digits, an even number of them before the end, add to the Luhn sum, modulo 10."""


def _luhn(number: int) -> bool:
    """Whether the last digit is the check digit of the others; below 10^20. `stdnum.luhn` takes ten times as
    long, and a text may be made of nearly such numbers."""
    low, high = number % 100_000_000, number // 100_000_000
    over, high = high // 100_000_000, high % 100_000_000
    total = _LUHN[low % 10_000] + _LUHN[low // 10_000] + _LUHN[high % 10_000] + _LUHN[high // 10_000]
    return (total + _LUHN[over]) % 10 == 0


def _card(before: bytes, found: bytes, after: bytes) -> Span | None:  # noqa: ARG001  # a Confirm takes these
    # Long fractions are common, and tables with commas; long numbers before a point are seldom anything else.
    if before[-1:] == b"." and before[-2:-1].isdigit():
        return None
    separators = found.translate(None, b"0123456789")
    digits = found.translate(None, b" .-")
    alike = not separators.strip(separators[:1])
    if alike and _luhn(int(digits)) and _ISSUERS.fullmatch(digits):
        return 0, len(found)
    # The fifth group of four may be something else, a CVV or a year, and stand behind another separator.
    if len(separators) < 4 or separators[1:3] != separators[:2]:
        return None
    return (0, 19) if _luhn(int(digits[:16])) and _ISSUERS.fullmatch(digits, 0, 16) else None


_IBAN_PARTS = {"n": "[0-9]", "a": "[A-Z]", "c": "[A-Z0-9]"}
_IBAN_NUMBERS = [f"{int(chr(code), 36)}" if chr(code).isalnum() else "" for code in range(128)]


@lru_cache(maxsize=1024)
def _iban_form(country: bytes) -> re.Pattern[bytes] | None:
    """What IBANs of this country look like, with or without separators; None if there are none."""
    structure = numdb.get("iban").info(country.decode() + "00")[0][1].get("bban", "")
    if not structure:
        return None
    parts = (
        f"(?:[ -]?{_IBAN_PARTS[kind]}){{{times}}}" for times, kind in re.findall(r"(\d+)!(.)", structure)
    )
    return re.compile((r"[A-Z]{2}\d\d" + "".join(parts)).encode())


def _iban(before: bytes, found: bytes, after: bytes) -> Span | None:  # noqa: ARG001  # a Confirm takes these
    found = found.upper()
    form = _iban_form(found[:2])
    fits = form.match(found) if form is not None else None
    if fits is None:
        return None
    end = fits.end()
    if (found[end : end + 1] or after[:1]).isalnum():
        return None
    number = fits[0].translate(None, b" -")
    # ISO 7064 Mod 97, 10: letters count as 10 to 35, and country and check digits stand last.
    valid = int("".join([_IBAN_NUMBERS[code] for code in number[4:] + number[:4]])) % 97 == 1
    return (0, end) if valid else None


def _us_ssn(before: bytes, found: bytes, after: bytes) -> Span | None:
    if before[-1:] in (b"-", b".") and before[-2:-1].isdigit():
        return None
    if after[:1] in (b"-", b".") and after[1:2].isdigit():
        return None
    hyphens = found.count(b"-")
    if hyphens == 1 or _SSN_GIVEN_OUT.fullmatch(found.translate(None, b" -")) is None:
        return None
    # Without hyphens nine digits may be anything, so the text must say what they are.
    return (0, len(found)) if hyphens or _SSN_NAMED.search(before) else None


def _ipv4(before: bytes, found: bytes, after: bytes) -> Span | None:
    if (before[-1:] == b"." and before[-2:-1].isalnum()) or (before[-1:] == b"-" and before[-2:-1].isalpha()):
        return None
    if (after[:1] == b"." and after[1:2].isdigit()) or (after[:1] == b"-" and after[1:2].isalpha()):
        return None
    # These are no one's address: any, this machine, everybody, and the masks of networks.
    if _IPV4.fullmatch(found) is None or found == b"0.0.0.0" or found.startswith((b"127.", b"255.")):
        return None
    return None if _NUMBERED.search(before) else (0, len(found))


def _ipv6(before: bytes, found: bytes, after: bytes) -> Span | None:
    if glued(before) or before[-1:] == b":" or after[:1].isalnum() or after[:1] == b":":
        return None
    found = found if found.endswith(b"::") else found.rstrip(b":")
    try:
        ipaddress.IPv6Address(found.decode())
    except ValueError:
        return None
    return 0, len(found)


def _compact(value: bytes) -> bytes:
    return value.translate(None, b" -").upper()


def _lower(value: bytes) -> bytes:
    return value.lower().replace(b"%40", b"@")


def _number(value: bytes) -> bytes:
    return digits_of(value).encode()


_SEPARATOR = chars("[ .-]", 1)
_LOCAL = chars(r"[A-Za-z0-9._%+'\xe9-]", 1, 64)
_ALNUM = "[A-Za-z0-9]"
_HEXTET = chars("[0-9A-Fa-f]", 0, 4)

PII = (
    Detector(
        kind="card",
        name="card",
        shape=seq(
            START,
            either(
                _digits(13, 19),
                seq(
                    _digits(4),
                    many(seq(_SEPARATOR, _digits(4)), 3, 3),
                    maybe(seq(_SEPARATOR, _digits(1, 4))),
                ),
                seq(_digits(4), _SEPARATOR, _digits(6), _SEPARATOR, _digits(4, 5)),
            ),
            END,
        ),
        confirm=_card,
        left=2,
        canonical=_number,
    ),
    Detector(
        kind="iban",
        name="iban",
        shape=seq(
            START,
            chars("[A-Za-z]", 2),
            _digits(2),
            many(seq(maybe(chars("[ -]", 1)), chars(_ALNUM, 4)), 2, 7),
            maybe(seq(maybe(chars("[ -]", 1)), chars(_ALNUM, 1, 3))),
        ),
        confirm=_iban,
        canonical=_compact,
    ),
    Detector(
        kind="us_ssn",
        name="us_ssn",
        shape=seq(
            START,
            _digits(3),
            maybe(chars("[ -]", 1)),
            _digits(2),
            maybe(chars("[ -]", 1)),
            _digits(4),
            END,
        ),
        confirm=_us_ssn,
        left=40,
        right=2,
        canonical=_number,
    ),
    Detector(
        kind="email",
        name="email",
        shape=seq(
            _LOCAL,
            words("@", "%40"),
            chars(r"[A-Za-z0-9\xe9]", 1),
            chars(r"[A-Za-z0-9.\xe9-]", 0, 200),
            word("."),
            chars(r"[A-Za-z\xe9]", 2, 24),
        ),
        confirm=_email,
        left=LEFT,
        skips=True,
        canonical=_lower,
    ),
    Detector(
        kind="ip",
        name="ipv4",
        shape=seq(START, _digits(1, 3), many(seq(word("."), _digits(1, 3)), 3, 3), END),
        confirm=_ipv4,
        left=24,
        right=2,
        skips=True,  # what begins within stands behind a dot, and is none either
    ),
    Detector(
        kind="ip",
        name="ipv6",
        # All that is given out begins with four such digits; `::1` and the `a::b` of programs do not.
        shape=seq(chars("[23fF]", 1), chars("[0-9A-Fa-f]", 3), many(seq(word(":"), _HEXTET), 2, 7)),
        confirm=_ipv6,
        left=2,
        canonical=_lower,
    ),
)

DETECTORS: tuple[Detector, ...] = (*SECRETS, *PII, *PHONES)
"""In the order in which they name a value that begins at one place for several."""
