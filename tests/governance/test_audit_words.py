"""What a leaf says is read as it is meant."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airboss.domain.ports import ApiKey
from airboss.governance.audit_words import fields
from airboss.governance.ledger_notes import noted


@pytest.mark.parametrize(
    ("deployments", "said"),
    [(None, "all"), ((), "none"), (("support",), "support")],
)
def test_a_key_that_may_call_everything_is_not_told_as_one_that_may_call_nothing(
    deployments: tuple[str, ...] | None, said: str
) -> None:
    """Both were `none` to who read the log; a value that was not there before still is."""
    key = ApiKey(
        name="a", sha256="0" * 64, created_at=datetime(2026, 11, 1, tzinfo=UTC), deployments=deployments
    )
    shown = dict(fields({**noted(key), "was": None}))
    assert (shown["deployments"], shown["was"]) == (said, "none")
