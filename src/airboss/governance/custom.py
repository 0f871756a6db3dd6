r"""Kinds that policies define themselves, as detectors: what a pattern matches, and words that must not pass.

A pattern's tree (`config.patterns`) becomes a shape, so that a text in pieces is held back while it may still
turn into a match. Words become one trie for those that are plain in a shadow (shadow.py), and one for those
that are not, whose candidates are judged by the text itself: there all letters beyond ASCII are one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from typing import Final

import re2

from airboss.config.patterns import AnyCase, Chars, Edge, Either, Node, Seq, Times, read_pattern
from airboss.domain.release import CustomKind
from airboss.governance.candidates import ESCAPE, START, Detector, Span
from airboss.governance.names import plain as plain_text
from airboss.governance.policies import ALL
from airboss.governance.shadow import LETTER, OTHER, Caster
from airboss.governance.shapes import Shape, chars, either, many, seq

_NOTHING = Shape(exact="", loose="", opening="", longest=0)
_BEYOND = re.compile(rf"[{LETTER}{OTHER}]")
_OTHERS: Final = re.sub(r"\w", "", "".join(map(chr, range(256))), flags=re.ASCII)
_GAP: Final = r"[ \t\r\n\f\v_-]"
_GAPS: Final = re.compile(_GAP + "+")
_GAP_MAX: Final = 8
"""What stands between the words of a phrase: blanks, line ends, hyphens and underscores, up to so many."""
_PLACEHOLDER: Final = r"(?:{labels})(?:_[a-z0-9]{{1,9}})?"


@lru_cache(maxsize=64)  # as `matching` keeps them
def detectors_of(kinds: tuple[CustomKind, ...]) -> tuple[Detector, ...]:
    """What finds these kinds, in their order."""
    labels = "|".join(kind.upper() for kind in dict.fromkeys((*(each.name for each in kinds), *ALL)))
    ours = re.compile(_PLACEHOLDER.format(labels=labels).encode())
    found: list[Detector] = []
    for kind in kinds:
        if kind.pattern is not None:
            found.append(_of_pattern(kind.name, kind.pattern, ours))
        else:
            found.extend(_of_words(kind.name, kind.words, ours))
    return tuple(found)


def _placeholder(ours: re.Pattern[bytes], before: bytes, found: bytes, after: bytes) -> bool:
    """Whether a candidate is the name in a mask or a token that an earlier turn has: `[EMPLOYEE]`."""
    return before[-1:] in (b"[", b"<") and after[:1] in (b"]", b">", b"_") and bool(ours.fullmatch(found))


# -- patterns


def _of_pattern(kind: str, text: str, ours: re.Pattern[bytes]) -> Detector:
    node = read_pattern(text)
    shape, escaped = _shape(node, leading=False), False
    # Where a word begins, a `\n` that is written out may stand before it, as for the kinds that are built in.
    # A value that may begin otherwise might begin with such a backslash itself.
    if not any(_matches(shape.opening, other) for other in _OTHERS):
        shape, escaped = _shape(node, leading=True), True

    def confirm(before: bytes, found: bytes, after: bytes) -> Span | None:
        return None if _placeholder(ours, before, found, after) else (0, len(found))

    return Detector(
        kind=kind,
        name=kind,
        shape=shape,
        confirm=confirm,
        left=1,
        skips=True,  # only a placeholder is refused, and the rest of one is none either
        escaped=escaped,
        by_text=_sees_beyond(node),
    )


def _shape(node: Node, *, leading: bool) -> Shape:
    """A pattern's shape; `leading`: it stands where a candidate begins."""
    match node:
        case Chars():
            return Shape(exact=node.of, loose=node.of, opening=f"{node.of}?", longest=1)
        case Edge(of=of):
            # A hint is asked for of what is not decided yet, where nothing tells what stood before.
            edge = Shape(exact=of, loose="", opening="", longest=0)
            return START if leading and of == r"\b" else edge
        case AnyCase():
            return _any_case(_shape(node.part, leading=leading))
        case Either():
            return either(*(_shape(part, leading=leading) for part in node.parts))
        case Seq():
            return _in_turn([_shape(part, leading=leading and at == 0) for at, part in enumerate(node.parts)])
    return _repeated(node)


def _repeated(node: Times) -> Shape:
    if isinstance(node.part, Chars):
        return chars(node.part.of, node.low, node.high)
    return many(_shape(node.part, leading=False), node.low, node.high) if node.high else _NOTHING


def _in_turn(shapes: list[Shape]) -> Shape:
    whole = _NOTHING
    for shape in reversed(shapes):  # two at a time: they may be hundreds
        whole = seq(shape, whole)
    return whole


def _any_case(shape: Shape) -> Shape:
    return Shape(
        exact=f"(?i:{shape.exact})",
        loose=f"(?i:{shape.loose})",
        opening=f"(?i:{shape.opening})",
        longest=shape.longest,
    )


def _sees_beyond(node: Node) -> bool:
    """Whether a match may hold what is not plain in a shadow."""
    match node:
        case Chars():
            return _matches(node.of, LETTER) or _matches(node.of, OTHER)
        case Edge():
            return False
        case AnyCase() | Times():
            return _sees_beyond(node.part)
    return any(map(_sees_beyond, node.parts))


def _matches(pattern: str, text: str) -> bool:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.fullmatch(pattern.encode("latin-1"), text.encode("latin-1"), options) is not None


# -- words

_Trie = dict[str, "_Trie"]
_END: Final = ""
_NO_MORE: Final = rf"(?![0-9A-Za-z{LETTER}])"
_NO_MORE_LETTERS: Final = r"(?![0-9a-z]|(?=[\u0080-\u0dff\u1e00-\u1fff])[^\W\d_])"
"""The same of folded letters: those of the scripts that put spaces between words (shadow.py)."""


