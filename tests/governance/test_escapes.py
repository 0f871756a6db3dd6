r"""Values in texts that are JSON, whose characters are written as `\u00fc`, are found as others are."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from airboss.domain.release import CustomKind
from airboss.governance import escapes
from airboss.governance.names import Names, Spans
from airboss.governance.screening import HELD_MAX, Screen, ScreeningPolicy, screen_text, screening_policy
from airboss.governance.shadow import INVISIBLE_MAX
from airboss.governance.tokens import Tokens
from tests.support.policies import one_action

OWN = (CustomKind(name="project", action="mask", words=("Blauer Würfel", "蓝鹭")),)
PROJECT = screening_policy({"project": "mask"}, custom=OWN)


def streamed(policy: ScreeningPolicy, text: str, tokens: Tokens | None = None) -> str:
    """What comes of a text in single characters."""
    screen = Screen(policy, tokens)
    return "".join(map(screen.feed, text)) + screen.finish()


def deep(value: object, times: int) -> str:
    """JSON, within JSON if it is to be."""
    for _ in range(times):
        value = json.dumps(value)
    return str(value)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_json_in_a_text(times: int) -> None:
    """As results of tools are, however often it was put into another; what else is escaped stays as it is."""
    policy = one_action()
    for value, mask in (
        ("jürgen.müller@klinik.example.com", "[EMAIL]"),
        ("4111\u00a01111\u00a01111\u00a01111", "[CARD]"),
        ("ghp_a1B2a1B2a1B2\u200ba1B2a1B2a1B2a1B2a1B2a1B2", "[SECRET]"),
    ):
        text = deep({"für": f"é {value} é"}, times)
        expected = deep({"für": f"é {mask} é"}, times)
        assert (screen_text(policy, text).text, streamed(policy, text)) == (expected, expected)
    assert screen_text(PROJECT, deep(["蓝鹭: blauer WÜRFEL"], times)).text == deep(
        ["[PROJECT]: [PROJECT]"], times
    )


ASTRAL = (CustomKind(name="plan", action="mask", words=("𠮷野家 plan", "𐐷𐐷 x")),)


def bold(text: str) -> str:
    """In mathematical letters, which are beyond U+FFFF and read as plain ones."""
    return "".join(chr(ord(each) - ord("a") + 0x1D41A) if each.isalpha() else each for each in text)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_character_of_two_halves(times: int) -> None:
    """One beyond U+FFFF is one character, however it is written and wherever a stream is cut."""
    policy = screening_policy({"plan": "mask", "email": "mask"}, custom=ASTRAL)
    for value, mask in (
        ("𠮷野家 Plan", "[PLAN]"),
        ("𐐷𐐷@example.com", "𐐷𐐷@example.com"),
        (bold("jane@example.com"), "[EMAIL]"),
        ("jane\U000e0101@example.com", "[EMAIL]"),
    ):
        text = deep([f"😀 {value} 😀"], times)
        expected = deep([f"😀 {mask} 😀"], times)
        assert (screen_text(policy, text).text, streamed(policy, text)) == (expected, expected)
        capitals = re.sub(r"(?<=\\u)[0-9a-f]{4}", lambda found: found[0].upper(), text)
        assert screen_text(policy, capitals).findings == screen_text(policy, text).findings
    for cut in range(len(text)):
        screen = Screen(policy)
        assert screen.feed(text[:cut]) + screen.feed(text[cut:]) + screen.finish() == expected


@pytest.mark.parametrize(
    "half", ["\\ud83d", "\\ude00", "\\ud83d\\ud83d", "\\ud83dx", "\\ud83d\\u00e", "\\ud83d" + "\\" * 6]
)
def test_half_a_character(half: str) -> None:
    """Is one by itself that ends a value, and stays as it was written."""
    policy = one_action()
    for text in (
        f"a@example.com{half}",
        f"a@example.com{half} b@example.com",
        f"{half}\\ude00 a@example.com",
    ):
        expected = text.replace("a@example.com", "[EMAIL]").replace("b@example.com", "[EMAIL]")
        assert (screen_text(policy, text).text, streamed(policy, text)) == (expected, expected)


def test_what_programs_escape_for_pages() -> None:
    """An angle bracket of `<jane@example.com>`, as Go writes it, is no part of an address."""
    text = r'{"from":"Jane \u003cjane@example.com\u003e"}'
    assert screen_text(one_action(), text).text == r'{"from":"Jane \u003c[EMAIL]\u003e"}'


def test_a_name_so_written() -> None:
    """The model is asked for the name as a person reads it, and all that spells it goes."""
    asked: list[str] = []

    def find(piece: str) -> Spans:
        asked.append(piece)
        at = piece.find("Jürgen Weiß")
        return ((at, at + len("Jürgen Weiß"), "person"),) if at >= 0 else ()

    policy = screening_policy({"person": "mask"}, Names(find=find))
    assert screen_text(policy, json.dumps({"n": "Jürgen Weiß, 40"})).text == '{"n": "[PERSON], 40"}'
    assert "".join(asked) == '{"n": "Jürgen Weiß, 40"}'


def test_a_placeholder_stands_for_what_was_written() -> None:
    """And is the same for both spellings of a value."""
    tokens = Tokens(b"k")
    text = r"jürg@example.com, j\u00fcrg@example.com"
    assert screen_text(one_action("tokenize"), text, tokens).text == "<EMAIL_1>, <EMAIL_1>"
    assert streamed(one_action("tokenize"), text, Tokens(b"k")).count("EMAIL") == 2
    assert tokens.restored("<EMAIL_1>") in text.split(", ")


def test_what_is_no_escape() -> None:
    """Stays, whole or begun, and ends a text as anything does."""
    for text in ("\\u", "a\\u00f", "\\\\\\", "\\u00fg", "C:\\users\\u12", "\\" * 9, "\\u005c\\"):
        assert screen_text(one_action(), text).text == streamed(one_action(), text) == text
    assert escapes.begun("a\\u00f") == 1
    assert escapes.begun("a\\u00fc") == 7
    assert escapes.begun("\\" * 9) == 9 - escapes.BACKSLASHES_MAX


def test_what_is_held() -> None:
    """No more characters than otherwise, each as long as it is written."""
    longest = "\\" * escapes.BACKSLASHES_MAX
    hidden = (f"{longest}u200b", f"{longest}udb40{longest}udd01")
    for unit, behind in itertools.product(("0034", "0061", "00e9"), hidden):
        screen = Screen(one_action())
        held = 0
        for _ in range(500):
            screen.feed(f"{longest}u{unit}" + behind * INVISIBLE_MAX)
            held = max(held, screen.held)
        assert held <= HELD_MAX * (1 + INVISIBLE_MAX) * escapes.CHARS_MAX
    screen = Screen(one_action())
    released = screen.feed("a! \\u00f")
    assert len(released) + screen.held == len("a! \\u00f"), "what may become an escape is held, too"
