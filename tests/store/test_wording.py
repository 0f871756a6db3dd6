"""How many of a thing there are, and how sure a number is, in words."""

from __future__ import annotations

import pytest

from airboss.store.wording import LISTED_MAX, level, listed, many, out_words


@pytest.mark.parametrize(
    ("count", "what", "said"),
    [
        (0, "record", "0 records"),
        (1, "record", "1 record"),
        (1_204, "record", "1,204 records"),
        (1, "leaf", "1 leaf"),
        (2, "leaf", "2 leaves"),
        (2, "entry", "2 entries"),
        (1, "other", "1 other"),
        (3, "call that failed", "3 calls that failed"),
    ],
)
def test_one_is_one(count: int, what: str, said: str) -> None:
    """And of several words the first is counted."""
    assert many(count, what) == said


@pytest.mark.parametrize(
    ("alpha", "said"),
    [(0.05, "95"), (0.05 / 3, "98.33"), (0.025, "97.5"), (1e-6, "99.9999"), (1.25e-6, "99.99988")],
)
def test_nothing_is_wholly_sure(alpha: float, said: str) -> None:
    """However small the chance to err is, and without digits that say nothing."""
    assert level(alpha) == said


def test_names_that_are_left_out_are_counted() -> None:
    """Who reads a list takes what is not in it to be not there."""
    names = [f"r{number:02}" for number in range(LISTED_MAX + 3)]
    assert listed(names[:2]) == "r00, r01"
    assert listed(names[:LISTED_MAX]).endswith(f", r{LISTED_MAX - 1}")
    assert listed(names).endswith(f", r{LISTED_MAX - 1} and 3 more")
    assert listed([]) == ""


@pytest.mark.parametrize(
    ("failure", "status", "fails", "step"),
    [
        (
            "upstream_error",
            200,
            "what it sends with status 200 is no answer.",
            "Provider x is up: a record of",
        ),
        (
            "upstream_error",
            500,
            "it fails with upstream_error (500).",
            "Provider x can be reached and fails by",
        ),
        ("timeout_total", None, "it fails with timeout_total.", "See whether provider x is overloaded"),
        (
            "timeout_connect",
            None,
            "it fails with timeout_connect.",
            "See whether provider x is up and can be",
        ),
        ("stream_cut", 200, "it fails with stream_cut (200).", "See whether provider x is up and can be"),
        ("upstream_auth", 401, "it fails with upstream_auth (401).", "Check the key of provider x."),
    ],
)
def test_the_step_is_of_what_came(failure: str, status: int | None, fails: str, step: str) -> None:
    """Whether one that answered, be it with nonsense, is up is no question."""
    said = out_words(
        provider="x",
        url="http://x/v1",
        key=None,
        last_failure=failure,
        last_status=status,
        limited=None,
        deployments=("a",),
        instead="y/m",
    )
    assert said.startswith(f"At http://x/v1 {fails} Calls of a go to y/m instead, at its price. {step}")
