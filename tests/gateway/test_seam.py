"""Where one upstream goes on with what another has said: what goes on, and what begins anew."""

from __future__ import annotations

import json

import pytest

from airboss.domain.errors import UpstreamFailed
from airboss.gateway.seam import NOT_CONTINUED, Seam
from airboss.providers.compatible import Reply


def joined(before: str, *after: str, blank: str = "") -> str:
    """What the client has of the second upstream's text, which comes in these pieces."""
    seam = Seam(Reply(), before, tokens=1, prompt_tokens=1, blank=blank, exact=False)
    deltas = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]} for text in after
    ]
    new = seam.joined([b"data: %s\n\n" % json.dumps(each).encode() for each in deltas])
    said = [json.loads(each.removeprefix(b"data: "))["choices"][0]["delta"] for each in new]
    return "".join(each.get("content", "") for each in said)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("It is NA", "SA's."),
        ("pay to GB82 WE", "ST 1234"),
        ("the key is AKIAIOSF", "ODNN7EXAMPLE"),
        ("part 4", "B2"),
        ("on 2026-11-30", "T12:00"),
        ("a word cu", "t in two"),
        ("call document.getElementBy", "Id('a')"),
        ("`get", "Element`"),
        ("names.add", "All(more)"),
        ("my_new", "Name = 1"),
        ("use JavaScript", "Core"),
        ("It ends.", " Then more"),
        ("It ends.", "Then more"),
    ],
)
def test_what_goes_on(before: str, after: str) -> None:
    """Also in the middle of a name of capitals and digits, a key, an account's number or a program's name."""
    assert joined(before, after) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("One two thr", "Certainly"),
        ("It ends.Then more", "Certainly"),
        ("JavaScript is goo", "Certainly"),
        ("in the USA", "Certainly"),
        ("in 2024", "I am sorry"),
        ("in 20", "A cat"),
    ],
)
def test_what_begins_anew(before: str, after: str) -> None:
    """A sentence with its capital, where another one was under way."""
    with pytest.raises(UpstreamFailed) as caught:
        joined(before, after)
    assert caught.value.code == NOT_CONTINUED


@pytest.mark.parametrize(
    "pieces", [(" \n\n", "next"), (" ", "\n", "\n", "next"), (" \n", "\nnext"), ("\nnext",)]
)
def test_white_space_before_the_seam(pieces: tuple[str, ...]) -> None:
    """It is not sent, so whoever goes on may say it again, in pieces too; the client has it once."""
    assert joined("One. \n", *pieces, blank=" \n") == "\nnext"
