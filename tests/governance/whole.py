"""What screening should come to, told in the plainest way: the oracle that streaming is compared with.

It looks at the whole text, asks every detector everywhere, and uses none of what makes streaming possible:
no openings, no hints, no horizon.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any

import re2

from airboss.domain.release import CustomKind
from airboss.governance.candidates import Detector
from airboss.governance.custom import detectors_of
from airboss.governance.detectors import DETECTORS
from airboss.governance.names import plain
from airboss.governance.policies import KINDS
from airboss.governance.shadow import Caster

_OPTIONS = re2.Options()
_OPTIONS.encoding = re2.Options.Encoding.LATIN1
_OPTIONS.longest_match = True


_WRITTEN = re.compile(r"\\{1,4}u[0-9a-fA-F]{4}|.", re.DOTALL)
"""A character, as it may be written."""


def _pattern(detector: Detector) -> Any:
    return re2.compile(detector.shape.exact.encode("latin-1"), _OPTIONS)  # re2 keeps those it has compiled


class Whole:
    """A text and the values in it, each a kind and its place in the text, in order."""

    def __init__(
        self, text: str, kinds: tuple[str, ...] = KINDS, custom: tuple[CustomKind, ...] = ()
    ) -> None:
        self.text = text
        written = _WRITTEN.findall(text)
        read = "".join(chr(int(each[-4:], 16)) if len(each) > 1 else each for each in written)
        self._at = [0, *accumulate(map(len, written))]
        self.shadow, gaps = Caster().cast(read)
        self.plain = plain(read, gaps)
        self._starts = self._places(gaps)
        found = [
            (start, rank, end, detector.kind)
            for rank, detector in enumerate((*detectors_of(custom), *DETECTORS))
            if detector.kind in kinds or rank < len(detectors_of(custom))
            for start, end in self._values(detector)
        ]
        self.values = [
            (kind, self._starts[start], self._starts[end]) for start, _, end, kind in sorted(found)
        ]

    def _places(self, gaps: tuple[tuple[int, int], ...]) -> list[int]:
        """For each place in the shadow, and its end, where that is in the text."""
        left_out = dict.fromkeys(range(len(self.shadow) + 1), 0)
        for place, count in gaps:
            left_out[place] += count
        starts, total = [], 0
        for place in range(len(self.shadow) + 1):
            total += left_out[place]
            starts.append(self._at[place + total])
        return starts

    def _values(self, detector: Detector) -> list[tuple[int, int]]:
        values, place, shadow = [], 0, self.shadow
        while (match := _pattern(detector).search(shadow, place)) is not None:
            start, end = match.span()
            begin = start + 2 if shadow[start : start + 1] == b"\\" and detector.escaped else start
            before = shadow[max(0, begin - detector.left) : begin]
            span = detector.confirm(before, shadow[begin:end], shadow[end : end + detector.right])
            if span is None:
                place = end if detector.skips else start + 1
                continue
            first, last = begin + span[0], begin + span[1]
            if detector.judge is not None:
                judged = detector.judge(self.plain, first, last)
                if judged is None:
                    place = start + 1
                    continue
                last = first + judged[1]
            if detector.grows is not None:
                last, _ = detector.grows(shadow, first, last)
            values.append((first, last))
            place = last
        return values

    def masked(self) -> str:
        """The text with every covered character replaced."""
        parts, done, covered_by = [], 0, ""
        for kind, start, end in self.values:
            if end <= done:
                continue
            parts.append(self.text[done:start])
            if not (start < done and kind == covered_by):
                parts.append(f"[{kind.upper()}]")
            done, covered_by = end, kind
        return "".join((*parts, self.text[done:]))
