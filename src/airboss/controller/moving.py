"""What the mover asks of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from airboss.controller.dead_letters import DeadLetters
from airboss.telemetry.frames import Frame

FaultPoint = Literal["applied", "closed", "renamed", "forgotten", "deleted"]
"""The boundaries between two lasting steps, where a test kills the mover."""


class People(Protocol):
    """What the mover asks about people who were forgotten (`controller.erasing`)."""

    def begin(self) -> bool:
        """Know everybody who was forgotten by now; whether more are than before. Raises SetupError."""

    def arriving(self, frame: Frame) -> Frame:
        """The frame as it may be taken."""

    def taken(self, path: Path, base: int, frames: Sequence[Frame]) -> None:
        """The log has these frames of a segment, from `base` on: they may be blanked there."""

    def kept(self, segment: str, payload: bytes) -> bytes:
        """What of a dead letter's payload may be kept."""

    def letter(self, segment: str, payload: bytes) -> bytes:
        """It again in the clear, or as it is where it does not open. Raises StoreUnavailable."""

    def settle(self, segments: Mapping[Path, int], letters: DeadLetters, sure: datetime | None) -> None:
        """Nothing waits in the segments, of which so many bytes were taken: do what is pending. Other
        machines have brought all that was there by `sure`; None: there are none."""


class Elsewhere(Protocol):
    """What the mover asks about machines that bring their journals (`telemetry.remote.Nodes`)."""

    def clear_at(self, *, silent: bool = True) -> datetime | None:
        """All that any had written by then is here; None: there are none. Not `silent`: but for those that
        have not been heard of for long."""

    def waiting_since(self) -> datetime | None:
        """Since when something may wait there; None: nothing does."""
