r"""Secrets taken out of what is kept. The only module that makes a `Redacted`.

What counts as a secret: the values handed to `Redactor` (provider keys, preset keys, the admin key; all of
them printable), the caller's own credential (handed to each call), and whatever has the shape of a key of
ours. Each is found as it is, escaped in any way that JSON allows (also in JSON within a string of JSON, as
in a tool call's arguments), percent-encoded, and inside the base64 of a `Basic` credential.

What does not count: a value shorter than MIN_SECRET characters, because replacing every "test" would shred
the records and hide nothing; a value that stands in the names of our own records' fields; and numbers, for
a number is no string and a record with `[REDACTED]` for a number could not be read again.

Text without a secret comes back as the same bytes. Valid JSON stays valid, and numbers keep every digit.
Where a secret was found only after undoing escapes (`\u0061` for `a`), other such escapes in that text are
undone as well.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar, get_args
from urllib.parse import quote

import msgspec

from airboss.domain.record import Attempt, ClosedCall, InferenceRecord, OpenedCall, Redacted, Status
from airboss.domain.request import Operation
from airboss.providers.aws_sign import credentials_of
from airboss.providers.cut import CUT

try:
    from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind
except ImportError:  # a platform without a build of it; all the rest works as it does, and slower
    BytesAhoCorasick = None  # type: ignore[assignment,misc]  # no type says "or None" of a name imported

MARK = "[REDACTED]"
"""What stands in a secret's place."""

PATTERNS_MAX = 16
"""Of one search: with more it takes a false trail at every few bytes of an image."""
PIECE_BYTES = 64 * 1024
"""Of a long text so much is searched at once: a list of all that is found in it could be far longer."""
HINTS_MAX = 64
"""Of a piece; with more there is little that a quick search would spare."""
_Search = Callable[[bytes | memoryview], list[tuple[int, int, int]]]
"""Which patterns stand where: a pattern's number, start and end; matches do not overlap."""

MIN_SECRET = 8
"""Characters; a shorter value is not looked for."""
MIN_HALF = 4
"""Of the beginning of one, where a text was cut off."""
CUTS_MAX = 8
"""Of a text for people: one that is cut may quote another one, and of others' words each may be a mark."""

_MARK = MARK.encode()
_LAST_NULL = b"null}"
_OWN_KEY = re.compile(rb"ab_[A-Za-z0-9_-]{43}")
_SUSPECT = re.compile(rb"ab_[A-Za-z0-9_-]{43}|asic ").search
"""A key of ours, or credentials in base64: one search for both takes little more than one for either."""
_HINTS = (b"ab_", b"asic ")
"""What begins a key of ours, and what comes before credentials in base64."""
_OWN_KEY_TEXT = re.compile(r"ab_[A-Za-z0-9_-]{43}")
_OWN_KEY_BEGUN = re.compile(r"ab_[A-Za-z0-9_-]+\Z")
_OWN_KEY_HALF = re.compile(rb"(?<![A-Za-z0-9])ab_[A-Za-z0-9_-]{%d,}\Z" % (MIN_SECRET - len("ab_")))
_STRING = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"(\s*+:)?', re.DOTALL)
"""A string in JSON, and whether it is a member's name."""
_JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_OUTSIDE_QUOTES = frozenset("0123456789+-.eEtrufalsn[]{},: ")
"""All that JSON has outside its strings: a secret of these alone may be found there, in a number."""
_OWN_WORDS = " ".join(
    (
        *(
            name
            for struct in (OpenedCall, ClosedCall, Attempt, InferenceRecord)
            for name in struct.__struct_fields__
        ),
        *get_args(Operation),
        *get_args(Status),
        MARK,
    )
)

# An escape that may hide a character of a secret, with the backslashes before it: one in JSON, more in JSON
# within JSON. Hardly any program escapes letters and digits, so that honest text seldom has these.
# Runs of backslashes are taken whole (`++`) from their first (`(?<!…)`), or a long run would take n² steps.
_ESCAPES = rb"u00[2-7][0-9a-fA-F]"
_WIDE_ESCAPES = rb"u[dD][89abAB][0-9a-fA-F]{2}\\++u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}"
_ASCII = {
    b"u00" + digits: msgspec.json.encode(chr(int(digits, 16)))[1:-1]
    for number in range(0x20, 0x80)
    for digits in (b"%02x" % number, b"%02X" % number)
} | {b"/": b"/"}
"""What such an escape, without its backslashes, says in ASCII. A look-up: some texts are made of escapes."""


