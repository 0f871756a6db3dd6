"""What it means that a record's bodies hold words, whichever log looks for them.

A search is terms apart by spaces, or in quotes; each must stand in the texts of the request or the response
(the strings that their JSON holds, not the names of fields), whole and in any case. Between the words of a
quoted term there may be any white space. Scripts without spaces between words match anywhere.

Logs narrow down by *tokens*: runs of letters and digits of the JSON text as it was stored, each character by
itself in most scripts without spaces (those of `UNSPACED` are runs of their own there, so that what is looked
for in them narrows nothing down). JSON may be written with escapes for what is not ASCII, so a term has
several *spellings*, and a record that holds the term has all tokens of one of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from airboss.store.joining import body

WORD: Final = (
    r"\\u[0-9a-f]{4}|[0-9a-z\x{C0}-\x{1FFF}\x{2C00}-\x{2DFF}]+|[\x{2E80}-\x{D7FF}\x{F900}-\x{10FFFF}]"
)
"""A token of text in lower case, as RE2 writes it, which both databases have; an escaped character is one."""
ESCAPES: Final = ("\\\\", "\\n", "\\t", "\\r", "\\b", "\\f")
"""What stands before a word in JSON and is no part of it; the first one first. These become spaces."""
TERMS_MAX: Final = 16
CHARS_MAX: Final = 300
WORD_CHARS_MAX: Final = 64
"""Longer runs are not looked up: bodies are kept in parts, and one may be cut."""
_WORD: Final = "0-9A-Za-z_\u00c0-\u1fff\u2c00-\u2dff"
TOKEN: Final = re.compile(
    r"\\u[0-9a-f]{4}|[0-9a-z\u00c0-\u1fff\u2c00-\u2dff]+|[\u2e80-\ud7ff\uf900-\U0010ffff]"
)
"""The same as Python writes it."""
UNSPACED: Final = "\u0e00-\u109f\u1780-\u17ff\u1950-\u1aaf"
"""Thai, Lao, Tibetan, Burmese, Khmer and their neighbours: no spaces between words, and yet runs of a token.
A run is longer than what is looked for, so that no index tells where that is."""
_TERM: Final = re.compile(r'"([^"]*)"|(\S+)')


class Search(msgspec.Struct, frozen=True):
    """What is looked for: for each term its spellings, each by its tokens, and what matches it
    in a text."""

    spellings: tuple[tuple[tuple[str, ...], ...], ...]
    patterns: tuple[re.Pattern[str], ...]

    def found_in(self, *bodies: Any) -> bool:
        """Whether these bodies, JSON values or their texts, hold every term."""
        text = "\n".join(each for value in bodies for each in texts(value))
        return all(pattern.search(text) for pattern in self.patterns)


def read_search(text: str) -> Search:
    """The search that people write. Raises ValueError for one without a word, or too long."""
    if len(text) > CHARS_MAX:
        raise ValueError(f"a search has {CHARS_MAX} characters at most, this one {len(text)}")
    text.encode()  # a lone surrogate is a ValueError too
    terms = [" ".join((quoted or bare).split()) for quoted, bare in _TERM.findall(text)]
    terms = [term for term in dict.fromkeys(terms) if TOKEN.search(term.lower())]
    if not terms:
        raise ValueError(f"{text[:60]!r} holds no word to look for")
    if len(terms) > TERMS_MAX:
        raise ValueError(f"a search has {TERMS_MAX} words at most, this one {len(terms)}")
    return Search(tuple(map(_spellings, terms)), tuple(map(_pattern, terms)))


def lowered(text: str) -> str:
    """In lower case as databases have it, each character by itself: of İ Python makes two, and what Σ becomes
    depends on where it stands."""
    return text.replace("\u0130", "i").replace("\u03a3", "\u03c3").lower()


def texts(value: Any) -> Iterator[str]:
    """The strings that a JSON value holds, in their order."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting.extend(reversed(each.values()))
        elif isinstance(each, list):
            waiting.extend(reversed(each))


def holds(search: Search, request: str | None, response: str | None) -> bool:
    """As `Search.found_in`, of bodies as they are stored; those without the tokens are not taken apart, which
    takes eight times as long."""
    said = lowered(f"{request or ''} {response or ''}")
    maybe = all(
        any(all(token in said for token in tokens) for tokens in spellings) for spellings in search.spellings
    )
    return maybe and search.found_in(body(request), body(response))


def _spellings(term: str) -> tuple[tuple[str, ...], ...]:
    """The tokens of each way that JSON may be written with this term in it."""
    forms = [json.dumps(term, ensure_ascii=False)]
    if not term.isascii():
        forms += [json.dumps(each) for each in (term, term.lower(), term.upper(), term.capitalize())]
    found = []
    for form in forms:
        text = form[1:-1].lower()
        for escape in ESCAPES:
            text = text.replace(escape, " ")
        tokens = tuple(sorted({each for each in TOKEN.findall(text) if _looked_up(each)}))
        if tokens not in found:
            found.append(tokens)
    return tuple(found)


def _looked_up(token: str) -> bool:
    return len(token) <= WORD_CHARS_MAX and not re.search(f"[{UNSPACED}]", token)


def _pattern(term: str) -> re.Pattern[str]:
    """What matches the term in a text."""
    words = r"\s+".join(re.escape(word) for word in term.split())
    bound = f"(?![{UNSPACED}])[{_WORD}]"
    before = f"(?<![{_WORD}])" if re.match(bound, term) else ""
    after = f"(?![{_WORD}])" if re.search(f"{bound}$", term) else ""
    return re.compile(f"{before}{words}{after}", re.IGNORECASE)
