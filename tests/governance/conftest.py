"""What tests of counters share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airboss.governance import counters_client


@pytest.fixture(scope="module")
def patient() -> Iterator[None]:
    """No answer is late because this machine stands still, but where a test says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counters_client, "ANSWER_S", 30.0)
        yield
