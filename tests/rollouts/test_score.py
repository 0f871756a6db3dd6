"""A score is a value or the cause of having none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from airboss.domain.score import Score

GIVEN: dict[str, Any] = {
    "id": "s1",
    "subject": "record",
    "subject_id": "r1",
    "name": "helpfulness",
    "source": "human",
    "by": "team-a",
    "at": datetime(2026, 3, 1, tzinfo=UTC),
}


@pytest.mark.parametrize("value", [0.5, 0.0, True, False, "good"])
def test_a_value_survives_storage(value) -> None:
    """Numbers, yes and no, and labels come back as what they were."""
    score = Score(**GIVEN, value=value)
    back = msgspec.json.decode(msgspec.json.encode(score), type=Score)
    assert back == score
    assert type(back.value) is type(value)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"value": 1.0, "unscored": "judge timed out"},
        {"unscored": ""},
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": 1.0, "name": ""},
    ],
)
def test_neither_silent_nor_double(wrong) -> None:
    """Without exactly one of value and cause there is no score: a failure is never a silent zero."""
    with pytest.raises(ValueError, match="score"):
        Score(**{**GIVEN, **wrong})


def test_unscored_has_its_cause() -> None:
    """A scorer that failed says why."""
    assert Score(**GIVEN, unscored="the judge timed out").value is None
