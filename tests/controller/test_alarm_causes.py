"""What the calls of an alarm failed by, as its messages say it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airboss.config import AlarmConfig
from airboss.domain.record import Attempt, InferenceRecord
from airboss.store.alert_causes import cause_words, causes
from tests.controller.test_alarm_remind import sent
from tests.controller.test_alarm_watch import ERRORS, Watched, watched
from tests.store.samples import record

__all__ = ["watched"]


def tried(provider: str, error: str | None, status: int | None = 500) -> Attempt:
    """An attempt at a model of a provider."""
    return Attempt(provider, "m", "http://x/v1", 0.0, 1.0, status_code=status, error_type=error)


def failed(*attempts: Attempt, **fields: Any) -> InferenceRecord:
    """A call that failed by these attempts."""
    return record(1, status="error", error_type="upstream_error", attempts=attempts, **fields)


def fell_back(*attempts: Attempt) -> InferenceRecord:
    """A call that a fallback answered, after these attempts elsewhere; after none, who was left alone."""
    return record(1, error_type="answered_by_fallback", attempts=(*attempts, tried("spare", None, 200)))


BOOM, LIMIT = tried("main", "upstream_error"), tried("spare", "rate_limit_exceeded", 429)


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ([], ""),
        ([failed(BOOM, BOOM, BOOM)], "mostly upstream_error (500) from main/m"),
        (
            [failed(BOOM, LIMIT), failed(BOOM), failed(BOOM, LIMIT)],
            "mostly upstream_error (500) from main/m and rate_limit_exceeded (429) from spare/m",
        ),
        ([failed(tried("main", "timeout_total", None))], "mostly timeout_total from main/m"),
        ([failed()], "mostly upstream_error"),
        (
            [fell_back(BOOM), fell_back(), fell_back(), fell_back()],
            "mostly upstream_error (500) from main/m",
        ),
        ([fell_back()], ""),
        ([failed(tried("main", "hedge_lost", None), LIMIT)], "mostly rate_limit_exceeded (429) from spare/m"),
        (
            [failed(tried(f"p{n}", "upstream_error")) for n in range(3)],
            "most often upstream_error (500) from p0/m, in 1 of 3",
        ),
        (
            [failed(*(tried(f"p{n}", "boom", None) for n in range(5)))],
            "mostly boom from p0/m, boom from p1/m, boom from p2/m and 2 more",
        ),
        (
            [failed(*(tried(name, "boom", None) for name in ("main", "b", "a", "c")))],
            "mostly boom from main/m, boom from b/m, boom from a/m and boom from c/m",
        ),
    ],
)
def test_the_commonest_errors_are_told_with_whom_they_are_from(
    calls: list[InferenceRecord], words: str
) -> None:
    """However often one call met the same one; of those that ask nobody, or are left, nothing is made up."""
    assert cause_words(causes(calls)) == words


def test_a_message_says_by_what_and_leads_to_the_alarm(watched: Watched) -> None:
    """To its page, to the calls, with the commonest errors for programs, too; its end says none of them."""
    watched.calls(*range(100, 120), status="error", error_type="upstream_error", attempts=(BOOM, BOOM))
    assert watched.tick().phase == "firing"
    (note,) = watched.store.notifications("errors", limit=9)
    assert note.body["text"].endswith("; mostly upstream_error (500) from main/m")
    assert note.body["page"] == "http://127.0.0.1:8701/alerts/errors"
    assert note.body["link"].startswith("http://127.0.0.1:8701/records?deployment=assistant")
    assert note.body["causes"] == [
        {
            "error_type": "upstream_error",
            "status_code": 500,
            "provider": "main",
            "model": "m",
            "calls": 20,
            "of": 20,
        }
    ]
    watched.tick(600.0)
    watched.calls(700)
    assert watched.tick(10.0).phase == "resolved"
    ended = watched.store.notifications("errors", limit=1)[0].body
    assert (ended["causes"], "mostly" in ended["text"]) == ([], False)


def test_a_reminder_says_what_they_fail_by_now(watched: Watched) -> None:
    """Not what they failed by as it began."""
    watched.alarms["errors"] = msgspec.structs.replace(ERRORS, remind="1m")
    watched.calls(*range(100, 110), status="error", error_type="upstream_error", attempts=(BOOM,))
    assert watched.tick(60.0).phase == "firing"
    sent(watched)
    watched.calls(*range(110, 150), status="error", error_type="rate_limit_exceeded", attempts=(LIMIT,))
    assert watched.tick().phase == "firing"
    said = watched.store.notifications("errors", limit=1)[0]
    assert said.kind == "reminder"
    assert "mostly rate_limit_exceeded (429) from spare/m" in said.body["text"]


def test_what_is_not_about_failures_names_none(watched: Watched) -> None:
    """Calls that were slow, some of which asked twice."""
    slow = AlarmConfig(metric="latency_p95", deployment="assistant", above=1.0, hold="0s", notify=("ops",))
    watched.alarms["errors"] = slow
    watched.calls(*range(100, 120), latency_ms=9_000.0, attempts=(BOOM, tried("spare", None, 200)))
    assert watched.tick().phase == "firing"
    (note,) = watched.store.notifications("errors", limit=9)
    assert note.body["causes"] == []
