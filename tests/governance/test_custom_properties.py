"""Kinds that policies define themselves, streamed: however a text is cut, what comes out is the same, and is
what Python's own search says of the whole."""

from __future__ import annotations

import contextlib
import re
from functools import cache

import pytest
import re2
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airboss.config.patterns import MATCH_MAX, PatternError, measures, read_pattern
from airboss.domain.release import CustomKind
from airboss.governance.policies import KINDS, binding, custom_of, policy_of
from airboss.governance.screening import HELD_MAX, Action, Screen, ScreeningPolicy, screening_policy
from tests.governance.test_screening_properties import cut, streamed, texts, whole
from tests.governance.whole import Whole

ACTIONS = st.sampled_from(["mask", "tokenize", "block", "observe"])
PATTERNS = (
    r"\bEMP-[0-9]{6}\b",
    r"(?i)mrn[ :#-]{0,3}\d{4,8}",
    r"[A-Z]{2}\d{2}(?:-[A-Z0-9]{1,4}){1,3}",
    r"\bcust(?:omer)?_(?:[a-f0-9]{4}|x{2,3})\b",
    r"a\b[ ,]\bb{1,3}",
    r"ab?c?\B\w{1,2}",
    r"#[^#\n]{2,30}#",
    r"\\\\[a-z]{2,8}\\[a-z]{2,8}",
    r"[ab]{1,3}(?:ba){0,4}c|abab",
)
WORDS = (
    ("Project Falcon", "Project Falconry", "Falcon", "C++", "blue-heron"),
    ("Проект Сокол", "Сокол", "青鷺計画", "naïve plan", "Größe", "ἀετός"),
)
PIECES = st.one_of(
    st.sampled_from(
        [
            "EMP-123456", "EMP-12345", "\\nEMP-000001", "MRN 12345", "mrn#99", "AB12-X9-Y", "customer_00ff",
            "cust_xx", "a b", "a, bbb", "abcd", "#a note#", "\\\\srv\\share", "abababac", "Project Falcon",
            "project\nfalconry", "FALCONS", "falcon_x", "C++", "blue_heron", "Проект  сокол", "СОКОЛЫ",
            "青鷺計画", "naive plan", "na\u0131ve plan", "größe", "αετος", "αετός", "[CODENAME]", "<OWN_1>",
        ]
    ),
    st.text("aAbBcC0123456789EMPmrn#-_ ,:\\nx\u200b\u0301\xe9СОКОЛсокол青鷺計画\uff21\uff10", max_size=10),  # noqa: RUF001 - other scripts are looked for
    st.text(max_size=4),
)  # fmt: skip


def kind(at: int, action: Action) -> CustomKind:
    """One of PATTERNS, or of WORDS behind them."""
    if at < len(PATTERNS):
        return CustomKind(name="own", action=action, pattern=PATTERNS[at])
    return CustomKind(name="codename", action=action, words=WORDS[at - len(PATTERNS)])


def policy(*kinds: CustomKind, builtin: Action | None = None) -> ScreeningPolicy:
    """These kinds, and those that are built in where there is an action for them."""
    said = policy_of(builtin or "observe", None if builtin else (), kinds)
    return screening_policy(binding(said), custom=custom_of(said))


AT = st.integers(0, len(PATTERNS) + len(WORDS) - 1)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(PIECES, max_size=7), places=st.lists(st.integers(0, 2**16), max_size=30), at=AT,
       action=ACTIONS, every=st.booleans())  # fmt: skip
@example(parts=["EMP-123456"], places=[10], at=0, action="mask", every=False)
@example(parts=["EMP-123456", "7"], places=[10], at=0, action="mask", every=False)
def test_every_cutting_gives_the_same(
    parts: list[str], places: list[int], at: int, action: Action, *, every: bool
) -> None:
    """Text, findings and the verdict do not depend on the chunks, for every action."""
    text, chosen = "".join(parts), policy(kind(at, action))
    chunks = list(text) if every else cut(text, places)
    assert streamed(chosen, chunks) == whole(chosen, text)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(own=st.lists(PIECES, max_size=4), text=texts(), places=st.lists(st.integers(0, 2**16), max_size=30),
       ats=st.lists(AT, max_size=4), action=ACTIONS, other=ACTIONS, every=st.booleans())  # fmt: skip