T = TypeVar("T")


class Redactor:
    """Takes secrets out of bytes and text. Made anew when the secrets change; safe to share by threads. Of an
    access key of AWS's the secret parts are too: AWS shows what was signed, a session's token with it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = tuple(secrets)
        access_keys = [found for secret in known if (found := credentials_of(secret)) is not None]
        parts = [part for key in access_keys for part in (key.secret_key, key.token) if part]
        self._known = _Known((*known, *parts))

    def redact(self, json: bytes) -> Redacted:
        """`json` without the secrets.

        If `json` is valid so is the result. Bytes that are not JSON are redacted as they are.
        """
        return Redacted(self._known.taken_from(json))

    def redact_all(
        self, frames: Sequence[tuple[T, bytes]], join: Callable[[Sequence[tuple[T, bytes]]], bytes]
    ) -> Redacted:
        """What `join` makes of several frames, each of them redacted: they are looked through as they are
        joined, all together, for secrets are seldom there."""
        whole = join(frames)
        if self._known.taken_from(whole) is not whole:
            whole = join([(kind, self.redact(frame)) for kind, frame in frames])
        return Redacted(whole)

    def redact_with(self, json: bytes, value: bytes) -> tuple[Redacted, ...]:
        """The object `json`, whose last member is null, with the JSON `value` in its place; in pieces, so
        that a long one is not copied."""
        around = self.redact(json)
        if not around.endswith(_LAST_NULL):
            return (self.redact(json.removesuffix(_LAST_NULL) + value + b"}"),)
        return Redacted(around[: -len(_LAST_NULL)]), self.redact(value), Redacted(b"}")

    def without_halves(self, json: bytes) -> bytes:
        """JSON of words that broke off, without the beginnings of secrets that strings in it end with: of
        MIN_SECRET characters and more."""
        return self._known.without_halves(json)

    def without_halves_at(self, text: str, places: Iterable[int]) -> str:
        """A text without the beginnings of secrets, of MIN_SECRET characters and more, that break off at
        these places: behind each somebody else goes on, who may say the rest of one and may not."""
        for place in sorted(places, reverse=True):
            text = self._known.without_half_at(text, place)
        return text

    def redact_text(self, text: str) -> str:
        """The same for a log line, an error message or anything else that is read by people. Where words of
        others in it were cut off, the beginning of a secret goes as well."""
        *begun, more = self._known.taken_from_text(text).rsplit(CUT, CUTS_MAX)
        return CUT.join((*map(self._known.without_half, begun), more))


class _Known:
    """Some secrets, ready to be looked for. The shape of our own keys is always one of them."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        # The longest first: of two secrets of which one begins the other, the whole longer one must go.
        kept = {secret for secret in secrets if len(secret) >= MIN_SECRET and secret not in _OWN_WORDS}
        self._secrets = sorted(kept, key=lambda secret: (-len(secret), secret))
        # A key of ours is found by its shape, as it is: every needle costs each record a search.
        strange = [secret for secret in self._secrets if not _OWN_KEY_TEXT.fullmatch(secret)]
        self._needles = tuple(dict.fromkeys(form for secret in strange for form in _forms(secret)))
        self._loose = frozenset(
            form
            for secret in self._secrets
            if _OUTSIDE_QUOTES.issuperset(secret) or secret[0] in '"\\'
            for form in _forms(secret)
        )
        self._cores = tuple(sorted({core for secret in self._secrets for core in _base64_cores(secret)}))
        everything = "".join(self._secrets)
        escapes = _ESCAPES if everything.isascii() else _WIDE_ESCAPES
        slash = b"|/" if "/" in everything else b""
        self._escape = re.compile(rb"\\(?:" + escapes + slash + b")")
        self._in_json = re.compile(rb"(?<!\\)((?:\\\\)*+)\\(" + escapes + slash + b")")
        self._at_any_depth = re.compile(rb"(?<!\\)()\\++(" + escapes + slash + b")")
        # What every escape that may hide something begins with.
        begun = [b"\\u00%d" % high for high in range(2, 8)] if everything.isascii() else [b"\\u"]
        hints = (*_HINTS, *begun, *((b"\\/",) if slash else ()), *self._needles)
        self._overlap = max(map(len, (*hints, *self._cores))) - 1
        self._hints = _searches(hints)
        self._needle_searches = _searches(self._needles)
        self._in_order = sorted(self._needles)
        beginnings = {re.escape(needle[:MIN_SECRET]) for needle in self._needles}
        self._begins = re.compile(b"(?=%s)" % (b"|".join(sorted(beginnings)) or b"(?!)"))
        self._core_searches = _searches(self._cores)

    def taken_from(self, data: bytes) -> bytes:
        """`data` without the secrets; the same object if there are none."""
        if self._is_clean(data):
            return data
        if self._holds(data):
            data = self._replaced(data)
        if b"\\" not in data:
            return data
        plain = data
        for pattern in (self._in_json, self._at_any_depth):
            if not self._escapes_in(plain):
                break
            plain = pattern.sub(_unescaped, plain)
            if self._holds(plain):
                data = plain = self._replaced(plain)
        return data

    def taken_from_text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MARK)
        data = text.encode("utf-8", "surrogatepass")
        cleaned = self.taken_from(data)
        return text if cleaned is data else cleaned.decode("utf-8", "surrogatepass")

    def without_half(self, text: str) -> str:
        """A text that was cut off, without the beginning of a secret at its end."""
        data = text.encode("utf-8", "surrogatepass")
        whole = (*self._needles, *(secret.encode("utf-8", "surrogatepass") for secret in self._secrets))
        half = max((_begun(needle, data) for needle in whole), default=0)
        if half:
            return data[:-half].decode("utf-8", "surrogatepass") + MARK
        return _OWN_KEY_BEGUN.sub(MARK, text)

    def without_half_at(self, text: str, place: int) -> str:
        """A text that broke off and goes on at a place, without the beginning of a secret before that which
        is not whole."""
        data, more = (part.encode("utf-8", "surrogatepass") for part in (text[:place], text[place:]))
        whole = (*self._needles, *(secret.encode("utf-8", "surrogatepass") for secret in self._secrets))
        for secret in whole:
            half = _begun(secret, data)
            if half >= MIN_SECRET and not more.startswith(secret[half:]):
                return (data[:-half] + _MARK + more).decode("utf-8", "surrogatepass")
        own = _OWN_KEY_HALF.search(data)
        if own is None or _OWN_KEY.match(own[0] + more) is not None:
            return text
        return (data[: own.start()] + _MARK + more).decode("utf-8", "surrogatepass")

    def without_halves(self, json: bytes) -> bytes:
        return _STRING.sub(self._without_half_in, json)

    def _without_half_in(self, found: re.Match[bytes]) -> bytes:
        text = found[1]
        if found[2] is not None:
            return found[0]
        for begun in self._begins.finditer(text, max(0, len(text) - self._overlap)):
            half = text[begun.start() :]
            # Among so many keys as there may be, the first that is not before it is the one that it begins.
            at = bisect_left(self._in_order, half)
            if at < len(self._in_order) and self._in_order[at].startswith(half):
                return b'"%s%s"' % (_closed(text[: begun.start()]), _MARK)
        return b'"%s"' % _OWN_KEY_HALF.sub(_MARK, text)

    def _is_clean(self, data: bytes) -> bool:
        """Whether nothing in it is a secret, or an escape that may hide one. Every record pays for this."""
        hinted = basic = False
        for at, piece in self._pieces(data):
            found = [hit for search in self._hints for hit in search(piece)]
            if len(found) > HINTS_MAX:
                return False
            for number, start, _ in found:
                hint = number < len(_HINTS) and data.startswith(_HINTS[number], at + start)
                if not hint or _OWN_KEY.match(data, at + start) is not None:
                    return False
                hinted, basic = True, basic or number == 1
        # A hint may have lain over the beginning of something else.
        if hinted and self._finds(self._needle_searches, data):
            return False
        return not (basic and self._finds(self._core_searches, data))

    def _finds(self, searches: tuple[_Search, ...], data: bytes) -> bool:
        return any(search(piece) for _, piece in self._pieces(data) for search in searches)

    def _pieces(self, data: bytes) -> Iterable[tuple[int, bytes | memoryview]]:
        """What to search, and where in `data` it begins: whatever is looked for is whole in one of them."""
        if len(data) <= PIECE_BYTES:
            return ((0, data),)
        view, size = memoryview(data), PIECE_BYTES + self._overlap
        return ((at, view[at : at + size]) for at in range(0, len(data), PIECE_BYTES))

    def _holds(self, data: bytes) -> bool:
        """Whether a secret is in it, but for escapes."""
        for needle in self._needles:
            if needle in data:
                return True
        found = _SUSPECT(data)
        if found is None:
            return False
        if _OWN_KEY.search(data) is not None:
            return True
        return any(core in data for core in self._cores)

    def _escapes_in(self, data: bytes) -> bool:
        """Whether an escape in it may hide a character of a secret."""
        return self._escape.search(data) is not None

    def _replaced(self, data: bytes) -> bytes:
        for needle in self._needles:
            if needle not in data:
                continue
            if needle in self._loose and _is_json(data):
                data = _JSON_STRING.sub(partial(_without_in, needle), data)
            else:
                data = _without(needle, data)
        if b"asic " in data:
            for core in self._cores:
                data = _without(core, data)
        return _marked(_OWN_KEY.split(data))


