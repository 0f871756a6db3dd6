"""The tasks that tuning is measured on."""

from __future__ import annotations

from collections import Counter

import pytest
from benchmarks.tuning_tasks import PHRASES, SIZES, TASKS, labels, of_part, rows


@pytest.mark.parametrize("task", sorted(TASKS))
def test_parts_are_full_balanced_and_apart(task: str) -> None:
    """Each part has its size, the answers in even shares, and no sentence that another has."""
    found = rows(task)
    assert Counter(row["part"] for row in found) == SIZES
    assert min(SIZES["train"], 120) == 120
    assert len({row["input"] for row in found}) == len({row["id"] for row in found}) == len(found)
    for part in SIZES:
        counts = Counter(row["expected"] for row in found if row["part"] == part)
        assert sorted(counts) == labels(task)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert found == rows(task)


def test_what_carries_the_answer_belongs_to_one_part() -> None:
    """No verdict and no request stands in two parts, so that no example repeats a holdout item's."""
    lists = [domain[side] for domain in PHRASES["sentiment"].values() for side in ("positive", "negative")]
    lists += PHRASES["intent"]["requests"].values()
    for phrases in lists:
        assert sum(len(of_part(phrases, part)) for part in SIZES) == len(phrases) == len(set(phrases))
    for task in TASKS.values():
        said = {part: {text for text, _ in task(part)} for part in SIZES}
        assert not said["train"] & said["holdout"]
        assert not said["validation"] & said["holdout"]
        assert not said["train"] & said["validation"]
