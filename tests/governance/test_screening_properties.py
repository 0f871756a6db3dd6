"""However a text is cut, what comes out is the same, and is what the plainest reading of the rules says."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import pairwise

import pytest
from benchmarks.screening import as_events, compare, held_back
from benchmarks.screening_texts import BETWEEN, VALUES, WORDS, ordinary_text, text_with_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airboss.governance.policies import KINDS
from airboss.governance.screening import Action, Screen, ScreeningPolicy, screen_text
from airboss.governance.tokens import Tokens
from tests.governance.detector_samples import samples
from tests.governance.whole import Whole
from tests.support.policies import one_action

STREAMS = 500
KEY = b"some key"


def escaped(text: str, backslashes: int) -> str:
    """Some of its characters written out, as JSON may have them."""
    slashes = "\\" * backslashes
    return "".join(f"{slashes}u{ord(each) & 0xFFFF:04x}" if ord(each) % 3 else each for each in text)


LINES = [text for text, _ in samples()]
PIECES = st.one_of(
    st.sampled_from(LINES),
    st.sampled_from(WORDS),
    st.sampled_from(BETWEEN),
    st.integers(0, 2**32).map(random.Random).map(lambda source: source.choice(VALUES)(source)),
    st.text(max_size=6),
    st.builds(json.dumps, st.one_of(st.sampled_from(LINES), st.text(max_size=6))),
    st.builds(
        escaped,
        st.one_of(st.sampled_from(LINES), st.text("4a@ \u200b\xe9\\", max_size=12)),
        st.integers(1, 5),
    ),
    st.text("0123456789 -.()+@:/=\\n\"'aefjkpswxyzABDEGKIN_\u200b\u0301\xe9", max_size=12),
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Values, near-values and anything else, side by side; some cut short at either end."""
    parts = draw(st.lists(PIECES, max_size=6))
    for at in range(len(parts)):
        if parts[at] and draw(st.booleans()):
            start = draw(st.integers(0, len(parts[at]) - 1))
            parts[at] = parts[at][start:] if draw(st.booleans()) else parts[at][: start + 1]
    return "".join(parts)


def cut(text: str, places: list[int]) -> list[str]:
    """The text cut at these places, taken modulo its length."""
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(edges)]


def streamed(policy: ScreeningPolicy, chunks: list[str]) -> tuple[str, object, bool]:
    """What a Screen makes of the chunks."""
    screen = Screen(policy, Tokens(KEY))
    text = "".join([*map(screen.feed, chunks)]) + screen.finish()
    return text, screen.findings, screen.blocked


def whole(policy: ScreeningPolicy, text: str) -> tuple[str, object, bool]:
    """What it makes of the whole."""
    screened = screen_text(policy, text, Tokens(KEY))
    return screened.text, screened.findings, screened.blocked


LONG = "-----BEGIN PRIVATE KEY-----\n" + "A" * 64
EDGES = {
    "invisible ones around and within": "a\u200b4111\u200b1111\u200b1111\u200b1111\u200b",
    "more of them than are overlooked": "4111"
    + "\u200b" * 12
    + "111111111111 4111"
    + "\u200b" * 8
    + "111111111111",
    "one behind a key's end": LONG + "\u200b\u200b\n-----END PRIVATE KEY-----\u200b",
    "a key in a key that does not end": LONG + " z" * 5_000 + LONG + " z" * 5_000,
    "a key that ends at the limit": LONG + "A" * (16_384 - len(LONG) - 25) + "-----END PRIVATE KEY-----",
    "keys in a key": "ghp_" + "a1B2" * 20 + "-ghp_" + "a1B2" * 20,
    "escaped": json.dumps(
        "jürgen.müller@example.com \u200b\u200b4111\u200b 1111 1111 1111\u200b é\u0301\u200b\xa0"
    ),
    "escapes that are none": "\\u00f \\u 4111111111111111\\u004 \\\\\\\\\\u0040 \\uD83D\\ude00 a\\u0040b.de",
    "the longest token": "eyJ" + "a" * 400 + "." + "b" * 8 + " eyJ" + "a" * 399 + "." + "b" * 8,
}