def _searches(patterns: tuple[bytes, ...]) -> tuple[_Search, ...]:
    """Searches for some of the patterns each, which find one of them wherever there is any."""
    if BytesAhoCorasick is None:
        return (lambda _: [(len(patterns), 0, 0)],)
    return tuple(
        BytesAhoCorasick(
            patterns[at : at + PATTERNS_MAX],
            matchkind=MatchKind.LeftmostFirst,  # the only kind that is looked for by whole vectors
            implementation=Implementation.DFA,
        ).find_matches_as_indexes
        for at in range(0, len(patterns), PATTERNS_MAX)
    )


def _begun(needle: bytes, data: bytes) -> int:
    """How much of a needle, as its beginning, is at the end of `data`; 0 for less than MIN_HALF."""
    least, at = needle[:MIN_HALF], len(data) - len(needle)
    # By where it may begin and not by each size: of 200 keys of 200 characters those take 6 ms of the loop.
    while (at := data.find(least, max(at + 1, 0))) >= 0:
        if needle.startswith(data[at:]):
            return len(data) - at
    return 0


def _without(needle: bytes, data: bytes) -> bytes:
    return _marked(data.split(needle))


def _marked(parts: list[bytes]) -> bytes:
    """What was between the secrets, joined by the mark."""
    *befores, last = parts
    return _MARK.join((*map(_closed, befores), last))


