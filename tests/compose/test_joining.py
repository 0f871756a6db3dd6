"""Who brings journals from a machine that has joined."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest

from airboss.compose import joining
from airboss.domain.errors import StoreUnavailable
from airboss.store.datadir import DataDir
from airboss.store.erasure_rows import Erasure


def test_a_ledger_that_hangs_keeps_nobody_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is to be forgotten is waited for a moment, and then nothing is brought; one question is asked."""
    monkeypatch.setattr(joining, "SILENT_S", 0.05)
    answers, asked = Event(), []

    def pending() -> list[Erasure]:
        asked.append(datetime.now(UTC))
        assert answers.wait(60)
        return []

    forget = joining.forgetting(DataDir(tmp_path), pending)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="silent"):
            forget()
    answers.set()
    monkeypatch.setattr(joining, "SILENT_S", 60)
    forget()
    assert len(asked) == 1
    forget()
    assert len(asked) == 2
