"""What is seen of a job while it is followed."""

from __future__ import annotations

import pytest

from airboss.cli import follow_job
from airboss.cli.follow_job import follow
from tests.cli.test_eval import Answers, job


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow without pauses, and tell each time."""
    monkeypatch.setattr(follow_job, "POLL_S", 0.0)
    monkeypatch.setattr(follow_job, "TOLD_S", 0.0)


def test_a_log_hears_how_far_a_job_is(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Where stderr is no terminal, a line now and then: who waits, as in CI, sees that it has not stopped."""
    follow(Answers(job("queued"), job("running"), job()), "eval-1", as_json=False, label="reviews on support")
    out, err = capsys.readouterr()
    assert out == ""
    far = "airboss: reviews on support: 3 of 9 steps after 0 s; `airboss job show eval-1`"
    assert err.splitlines() == [far, far]


def test_with_json_nothing_is_told(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    """An error would be all that stands on stderr."""
    follow(Answers(job("running"), job()), "eval-1", as_json=True, label="reviews on support")
    assert capsys.readouterr() == ("", "")