def _closed(part: bytes) -> bytes:
    r"""A part without the escape that it begins and the secret after it would end: the `n` of `\n` or a digit
    of `\u00ab` may look like a secret's first character, and half an escape is no JSON.
    """
    tail = part[-5:]
    at = tail.rfind(b"\\u")
    begun = part if at < 0 else part[: len(part) - len(tail) + at + 1]
    backslashes = len(begun) - len(begun.rstrip(b"\\"))
    return begun[:-1] if backslashes % 2 else part


def _without_in(needle: bytes, found: re.Match[bytes]) -> bytes:
    return _without(needle, found[0])


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _unescaped(found: re.Match[bytes]) -> bytes:
    """The backslashes that are not the escape's, and its character as a JSON string has it at best."""
    escape = found[2]
    return found[1] + (_ASCII.get(escape) or _wide(escape) or found[0][len(found[1]) :])


def _wide(escape: bytes) -> bytes | None:
    """The character of an escape beyond ASCII, given without its first backslashes; None for half of one."""
    units = bytes.fromhex("".join(part[:4].decode() for part in escape.split(b"u")[1:]))
    character = units.decode("utf-16-be", "replace")
    return None if character < " " or character == "\ufffd" else _json_content(character)


def _forms(secret: str) -> tuple[bytes, ...]:
    """How a secret is usually written: in a JSON string, in JSON within JSON, and in a URL."""
    once = _json_content(secret)
    twice = _json_content(once.decode())
    thrice = _json_content(twice.decode())
    in_urls = [quote(secret, safe=safe, errors="replace") for safe in ("", "/")]
    in_urls += [re.sub("%..", lambda found: found[0].lower(), each) for each in in_urls]
    return tuple(dict.fromkeys((thrice, twice, once, *(each.encode() for each in in_urls))))


def _json_content(text: str) -> bytes:
    """What stands between the quotes, without escapes that are not needed."""
    return msgspec.json.encode(text.encode("utf-8", "replace").decode())[1:-1]


def _base64_cores(secret: str) -> set[bytes]:
    """The part of the base64 of any text that holds the secret which the text around it does not change.

    Three, because it may begin at any of three places in a group of three bytes.
    """
    cores = set()
    data = secret.encode("utf-8", "replace")
    for offset in range(3):
        first = -(-offset * 8 // 6)
        last = (offset + len(data)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            cores.add(encode(bytes(offset) + data)[first:last])
    return cores
