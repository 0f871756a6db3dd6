"""What is looked for in the documents, and where it stands."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from airboss.console.documents import Document, Section, document, sources
from airboss.domain.errors import InvalidRequest

TEXT_MAX = 200
"""Characters that may be looked for."""
WORDS_MAX = 8
PLACES_MAX = 30
"""Places that are shown; how many more there are is said."""
BEFORE, AFTER = 60, 180
"""Characters around the first word that is shown."""
HITS_MAX = 200
"""Words that are looked at for the one beside which most of the others stand."""
LAST = ("changelog", "performance", "benchmarks", "dependencies", "architecture", "contributing", "readme")
"""Who wants to know how something is used finds it here last."""

ASIDE = re.compile(
    r"(?:an?|and|are|at|be|can|do|does|for|from|how|i|in|is|it|my|of|on|or|the|to|what|where|with)\??",
    re.IGNORECASE,
)
"""Words of a question that are not looked for where there are others."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A section that has every word: `pieces` are some words of it, and whether each was looked for."""

    name: str
    page: str
    title: str
    anchor: str
    pieces: tuple[tuple[str, bool], ...]


def find(text: str) -> tuple[tuple[Place, ...], int]:
    """The sections that hold every word of `text`, or longer ones that begin so, the likeliest first; and how
    many there are beyond those given. Raises InvalidRequest where it is too long."""
    words = text.split()
    if len(text) > TEXT_MAX or len(words) > WORDS_MAX:
        raise InvalidRequest(
            f"{len(words)} words of {len(text):,} characters are looked for, of at most {WORDS_MAX} and "
            f"{TEXT_MAX}; use fewer",
            param="text",
        )
    said = [word for word in words if not ASIDE.fullmatch(word)] or words
    patterns = [pattern(word.rstrip("?.,;:!") or word) for word in said]
    phrase = re.compile(re.escape(" ".join(words)), re.IGNORECASE)
    found = []
    for name in sources() if words else ():
        page = document(name)
        for number, section in enumerate(page.sections):
            weight = weigh(page, section, patterns, phrase)
            if weight:
                found.append((-weight * (0.2 if name in LAST else 1), name, number))
    found.sort()
    return tuple(place(*each[1:], patterns, phrase) for each in found[:PLACES_MAX]), max(
        0, len(found) - PLACES_MAX
    )


@lru_cache(maxsize=256)
def pattern(word: str) -> re.Pattern[str]:
    """A word, or the beginning of a longer one, in any case; of a plural also the singular. One of a letter
    or two begins nothing."""
    after = r"(?![^\W_])" if len(word) < 3 else ""
    word = word[:-1] if re.fullmatch(r"[^\W\d_]{3,}[^sS\W\d_][sS]", word) else word
    before = r"(?<![^\W_])" if word[:1].isalnum() else ""
    return re.compile(before + re.escape(word) + after, re.IGNORECASE)


def weigh(
    page: Document, section: Section, patterns: list[re.Pattern[str]], phrase: re.Pattern[str]
) -> float:
    """How likely this is the place; 0 where a word is missing. A word in the heading says most."""
    weight = 0.0
    for each in patterns:
        heading = bool(each.search(section.title))
        times = len(each.findall(section.text))
        if not (heading or times):
            return 0
        weight += 20 * heading + min(times, 5) + 5 * bool(each.search(page.title))
    return weight + 15 * bool(phrase.search(section.title)) + 5 * bool(phrase.search(section.text))


def place(name: str, number: int, patterns: list[re.Pattern[str]], phrase: re.Pattern[str]) -> Place:
    """A section with the words around the place that has most of what was looked for, marked."""
    page = document(name)
    section = page.sections[number]
    marks = re.compile("|".join(each.pattern for each in patterns), re.IGNORECASE)
    hits = [hit for _, hit in zip(range(HITS_MAX), marks.finditer(section.text), strict=False)]

    def near(hit: re.Match[str]) -> int:
        around = section.text[hit.start() : hit.start() + AFTER]
        return sum(bool(each.search(around)) for each in patterns)

    first = phrase.search(section.text) or max(hits, key=near, default=None)
    start = max(0, first.start() - BEFORE) if first else 0
    start = section.text.rfind(" ", 0, start) + 1 if start else 0
    shown = section.text[start : start + BEFORE + AFTER]
    if start + len(shown) < len(section.text):
        shown = shown.rpartition(" ")[0] + " …"
    pieces, at = [("…", False)] if start else [], 0
    for hit in marks.finditer(shown):
        pieces += [(shown[at : hit.start()], False), (hit[0], True)]
        at = hit.end()
    pieces.append((shown[at:], False))
    return Place(name=name, page=page.title, title=section.title, anchor=section.anchor, pieces=tuple(pieces))
