"""Names of people, places and organizations, which no pattern finds: how a text is cut for the model that
does, and what is known of the pieces.

A piece ends with a sentence or a line once it has PIECE_MIN characters, and at a blank before it has more
than PIECE_MAX. Where it ends depends on the text alone, and a piece is judged by itself; so what is found in
a text does not depend on how it came.

Nothing here asks the model: that takes a while and is another process's work (`recogniser.py`). A text is
read ahead, by a screen whose `Names` write down what is not known; that is asked; then it is read.
"""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final

from airboss.domain.errors import Unavailable
from airboss.governance.candidates import Kind
from airboss.governance.policies import ALL, NAMES_AWAY

PIECE_MIN: Final = 80
PIECE_MAX: Final = 400

Spans = tuple[tuple[int, int, Kind], ...]
"""Names in a piece, from left to right: the place of each one's first character and of the one after its
last, and what it names."""

# Not behind an initial or a title, which names go on behind.
_END = re.compile(
    r"""(?:(?<!\b[A-Za-z])(?<!\b(?:Dr|Mr|Ms|St|Jr|Sr))(?<!\b(?:Mrs|Rev))(?<!\bProf)\.|[!?\u2026])"""
    r"""["')\]\u201d\u2019\xbb]*\s|[\u3002\uff01\uff1f]|\n"""
)
_WORD = re.compile(r"[^\W\d_]{2}")


def _placeholder(kinds: Iterable[str]) -> re.Pattern[str]:
    """What stands in place of a value of one of these kinds."""
    return re.compile(rf"[\[<](?:{'|'.join(kind.upper() for kind in kinds)})(?:_[a-z0-9]{{1,9}})?[\]>]")


_PLACEHOLDER = _placeholder(ALL)
_LINE = re.compile(r"[^\r\n]+")
_EDGES = " \t\f\v.,;:!?\"'()[]{}<>*_`#|/\\\u201c\u201d\u2018\u2019\xab\xbb\u2026"
_OWNS = ("'s", "\u2019s")


class Cutter:
    """Cuts a text that comes in pieces into those that are judged."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> Iterator[str]:
        """The pieces that are whole by now. To be read to its end."""
        self._rest += text
        done = 0
        while end := _end(self._rest[done : done + PIECE_MAX]):
            yield self._rest[done : done + end]
            done += end
        self._rest = self._rest[done:]

    def finish(self) -> Iterator[str]:
        """The last piece: the text is complete."""
        rest, self._rest = self._rest, ""
        if rest:
            yield rest


def _end(window: str) -> int:
    """Where the first piece of a text ends of which these are the first PIECE_MAX characters, or all; 0 where
    that depends on what follows."""
    for found in _END.finditer(window):
        if found.end() >= PIECE_MIN:
            return found.end()
    if len(window) < PIECE_MAX:
        return 0
    blank = next((at for at in range(len(window) - 1, 0, -1) if window[at].isspace()), 0)
    between = blank or next((at for at in range(len(window) - 1, 0, -1) if not window[at].isalnum()), 0)
    return between + 1 if between else len(window)


def plain(text: str, left_out: Iterable[tuple[int, int]]) -> str:
    """A text with one character for each of its shadow (shadow.py); `left_out` tells what that lacks."""
    parts: list[str] = []
    done = gone = 0
    for place, count in left_out:
        parts.append(text[done : place + gone])
        gone += count
        done = place + gone
    parts.append(text[done:])
    return _SPECIAL.sub(_usual, "".join(parts))


_SPECIAL = re.compile(r"[\xa0\u2000-\u200a\u202f\u3000\uff01-\uff5e\U0001d400-\U0001d7ff]")


def _usual(letter: re.Match[str]) -> str:
    usual = unicodedata.normalize("NFKC", letter[0])
    return usual if len(usual) == 1 else letter[0]


class Names:
    """What is known of the pieces of one call's texts. What is not, `find` finds; or, `ahead`, it is written
    down in `missing` and taken for nothing; else it is an error."""

    __slots__ = ("_ahead", "_find", "known", "missing")

    def __init__(
        self,
        known: dict[str, Spans] | None = None,
        *,
        ahead: bool = False,
        find: Callable[[str], Spans] | None = None,
    ) -> None:
        self.known: dict[str, Spans] = {} if known is None else known
        self.missing: dict[str, None] = {}
        self._ahead = ahead
        self._find = find

    def reading_ahead(self) -> Names:
        """The same for who reads ahead."""
        return Names(self.known, ahead=True)

    def spans(self, piece: str) -> Spans:
        """The names in a piece. Raises Unavailable where they are not known."""
        if _WORD.search(piece) is None:
            return ()
        known = self.known.get(piece)
        if known is not None:
            return known
        if self._find is not None:
            return self._find(piece)
        if not self._ahead:
            raise away("a text was not read ahead")
        self.missing[piece] = None
        return ()


def _apart(spans: Iterable[tuple[int, int, Kind]], placeholders: Iterable[re.Match[str]]) -> Spans:
    """The names that touch no placeholder."""
    taken = [match.span() for match in placeholders]
    return tuple(
        span for span in spans if not any(span[0] < there[1] and there[0] < span[1] for there in taken)
    )


class NameFinder:
    """Finds the names in one text that comes in pieces, given as `plain` makes it. Places are in the whole
    text, and so is `decided`: before it all names are known. What touches a placeholder of one of the kinds
    `labels` is no name."""

    __slots__ = ("_cutter", "_kinds", "_names", "_ours", "decided")

    def __init__(self, names: Names, kinds: Collection[Kind], labels: tuple[str, ...] = ()) -> None:
        self._names = names
        self._ours = _placeholder(labels) if labels else None
        self._kinds = kinds
        self._cutter = Cutter()
        self.decided = 0

    def copied(self) -> NameFinder:
        """Another that reads on from here."""
        other = copy.copy(self)
        other._cutter = copy.copy(self._cutter)
        return other

    def feed(self, text: str, *, last: bool = False) -> list[tuple[int, Kind, str]]:
        """The names in the pieces that are whole by now; `last`: all are. Each is its place, its kind and
        itself. Raises Unavailable."""
        found = []
        for pieces in (self._cutter.feed(text), self._cutter.finish() if last else ()):
            for piece in pieces:
                spans = self._names.spans(piece)
                if self._ours is not None and spans:
                    spans = _apart(spans, self._ours.finditer(piece))
                for start, end, kind in spans:
                    if kind in self._kinds:
                        found.append((self.decided + start, kind, piece[start:end]))
                self.decided += len(piece)
        return found


def away(why: str) -> Unavailable:
    """The error for a call whose names cannot be looked for."""
    return Unavailable(
        f"a policy looks for names, and cannot now: {why}; nothing passes unread, so try again shortly",
        code=NAMES_AWAY,
        retry_after_s=1,
    )


def tidied(piece: str, found: Sequence[tuple[int, int, Kind]]) -> Spans:
    """What a model found in a piece, as we take it: within a line, without marks around it or a genitive's s,
    and nothing that touches a placeholder."""
    spans: list[tuple[int, int, Kind]] = []
    for first, last, kind in found:
        for line in _LINE.finditer(piece, first, last):
            start, end = line.span()
            text = piece[start:end].rstrip(_EDGES)
            text = text[:-2].rstrip(_EDGES) if text.endswith(_OWNS) else text
            end = start + len(text)
            start = end - len(text.lstrip(_EDGES))
            if _WORD.search(text):
                spans.append((start, end, kind))
    return _apart(spans, _PLACEHOLDER.finditer(piece))
