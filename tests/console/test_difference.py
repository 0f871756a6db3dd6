"""Two texts word by word, as an answer and what would have been right."""

from __future__ import annotations

import random

import pytest

from airboss.console.difference import WORDS_MAX, worded


def told(before: str, after: str) -> list[str]:
    """The pieces, with a sign before what is in one of them alone."""
    signs = {"same": "", "added": "+", "removed": "-"}
    return [signs[each.mark] + each.text for each in worded(before, after)]


def test_words_are_told_apart() -> None:
    """And signs of scripts that have no blanks between words; the blanks stay as they were."""
    assert told("It is 14 days, not more.", "It is 30 days, not more.") == [
        "It is ",
        "-14 ",
        "+30 ",
        "days, not more.",
    ]
    assert told("one\n\ntwo three", "one\n\ntwo three four") == ["one\n\ntwo ", "-three", "+three four"]
    assert told("十四日です", "三十四日です") == ["+三", "十四日です"]
    assert told("the same", "the same") == ["the same"]


@pytest.mark.parametrize(("before", "after"), [("positive", "negative"), ("", "so"), ("so", ""), ("", "")])
def test_texts_with_little_in_common_are_not_compared(before: str, after: str) -> None:
    """They are read one after the other."""
    assert worded(before, after) == []


@pytest.mark.parametrize("seed", range(20))
def test_both_texts_are_whole(seed: int) -> None:
    """What is the same and what was removed is the one, with what was added it is the other, also where too
    many words differ to be matched."""
    drawn = random.Random(seed)
    many = WORDS_MAX + 10 if seed % 5 == 0 else 40
    same = " ".join(drawn.choices("abc", k=900)) + "\n"
    before, after = (same + " ".join(drawn.choices("abcde", k=many)) for _ in range(2))
    pieces = worded(before, after)
    assert "".join(each.text for each in pieces if each.mark != "added") == before
    assert "".join(each.text for each in pieces if each.mark != "removed") == after
