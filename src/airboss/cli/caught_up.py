"""Waits a moment before records are asked for, until what was answered before then is among them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airboss.cli.output import milliseconds, say, size
from airboss.domain.errors import AirbossError

if TYPE_CHECKING:
    from airboss.cli.api import Api

WAIT_S: Final = 2.0
LOOK_S: Final = 0.05
LONG_AGO: Final = timedelta(hours=1)
"""What began before then has been moved; where it has not, `airboss status` says so."""


def catch_up(api: Api, until: str | None = None) -> None:
    """Return once every call that was answered before this is in the record store, as it is at once where
    nothing waits in journals, and after WAIT_S at most: then stderr is told what is still under way, with
    --json too. Nothing is waited for where `until` (ISO 8601), before which all that is asked for began, is
    LONG_AGO."""
    if not api.running or (
        until is not None and datetime.fromisoformat(until) < datetime.now(UTC) - LONG_AGO
    ):
        return
    began = time.monotonic()
    bound, seen = None, False
    while (found := waiting(api)) is not None:
        oldest = datetime.fromisoformat(found["oldest_unmoved_at"])
        now = oldest + timedelta(seconds=found["lag_s"])  # there: clocks differ
        # What came into a segment after its oldest bytes were seen is dated only once these are moved; so all
        # that was there at first has been dated when nothing older is left, and has gone when that has too.
        if bound is not None and oldest > bound:
            if seen:
                return
            bound, seen = now, True
        bound = bound or now
        if not found["store_up"] or time.monotonic() - began >= WAIT_S:
            say([behind(found)])
            return
        time.sleep(LOOK_S)  # what is moved wakes nobody who has only HTTP to ask by


def waiting(api: Api) -> dict[str, Any] | None:
    """How far the record store is behind; None where nothing waits. Who cannot say it is asked no more: what
    is wrong shows at the question itself."""
    try:
        found: dict[str, Any] = api.get("/api/v1/status")["journal"]
        return found if found["oldest_unmoved_at"] is not None else None
    except AirbossError:
        return None


def behind(found: dict[str, Any]) -> str:
    """What is not here yet."""
    held = found["unmoved_bytes"]
    what = f"{size(held)} of journal wait" if held else "journals of machines that have joined wait"
    oldest = milliseconds(1000 * found["lag_s"])
    return f"{what}, the oldest for {oldest}: calls that ended since may be missing here"
