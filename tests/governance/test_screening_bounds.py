"""What is held and what it costs are bounded, however a text is made."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from airboss.governance.screening import HELD_MAX, Screen, one_action, screen_text
from airboss.governance.shadow import INVISIBLE_MAX

POLICY = one_action()

ENDLESS = {
    "a word": "a",
    "digits": "7",
    "groups of digits": "4111 ",
    "a local part": "a.b-",
    "an address": "a@b.",
    "half an assignment": "password=",
    "an assigned value": "x1",
    "a web token": "eyJhbGciOi",
    "a key": "sk-",
    "a private key": "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA",
    "hex and colons": "2001:db8:",
    "dots": "1.2.3.",
    "a URL": "https://a:b",
    "parentheses": "((((",
    "escapes": "\\n\\",
    "phone numbers": "+1 415 555 2671",
    "accounts": "DE89 3704 0044 0532 0130 01 ",
    "spaces": "   ",
}


@pytest.mark.parametrize("unit", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_is_held(unit: str) -> None:
    """An endless text of any sort leaves at most HELD_MAX characters held, and comes out as whole."""
    text = (unit * 6_000)[:6_000]
    screen = Screen(POLICY)
    released, held = [], 0
    for at in range(0, len(text), 4):
        released.append(screen.feed(text[at : at + 4]))
        held = max(held, screen.held)
    assert held <= HELD_MAX
    assert "".join(released) + screen.finish() == screen_text(POLICY, text).text


def test_invisible_characters_are_held_in_proportion() -> None:
    """Behind each character as many as are overlooked may be held, and no more."""
    screen = Screen(POLICY)
    held = 0
    for _ in range(2_000):
        screen.feed("4" + "\u200b" * (INVISIBLE_MAX + 4))
        held = max(held, screen.held)
    assert held <= HELD_MAX * (1 + INVISIBLE_MAX)


def test_memory_does_not_grow_with_the_text() -> None:
    """Ten megabytes of one key, and of digits, pass through a few kilobytes."""
    piece = "4" * 1_000
    for begin in ("ghp_" + "a1" * 20, ""):
        screen = Screen(POLICY)
        screen.feed(begin + piece)
        tracemalloc.start()
        for _ in range(10_000):
            screen.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100_000


@pytest.mark.parametrize("unit", ENDLESS.values(), ids=ENDLESS.keys())
def test_time_grows_with_the_text_and_no_faster(unit: str) -> None:
    """Eight times the text takes less than twenty times the time."""

    def took(length: int) -> float:
        text = (unit * length)[:length]
        times = []
        for _ in range(3):
            start = time.process_time()
            screen_text(POLICY, text)
            times.append(time.process_time() - start)
        return min(times)

    took(1_000)
    short, long = took(8_000), took(64_000)
    assert long < 20 * short + 0.005