def test_every_cutting_beside_built_in_kinds(  # noqa: PLR0917 - what is drawn
    own: list[str], text: str, places: list[int], ats: list[int], action: Action, other: Action, every: bool
) -> None:
    """The same of several at once, with another action than the kinds that are built in."""
    text = "".join([*own[:2], text, *own[2:]])
    kinds = {kind(at, action).name: kind(at, action) for at in ats}
    chosen = policy(*kinds.values(), builtin=other)
    chunks = list(text) if every else cut(text, places)
    assert streamed(chosen, chunks) == whole(chosen, text)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(own=st.lists(PIECES, max_size=4), text=texts(), at=AT)
def test_the_whole_is_what_the_rules_say(own: list[str], text: str, at: int) -> None:
    """What is masked is what a search of the whole text without any shortcuts finds."""
    text = "".join([*own[:2], text, *own[2:]])
    chosen = policy(kind(at, "mask"), builtin="mask")
    assert whole(chosen, text)[0] == Whole(text, KINDS, (kind(at, "mask"),)).masked()


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(PIECES, max_size=6))
@pytest.mark.parametrize(
    "pattern",
    [r"\bEMP-[0-9]{6}\b", r"EMP.[0-9]{6}", r"[A-Z]{2}\d{2}(?:-[A-Z0-9]{1,4}){1,3}"],
)
def test_a_pattern_finds_what_python_finds(pattern: str, parts: list[str]) -> None:
    """Of plain text, what Python's own engine finds, whose first match is the longest of these."""
    text = "".join(parts).encode("ascii", "ignore").decode().replace("\\", "/").replace("\x00", " ")
    expected = re.sub(pattern, "[OWN]", text, flags=re.ASCII)
    own = policy(CustomKind(name="own", action="mask", pattern=pattern))
    assert whole(own, text)[0] == expected


@pytest.mark.parametrize("at", range(len(PATTERNS) + len(WORDS)))
def test_every_cut_of_every_sample(at: int) -> None:
    """Samples in two pieces and three, cut everywhere."""
    samples = (
        "x EMP-123456, EMP-1234567 \\nEMP-654321", "MRN: 123456789 mrn-1", "AB12-X-YYYY-ZZ", "customer_00ff1",
        "cust_xxx cust_xxxx", "a bbb a,b", "abcd acde", "#ab##cd#", "\\\\srv\\share\\x", "abababab cbac",
        "Project Falconry Project  Falcon! falcon-x C++", "blue    heron",
        "Проект Сокол, соколы 青鷺計画 größe",
    )  # fmt: skip
    own = policy(kind(at, "mask"))
    for text in samples:
        expected = whole(own, text)
        for place in range(len(text)):
            assert streamed(own, [text[:place], text[place:]]) == expected
            thirds = [text[:place], text[place : place + 2], text[place + 2 :]]
            assert streamed(own, thirds) == expected


def test_what_is_held_back_is_bounded() -> None:
    """Whatever a pattern asks for, no more is held than of the kinds that are built in."""
    longest = policy(
        CustomKind(name="own", action="mask", pattern="x[a-z]{255}"),
        CustomKind(name="codename", action="mask", words=("a b " * 15 + "a b",)),
    )
    for text in ("x" * 2000, "a  b  " * 400, "x" + "a" * 255 + "b"):
        screen = Screen(longest)
        for letter in text:
            screen.feed(letter)
            assert screen.held <= HELD_MAX
        assert len(text) <= MATCH_MAX + 1 or screen.held < len(text) / 2