def _of_words(kind: str, words: Iterable[str], ours: re.Pattern[bytes]) -> Iterable[Detector]:
    plain, spelled = _forms(words)
    if plain:
        form = re.compile(_ending(_trie(plain), _NO_MORE).encode("latin-1"), re.IGNORECASE)
        yield Detector(
            kind=kind,
            name=kind,
            shape=_shape_of(plain),
            confirm=partial(_whole_word, ours, form),
            left=2,
            canonical=_as_a_word,
            escaped=False,
        )
    if spelled:
        judged = re.compile(_ending(_trie(spelled), _NO_MORE_LETTERS))
        yield Detector(
            kind=kind,
            name=f"{kind}, spelled",
            shape=_shape_of(spelled.values()),
            confirm=partial(_whole_word, ours, None),
            left=2,
            escaped=False,
            by_text=True,
            judge=partial(_judged, judged),
            spelled=_as_words,
        )


def _forms(words: Iterable[str]) -> tuple[list[str], Mapping[str, str]]:
    """Words as they are looked for, with one blank for whatever stands between: those that are plain in a
    shadow, and others, by their letters, with their shadows."""
    plain: dict[str, None] = {}
    spelled: dict[str, str] = {}
    for word in words:
        for written in {unicodedata.normalize(form, word) for form in ("NFC", "NFD")}:
            shadow, gaps = Caster().cast(written)
            seen = shadow.decode("latin-1")
            letters = _GAPS.sub(" ", folded(plain_text(written, gaps))).strip()
            one = _GAPS.sub(" ", seen.lower()).strip()
            if len(one) < 2:
                continue
            if _BEYOND.search(one) is None:
                plain[one] = None
            elif len(letters) == len(one):
                spelled[letters] = one
    return list(plain), spelled


def _trie(words: Iterable[str]) -> _Trie:
    trie: _Trie = {}
    for word in words:
        at = trie
        for letter in word:
            at = at.setdefault(letter, {})
        at[_END] = {}
    return trie


def _letter(letter: str) -> str:
    return f"{_GAP}{{1,{_GAP_MAX}}}" if letter == " " else re.escape(letter)


def _exact(trie: _Trie) -> str:
    more = [_letter(letter) + _exact(rest) for letter, rest in trie.items() if letter != _END]
    if not more:
        return ""
    return f"(?:{'|'.join(more)})" + ("?" if _END in trie else "")


def _opening(trie: _Trie) -> str:
    more = [_letter(letter) + _opening(rest) for letter, rest in trie.items() if letter != _END]
    return f"(?:{'|'.join(more)})?" if more else ""


def _ending(trie: _Trie, no_more: str, last: str = "") -> str:
    """A pattern, for Python, of the longest word that is whole at its end."""
    more = [
        _letter(letter) + _ending(rest, no_more, letter) for letter, rest in trie.items() if letter != _END
    ]
    if _END in trie:
        more.append(no_more if _in_word(last) else "")
    return f"(?:{'|'.join(more)})"


def _in_word(letter: str) -> bool:
    """Whether a letter in front of it or behind it would belong to the same word."""
    seen = Caster().cast(letter)[0].decode("latin-1")
    return seen == LETTER or (seen.isascii() and seen.isalnum())


def _shape_of(words: Iterable[str]) -> Shape:
    words = list(words)
    trie = _trie(words)
    exact = _exact(trie)
    longest = max(len(word) + word.count(" ") * (_GAP_MAX - 1) for word in words)
    return _any_case(Shape(exact=exact, loose=exact, opening=_opening(trie), longest=longest))


def _whole_word(
    ours: re.Pattern[bytes], form: re.Pattern[bytes] | None, before: bytes, found: bytes, after: bytes
) -> Span | None:
    """The longest of the words in a candidate that no letter or digit prolongs; without `form`, all of it."""
    if _prolonged(before[-1:]) and _prolonged(found[:1]) and ESCAPE.search(before[-2:]) is None:
        return None
    if form is None:
        return 0, len(found)
    text = found + after
    fits = form.match(text)
    if fits is None or _placeholder(ours, before, fits[0], text[fits.end() : fits.end() + 1]):
        return None
    return 0, fits.end()


def _prolonged(letter: bytes) -> bool:
    return letter.isalnum() or letter == LETTER.encode("latin-1")


def _judged(form: re.Pattern[str], text: str, start: int, end: int) -> Span | None:
    """The same by the text itself, in which the candidate is from `start` to `end`."""
    fits = form.match(folded(text[start : end + 1]))
    return None if fits is None else (0, fits.end())


def _as_a_word(value: bytes) -> bytes:
    return _GAPS.sub(" ", value.decode("latin-1").lower()).encode("latin-1")


def _as_words(text: str) -> str:
    return _GAPS.sub(" ", folded(text))


# -- letters


class _Folds(dict[int, str]):
    """What `str.translate` asks: one character for one."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        seen = Caster().cast(letter)[0].decode("latin-1")
        if len(seen) == 1 and seen.isascii():
            return seen.lower()
        base = [each for each in unicodedata.normalize("NFKD", letter) if unicodedata.category(each) != "Mn"]
        plain = base[0].casefold() if len(base) == 1 else letter.casefold()
        fold = self[code] = plain if len(plain) == 1 else letter
        return fold


_FOLDS = _Folds()


def folded(text: str) -> str:
    """A text without case and accents, of as many characters."""
    return text.lower() if text.isascii() else text.translate(_FOLDS)
