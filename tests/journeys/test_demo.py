"""The story of `airboss demo`, whole: what the tutorial tells is what happens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from airboss.cli.demo import prepare
from airboss.demo.reviews import NEGATIVE, POSITIVE, balanced, dataset, reviews, right
from airboss.demo.story import SIZES
from airboss.domain.errors import WrongCall
from tests.support.engine import starter_weights

STORY_S = 480.0


@pytest.mark.timeout(STORY_S + 120)
def test_the_story_ends_well(tmp_path: Path) -> None:
    """A bad prompt is taken back by evidence; a better one is found, passes a gate and is promoted; a
    reader is erased; the log verifies."""
    weights = starter_weights()
    at_hand = tmp_path / ".airboss" / "weights"
    at_hand.mkdir(parents=True)
    (at_hand / weights.name).hardlink_to(weights)
    done = subprocess.run(
        [sys.executable, "-m", "airboss.cli.main", "demo", "--json", "--port", "0", "--console-port", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=STORY_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    events = [json.loads(line) for line in done.stdout.splitlines()]
    told = {each["step"]: each["data"] for each in events if each.get("data")}
    assert told[2]["state"] == "aborted"
    assert told[2]["verdict"]["authority"] == "evidence"
    assert told[3]["result"]["better"]
    assert told[4]["conclusion"] == "pass"
    assert told[5]["state"] == "promoted"
    assert (told[6]["state"], told[6]["records"]) == ("done", 1)
    assert told[7]["valid"]


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    """The demo makes its folder anew, and nobody else's."""
    (tmp_path / "airboss.toml").write_text("[store]\n")
    with pytest.raises(WrongCall, match="not empty"):
        prepare(tmp_path, "x", "0" * 64)
    assert (tmp_path / "airboss.toml").read_text() == "[store]\n"


def test_no_phrase_stands_in_two_parts() -> None:
    """Else the holdout would repeat what could have been an example."""
    every = {each.text: each for each in reviews()}
    rows = [json.loads(line) for line in dataset(list(every.values()), SIZES).splitlines()]
    parts: dict[str, set[str]] = {}
    for row in rows:
        parts.setdefault(every[row["input"]].phrase, set()).add(row["part"])
    assert all(len(found) == 1 for found in parts.values())
    assert {part: sum(row["part"] == part for row in rows) for part in SIZES} == SIZES
    labels = [row["expected"] for row in rows]
    assert abs(labels.count(POSITIVE) - labels.count(NEGATIVE)) <= 3


@pytest.mark.parametrize(
    ("answer", "label", "is_right"),
    [
        ("Positive.", POSITIVE, True),
        ("The review is negative", NEGATIVE, True),
        ("positive or negative", POSITIVE, False),
        ("I am glad", POSITIVE, False),
        ("", NEGATIVE, False),
    ],
)
def test_an_answer_is_right_if_it_says_the_label_alone(answer: str, label: str, is_right: bool) -> None:
    """In its first words."""
    assert right(answer, label) is is_right


def test_reviews_come_in_turns() -> None:
    """As many of each label as can be."""
    chosen = balanced(reviews(), 10)
    assert [each.label for each in chosen] == [POSITIVE, NEGATIVE] * 5
