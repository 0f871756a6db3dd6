"""Which questions a cache may take for the same, by its rules alone."""

from __future__ import annotations

import math

import pytest

from airboss.gateway.alike import CHARS_MAX, alike, comparable
from airboss.gateway.near import nearest, packed

SAME = [
    ("How do I reset my password?", "How can I reset my password?"),
    ("What is the height of Mount Everest?", "Mount Everest's height?"),
    ("Who wrote Pride and Prejudice?", "Pride and Prejudice was written by whom?"),
    ("Is it safe to mix bleach and ammonia?", "Can I safely mix bleach with ammonia?"),
    ("How do I convert a list into a tuple?", "How do I convert a list to a tuple?"),
    ("What does \u201caffect\u201d mean?", 'What does "affect" mean?'),
    ("Tell me how to reset my password.", "How do I reset my password?"),
    ("How do I enable it?", "How is it enabled?"),
]
OTHERS = [
    ("A table for 2", "A table for 3"),
    ("From 5 to 10", "From 10 to 5"),
    ("It is -5 degrees", "It is 5 degrees"),
    ("The second chapter", "The third chapter"),
    ("May I smoke here?", "May I not smoke here?"),
    ("Can you do it?", "Can't you do it?"),
    ("Hotels in Paris", "Hotels in London"),
    ("Paris hotels?", "London hotels?"),
    ("Flights from Rome to Oslo", "Flights from Oslo to Rome"),
    ("How do I install iOS?", "How do I install macOS?"),
    ("Is the shop open?", "Is the shop closed? Or is the shop open to close?"),
    ("How do I enable it?", "How do I disable it?"),
    ("How do I subscribe?", "How do I unsubscribe?"),
    ("Is it legal?", "Is it illegal?"),
    ("Can a cat beat a dog?", "Can a dog beat a cat?"),
    ("Turn a list into a tuple", "Turn a tuple to a list"),
    ("Is C++ fast?", "Is C# fast?"),
    ("Is a < b?", "Is a > b?"),
    ("What is 'foo'?", "What is 'bar'?"),
    ("Who wrote it?", "When was it written?"),
    ("What is his age?", "What is her age?"),
    ("is it open on monday?", "is it open on tuesday?"),
    ("How much is it per night?", "How much is it per day?"),
    ("What helps against type b flu?", "What helps against type a flu?"),
    ("What does ls -l do?", "What does ls -t do?"),
    ("Is this refundable?", "Is this non-refundable?"),
    ("Is smoking permitted here?", "Is smoking prohibited here?"),
    ("Is parking allowed?", "Is parking banned?"),
    ("Which is smaller, mars or venus?", "Which is bigger, mars or venus?"),
    ("Answer briefly: what is dns?", "Answer in detail: what is dns?"),
    ("Should I take it before meals?", "Should I take it during meals?"),
    ("Can she sue me?", "Can I sue her?"),
    ("can i sue my landlord?", "can my landlord sue me?"),
    ("Do I owe him?", "Does he owe me?"),
    ("A room for me", "A room for us"),
    ("Who is the president?", "Who was the president?"),
    ("The gates opened", "The gates closed"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_in_other_words(one: str, other: str) -> None:
    """Both ways round, and to itself."""
    assert alike(one, other)
    assert alike(other, one)
    assert alike(one, one)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_another_question(one: str, other: str) -> None:
    """Both ways round."""
    assert not alike(one, other)
    assert not alike(other, one)


def test_what_may_be_compared() -> None:
    """Short texts in letters that the rules can read."""
    assert comparable("Où est le café ?")
    for text in (
        "",
        " \n",
        "x" * (CHARS_MAX + 1),
        "如何重置密码",
        "Где?",
        "I feel \N{GRINNING FACE}",
        "a\x00b",
    ):
        assert not comparable(text), text


def test_the_nearest_comes_first() -> None:
    """By the cosine, to a few thousandths; vectors of another length, or of none, are nobody's neighbours."""
    one = [math.sin(n) for n in range(384)]
    near = [each + 0.05 * math.cos(7 * n) for n, each in enumerate(one)]
    cosine = sum(a * b for a, b in zip(one, near, strict=True)) / math.hypot(*one) / math.hypot(*near)
    these = {b"near": near, b"one": one, b"other": [-each for each in one], b"short": one[:10]}
    kept = [(key, packed(vector) or b"") for key, vector in these.items()]
    found = nearest(packed(one) or b"", kept, 0.9, most=8)
    assert [key for _, key in found] == [b"one", b"near"]
    assert found[0][0] == pytest.approx(1, abs=1e-6)
    assert found[1][0] == pytest.approx(cosine, abs=0.002)
    assert nearest(packed(one) or b"", kept, 0.9, most=1) == found[:1]
    assert nearest(packed(one) or b"", [], 0.9, most=1) == []
    for bad in ([], [0.0] * 8, [math.nan, 1.0], [math.inf], [1.0] * 9000):
        assert packed(bad) is None
