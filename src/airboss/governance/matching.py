"""The detectors of some kinds, compiled, and the values they find in a stretch of shadow."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any

import re2

from airboss.domain.release import CustomKind
from airboss.governance.candidates import Detector, Kind
from airboss.governance.detectors import DETECTORS
from airboss.governance.policies import NAMED
from airboss.governance.shapes import Shape

_DFA_BYTES = 32 << 20  # at most, and seldom a tenth of it; a set of patterns has no way to match but its DFA
_OWN_DFA_BYTES = 4 << 20  # of each kind that a policy defines: beyond it a search goes on without a DFA
_BACKSLASH = ord("\\")


def _options(dfa_bytes: int = _DFA_BYTES) -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.longest_match = True
    options.never_capture = True
    options.log_errors = False
    options.max_mem = dfa_bytes
    return options


_Search = Callable[[bytes, int], tuple[int, int]]
"""The first match at a place or behind it; (-1, -1) if there is none."""


_UNANCHORED = re2._Anchor.UNANCHORED


def _matching(pattern: str, options: re2.Options) -> Any:
    # What re2's own `search` calls: the generator and the match that it makes take four times as long. Not
    # by re2's `compile`, which keeps what nobody needs any more.
    return re2._Regexp(pattern.encode("latin-1"), options)._regexp.Match


def _search(pattern: str, options: re2.Options) -> _Search:
    match = _matching(pattern, options)

    def search(shadow: bytes, place: int) -> tuple[int, int]:
        found: tuple[int, int] = match(_UNANCHORED, shadow, place, len(shadow))[0]
        return found

    return search


_Hints = Callable[[bytes], Sequence[int]]


def _hints(detectors: Sequence[Detector], options: re2.Options) -> _Hints:
    """What tells which of these may have a candidate in a shadow."""
    found = re2.Set.SearchSet(options)
    for detector in detectors:
        found.Add(detector.shape.loose.encode("latin-1"))
    found.Compile()
    match: _Hints = found._set.Match  # the set's own, for the same reason
    return match


class Matcher:
    """The detectors of some kinds, those that policies define themselves before the others. Immutable; safe
    to share by threads."""

    def __init__(self, kinds: Collection[str], custom: tuple[CustomKind, ...] = ()) -> None:
        options = _options()
        own: tuple[Detector, ...] = ()
        if custom:
            from airboss.governance.custom import detectors_of  # noqa: PLC0415 - few policies have such kinds

            own = tuple(detector for detector in detectors_of(custom) if detector.kind in kinds)
        built_in = tuple(detector for detector in DETECTORS if detector.kind in kinds)
        self.detectors = (*own, *built_in)
        bounded = _options(_OWN_DFA_BYTES)
        self.searches = tuple(
            _search(detector.shape.exact, bounded if at < len(own) else options)
            for at, detector in enumerate(self.detectors)
        )
        self.longest = max((detector.longest for detector in self.detectors), default=0)
        self.by_text = any(detector.by_text for detector in own)
        """Whether the text itself is asked for, beside its shadow."""
        openings = "|".join(detector.opening for detector in self.detectors)
        self._open_end = _matching(f"(?:{openings})\\z", options)
        self.hints = _hints(built_in, options)
        """Which detectors may have a candidate in a shadow, by their places; most text has none."""
        if own:
            self.hints = self._both(_hints(own, options), self.hints, len(own))

    @staticmethod
    def _both(own: _Hints, built_in: _Hints, behind: int) -> _Hints:
        """The hints of two sets: what a policy defines must not slow down what is built in."""

        def hints(shadow: bytes) -> Sequence[int]:
            return [*own(shadow), *[behind + at for at in built_in(shadow)]]

        return hints

    def decided(self, shadow: bytes, base: int) -> int:
        """The place before which no candidate can change by what follows; at least `base`."""
        # A candidate that began earlier than the longest one would have to has ended, whatever is open.
        size = len(shadow)
        start: int = self._open_end(_UNANCHORED, shadow, base, size)[0][0]
        return max(start if start >= 0 else size, size - self.longest, base)


@lru_cache(maxsize=128)  # as many as there are sets of kinds
def _built_in(kinds: frozenset[str]) -> Matcher:
    return Matcher(kinds)


@lru_cache(maxsize=64)  # of a thousand words one takes 13 MB, and lists are edited
def _custom(kinds: frozenset[str], custom: tuple[CustomKind, ...]) -> Matcher:
    return Matcher(kinds, custom)


def matcher(kinds: frozenset[str], custom: tuple[CustomKind, ...] = ()) -> Matcher:
    """The detectors of these kinds, compiled once."""
    return _custom(kinds, custom) if custom else _built_in(kinds)


class Value:
    """A value found and not yet replaced. Its places are in the shadow at hand, or before that (negative)."""

    __slots__ = ("at", "detector", "end", "from_raw", "grown", "mark", "start")

    def __init__(self, detector: Detector, at: int, start: int, end: int) -> None:
        self.detector = detector
        self.at = at  # the detector's place among its matcher's
        self.start = start
        self.end = end
        self.grown = detector.grows is None
        self.mark: hashlib._Hash | None = None
        self.from_raw = -1  # where in the whole text it begins, once known

    def sign(self, shadow: bytes) -> None:
        """Begins its identity: the SHA-256 of its kind and what all its spellings have in common."""
        self.mark = hashlib.sha256(f"{self.detector.kind}:".encode())
        self.mark.update(self.detector.canonical(shadow[self.start : self.end]))

    def sign_text(self, text: str) -> None:
        """The same by the text itself, in whose shadow all letters beyond ASCII are one."""
        spelled = self.detector.spelled(text)
        self.mark = hashlib.sha256(f"{self.detector.kind}:{spelled}".encode(errors="replace"))

    def copied(self) -> Value:
        """Another that may grow otherwise."""
        other = copy.copy(self)
        other.mark = None if self.mark is None else self.mark.copy()
        return other

    def grow(self, shadow: bytes) -> None:
        """Takes in what belongs to it of what came since. Nothing does once it has grown."""
        if self.detector.grows is not None and not self.grown:
            end, self.grown = self.detector.grows(shadow, self.start, self.end)
            if self.mark is not None:
                self.mark.update(shadow[self.end : end])
            self.end = end


_NOWHERE = Shape(exact="", loose="", opening="", longest=0)
_BEHIND_ALL = 1 << 16
_NAMES: dict[Kind, Detector] = {kind: Detector(kind=kind, name=kind, shape=_NOWHERE) for kind in NAMED}
"""For the values that a model finds: they have a kind, and nothing to match."""


def named(kind: Kind, start: int, text: str, *, signed: bool) -> Value:
    """The value that a name is."""
    value = Value(_NAMES[kind], _BEHIND_ALL + NAMED.index(kind), start, start + len(text))
    if signed:  # by the text and not its shadow, in which all letters beyond ASCII are one
        value.mark = hashlib.sha256(f"{kind}:{' '.join(text.casefold().split())}".encode(errors="replace"))
    return value


def confirmed(detector: Detector, at: int, shadow: bytes, start: int, end: int) -> Value | None:
    """The value in a candidate, if there is one."""
    if shadow[start] == _BACKSLASH and detector.escaped:
        start += 2  # an escape that a word may begin behind: candidates.START
    before = shadow[max(0, start - detector.left) : start]
    span = detector.confirm(before, shadow[start:end], shadow[end : end + detector.right])
    return None if span is None else Value(detector, at, start + span[0], start + span[1])