@pytest.mark.parametrize("action", ["mask", "tokenize", "block", "observe"])
@pytest.mark.parametrize("text", EDGES.values(), ids=EDGES.keys())
def test_edges(text: str, action: Action) -> None:
    """What random texts seldom reach: cut into single characters it comes out as the whole does."""
    policy = one_action(action)
    assert streamed(policy, list(text)) == whole(policy, text)


@pytest.mark.parametrize("local", [63, 64, 70])
@pytest.mark.parametrize("domain", [199, 200, 201])
@pytest.mark.parametrize("top", [23, 24, 25])
def test_the_longest_candidate(local: int, domain: int, top: int) -> None:
    """A candidate as long as can be, and longer ones, when nothing else makes the screen hold more."""
    policy = one_action(kinds=("email",))
    text = "x" * local + "%40b" + "c" * domain + "." + "d" * top + " " + "x" * 9
    assert streamed(policy, list(text)) == whole(policy, text)
    assert whole(policy, text)[0] == Whole(text, ("email",)).masked()


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=texts(), places=st.lists(st.integers(0, 2**16), max_size=30), action=st.sampled_from(
    ["mask", "tokenize", "block", "observe"]), every=st.booleans())  # fmt: skip
def test_every_cutting_gives_the_same(text: str, places: list[int], action: Action, every: bool) -> None:
    """Text, findings and the verdict do not depend on the chunks, for every action."""
    policy = one_action(action)
    chunks = list(text) if every else cut(text, places)
    assert streamed(policy, chunks) == whole(policy, text)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=texts(), kinds=st.sets(st.sampled_from(KINDS), min_size=1))
def test_the_whole_is_what_the_rules_say(text: str, kinds: set[str]) -> None:
    """The machine masks what a search of the whole text without its shortcuts finds, no more and no less."""
    chosen = tuple(kind for kind in KINDS if kind in kinds)
    assert screen_text(one_action(kinds=chosen), text).text == Whole(text, chosen).masked()


@settings(max_examples=150, deadline=None)
@given(text=st.text(), places=st.lists(st.integers(0, 2**16), max_size=10))
def test_any_text(text: str, places: list[int]) -> None:
    """The same for text of any characters, lone surrogates too."""
    policy = one_action()
    assert streamed(policy, cut(text, places)) == whole(policy, text) == streamed(policy, list(text))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=texts())
def test_block_releases_what_stands_before_the_first_value(text: str) -> None:
    """What a blocked text releases is its beginning up to the first value, so no part of any."""
    values = Whole(text).values
    expected = text[: min(start for _, start, _ in values)] if values else text
    assert screen_text(one_action("block"), text).text == expected


@pytest.mark.parametrize("line", range(len(LINES)))
def test_every_cut_of_every_sample(line: int) -> None:
    """Each sample in two pieces, cut everywhere."""
    policy, text = one_action(), LINES[line]
    expected = whole(policy, text)
    assert all(streamed(policy, [text[:place], text[place:]]) == expected for place in range(len(text)))


def test_seeded_streams() -> None:
    """Random streams full of values: no leak, no difference. `python -m benchmarks.screening` does 10,000."""
    assert compare(STREAMS, held_back) == {"streams": STREAMS, "leaks": 0, "differences": 0}
    assert compare(150, as_events) == {"streams": 150, "leaks": 0, "differences": 0}


def test_ordinary_text_is_left_alone() -> None:
    """Prose, code, logs and tables hold next to nothing: some long numbers pass every test of a card's."""
    found = Counter[str]()
    for seed in range(100):
        found.update(screen_text(one_action(), ordinary_text(seed)).findings)
    assert set(found) <= {"card"}
    assert found["card"] <= 12  # of 260,000 characters, with 500 numbers of up to 18 digits


def test_seeded_streams_by_the_rules() -> None:
    """What comes out of them is what the rules say of the whole."""
    policy = one_action()
    for seed in range(STREAMS, STREAMS + 300):
        text, _ = text_with_values(seed)
        assert screen_text(policy, text).text == Whole(text).masked(), seed
