"""What a configuration wants and no caller gets yet: a candidate, or what takes over by itself."""

from __future__ import annotations

import pytest

from airboss.console.api_config import waiting
from airboss.domain.release import Release
from airboss.releases.standing import coming
from tests.evaluations.serving import NEW, OLD, deployment, standing


@pytest.mark.parametrize(
    ("wanted", "stable", "candidate", "takes_over"),
    [(OLD, OLD, None, None), (NEW, OLD, NEW.digest, None), (NEW, NEW, None, NEW.digest)],
)
def test_what_takes_over_by_itself_is_no_candidate(
    wanted: Release, stable: Release, candidate: str | None, takes_over: str | None
) -> None:
    """While OLD is served: nobody is told to begin a rollout of what needs none."""
    served, stands = deployment("support", OLD), standing(wanted, stable)["support"]
    assert (waiting(served, stands), coming(served, stands)) == (candidate, takes_over)
