"""Openings and lengths are derived rightly: streaming rests on this and nothing else."""

from __future__ import annotations

import re

import pytest
import re2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airboss.governance.detectors import DETECTORS
from airboss.governance.shapes import Shape, chars, either, many, maybe, seq, word

_OPTIONS = re2.Options()
_OPTIONS.encoding = re2.Options.Encoding.LATIN1


def matches(pattern: str, text: bytes) -> bool:
    """Whether a pattern matches all of a text."""
    return re2.compile(pattern.encode("latin-1"), _OPTIONS).fullmatch(text) is not None


def check(shape: Shape, text: bytes) -> None:
    """`text` is a match of `shape.exact`."""
    assert len(text) <= shape.longest
    assert matches(shape.loose, text)
    for end in range(1, len(text) + 1):
        assert matches(shape.opening, text[:end]), text[:end]


@pytest.mark.parametrize("name", [detector.name for detector in DETECTORS])
@settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_every_beginning_of_a_candidate_is_open(name: str, data: st.DataObject) -> None:
    """Whatever a detector may match, every beginning of it is an opening, and it is within the bound."""
    shape = next(detector.shape for detector in DETECTORS if detector.name == name)
    check(shape, data.draw(st.from_regex(re.compile(shape.exact.encode("latin-1")), fullmatch=True)))


PARTS = st.recursive(
    st.one_of(
        st.text("abA", min_size=1, max_size=3).map(word),
        st.tuples(st.sampled_from(["[ab]", "[0-9]"]), st.integers(0, 3), st.integers(0, 30)).map(
            lambda drawn: chars(drawn[0], drawn[1], drawn[1] + drawn[2])
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: seq(*parts)),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: either(*parts)),
        inner.map(maybe),
        st.tuples(inner, st.integers(0, 2), st.integers(1, 3)).map(
            lambda drawn: many(drawn[0], drawn[1], drawn[1] + drawn[2])
        ),
    ),
    max_leaves=5,
)


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(shape=PARTS, data=st.data())
def test_any_shape(shape: Shape, data: st.DataObject) -> None:
    """The same for shapes of any make, also of one character's class repeated."""
    text = data.draw(st.from_regex(re.compile(shape.exact.encode()), fullmatch=True))
    check(shape, text)


@settings(max_examples=150, deadline=None)
@given(shape=PARTS, text=st.text("abA01", max_size=8).map(str.encode))
def test_an_opening_begins_with_openings(shape: Shape, text: bytes) -> None:
    """What is open was open all along: a text that was released cannot come to be held."""
    if matches(shape.opening, text):
        assert all(matches(shape.opening, text[:end]) for end in range(len(text)))