EVERY_ATOM = (
    "a", "b", ".", "[ab]", r"\d", "[^a]", r"\b", r"\B", " ", r"\.", "(?i:a)", "-", r"\w", r"\W", r"\D", r"\s",
    r"\S", "[[:alpha:]]", "[^[:digit:]-]", "[]a]", r"[\d.]", r"[\]a]", "{", "}", "]", "a{2}", "b{0,2}", "0?",
    r"\-", r"\{", "/", "#", ",", "&", "~", "(a|.)", ".{1,2}", r"(?i:[a-c])", r"[^\W_]", "(?:)",
)  # fmt: skip
ATOMS = st.sampled_from(EVERY_ATOM)


@st.composite
def patterns(draw: st.DrawFn, depth: int = 2) -> str:
    """Patterns of every form that is read."""
    if depth == 0:
        return draw(ATOMS)
    inner = several(depth - 1)
    joined = draw(inner)
    match draw(st.integers(0, 3)):
        case 0:
            return joined
        case 1:
            return f"(?:{joined}|{draw(inner)})"
        case 2:
            low = draw(st.integers(0, 2))
            return f"(?:{joined}){{{low},{low + draw(st.integers(0, 2))}}}"
    return f"({joined})?"


@cache
def several(depth: int) -> st.SearchStrategy[str]:
    """One to three patterns, one behind another. Made once: that takes longer than to draw from it."""
    return st.lists(patterns(depth=depth), min_size=1, max_size=3).map("".join)


def by_re2(pattern: str, text: str) -> str:
    """What RE2 makes of a pattern as it was written."""
    options = re2.Options()
    options.longest_match = True
    compiled, done = re2.compile(pattern, options), 0
    parts: list[str] = []
    while (found := compiled.search(text, done)) is not None:
        parts += (text[done : found.start()], "[OWN]")
        done = found.end()
    return "".join((*parts, text[done:]))


@pytest.mark.parametrize("atom", EVERY_ATOM)
def test_each_part_means_what_re2_says_of_it(atom: str) -> None:
    """Between two letters that stay, for every character that may be there."""
    pattern = f"xy{atom}z"
    own = policy(CustomKind(name="own", action="mask", pattern=pattern))
    for code in range(128):
        text = f"xy{chr(code)}z xyz xy{chr(code)}{chr(code)}z xy.{chr(code)}z"
        assert whole(own, text)[0] == by_re2(pattern, text), text


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(pattern=patterns(depth=3), text=st.text("abAB 0.-{}],#/\n", max_size=40), cased=st.booleans())
def test_a_pattern_means_what_re2_says_of_it(pattern: str, text: str, *, cased: bool) -> None:
    """Read into a tree and written again it finds what it finds as it stands."""
    pattern = f"(?i){pattern}" if cased else pattern
    with contextlib.suppress(PatternError):
        read_pattern(pattern)
        own = policy(CustomKind(name="own", action="mask", pattern=pattern))
        assert whole(own, text)[0] == by_re2(pattern, text)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@example(pattern=r"\Ba\d", text="0a00", places=[], every=True)
@example(pattern=r"\b[.]a", text="0.a", places=[], every=True)
@given(pattern=patterns(depth=3), text=st.text("abAB 0.-\xe9\u200b\\n", max_size=40),
       places=st.lists(st.integers(0, 50), max_size=12), every=st.booleans())  # fmt: skip
def test_any_pattern_that_is_read(pattern: str, text: str, places: list[int], *, every: bool) -> None:
    """Whatever is let through streams as the whole does, and matches no more than was measured."""
    try:
        node = read_pattern(pattern)
    except PatternError:
        return
    own = policy(CustomKind(name="own", action="mask", pattern=pattern))
    chunks = list(text) if every else cut(text, places)
    assert streamed(own, chunks) == whole(own, text)
    assert (
        whole(own, text)[0]
        == Whole(text, (), (CustomKind(name="own", action="mask", pattern=pattern),)).masked()
    )
    found = re2.search(pattern, text)
    measured = measures(node)
    assert found is None or measured.shortest <= len(found[0]) <= measured.longest
