"""The story of `airboss demo`, whole: what the tutorial tells is what happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.cli.demo import prepare
from airboss.demo import story
from airboss.demo.reviews import NEGATIVE, POSITIVE, Review, balanced, dataset, reviews, right
from airboss.demo.story import GOOD, SIZES, Event, Story, configuration
from airboss.domain.errors import WrongCall
from airboss.testing import FakeProvider
from tests.support.airboss import Airboss
from tests.support.engine import starter_weights
from tests.support.started import started

STORY_S = 480.0
BY_CHANCE = 3
"""One review in so many is answered well only by a prompt that names the answers one by one."""


def ends_well(told: dict[int, Any]) -> None:
    """A bad prompt was taken back by evidence; a better one was found, passed a gate and was promoted; a
    reader was erased; the log verifies."""
    assert told[2]["state"] == "aborted"
    assert told[2]["verdict"]["authority"] == "evidence"
    assert told[3]["result"]["better"]
    assert told[4]["conclusion"] == "pass"
    assert told[5]["state"] == "promoted"
    assert (told[6]["state"], told[6]["records"]) == ("done", 1)
    assert told[7]["valid"]


def scripted() -> list[Review]:
    """The reviews, each with what the fake provider is to say to it, and to which instructions."""
    found = []
    for number, each in enumerate(reviews()):
        when = "exactly one of these" if number % BY_CHANCE == 0 else NEGATIVE
        behaviour = json.dumps({"text": each.label, "when": when, "delay_s": 0.05})
        found.append(msgspec.structs.replace(each, text=f"{each.text} fake:{behaviour}"))
    return found


def test_the_story_ends_well_where_answers_are_scripted(
    provider: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same story, with every verb and rollout of it, told of a model that does as it is told."""

    def configured(prompt: str) -> str:
        hosted = f'kind = "openai-compatible"\nbase_url = "{provider.url}"'
        text = configuration(prompt, source="up", sha256="none").replace('kind = "local"', hosted)
        return text.replace('sha256 = "none"\n', "")

    monkeypatch.setattr(story, "reviews", scripted)
    told: dict[int, Any] = {}

    def tell(event: Event) -> None:
        if event.data:
            told[event.step] = event.data

    with Airboss(tmp_path / "a", configured(GOOD)) as airboss:
        Story(data_dir=airboss.data, ready=airboss.ready, configured=configured, tell=tell).run()
    ends_well(told)


@pytest.mark.skipif("AIRBOSS_TEST_STORY" not in os.environ, reason="four minutes; `make soak` tells it")
@pytest.mark.timeout(STORY_S + 120)
def test_the_story_ends_well(tmp_path: Path) -> None:
    """As the command tells it, on the starter model, whose answers are its own."""
    weights = starter_weights()
    at_hand = tmp_path / ".airboss" / "weights"
    at_hand.mkdir(parents=True)
    (at_hand / weights.name).symlink_to(weights)
    command = [
        sys.executable,
        "-m",
        "airboss.cli.main",
        "demo",
        "--json",
        "--port",
        "0",
        "--console-port",
        "0",
    ]
    with started(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:
        try:
            out, err = demo.communicate(timeout=STORY_S)
        finally:
            demo.terminate()  # if it still runs: killed, it would leave its Airboss running
            demo.wait(60)
    assert demo.returncode == 0, err[-3000:] + out[-3000:]
    events = [json.loads(line) for line in out.splitlines()]
    ends_well({each["step"]: each["data"] for each in events if each.get("data")})


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
