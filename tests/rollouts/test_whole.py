"""Whole rollouts in hostile worlds, by the benchmark that the documents quote."""

from __future__ import annotations

import pytest
from benchmarks.rollouts_whole import WORLDS, play


@pytest.mark.parametrize(
    ("world", "state"),
    [
        ("twice as slow, 50%", "aborted"),
        ("canary down", "aborted"),
        ("stable down", "promoted"),
        ("both arms down", "running"),
        ("60 users", "running"),
        ("60 users, 30 points", "promoted"),
        ("200 users, 10 points", "promoted"),
    ],
)
def test_a_world_ends_as_it_should(world: str, state: str) -> None:
    """Harm is taken back, a canary that answers where stable does not is promoted, and where nothing answers
    or hardly anybody calls nobody is promoted. Few users are enough where no more come."""
    for seed in range(3):
        for number, now in enumerate(play(WORLDS[world], f"{world} {seed}")):
            if now.final or number == 40:
                break
        assert now.stage.state == state, f"seed {seed}: {now.verdict}"
