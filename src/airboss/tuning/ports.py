"""What tuning keeps of its own: which calls a job has begun, and what it chose before it read the holdout."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol


class TuneStore(Protocol):
    """Keeps what a tuning job must know again after a crash. Every write is durable when the call returns.
    Raises SetupError if it cannot be used."""

    def tune_calls(self, job: str) -> Mapping[str, int]:
        """How often the job has begun each call, by the key of its answer (`paid_once.answer_key`)."""

    def begin_tune_call(self, job: str, key: str) -> None:
        """Count a call that is about to be made."""

    def tune_choice(self, job: str) -> str | None:
        """What the job has chosen, as it was put."""

    def put_tune_choice(self, job: str, content: str, at: datetime) -> None:
        """Keep what the job has chosen; a choice that is there stays."""
