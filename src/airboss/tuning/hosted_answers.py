"""What a provider's answers about files and jobs say. Any JSON may have come; what is kept of it is bounded.

Pure.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from airboss.tuning.ports import Loss

COUNT_MAX: Final = 2**31 - 1
"""The ledger's integers go so far."""

MODEL_CHARS_MAX: Final = 500

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+=~-]{0,199}")
_STEP: Final = re.compile(r"[Ss]tep (\d{1,9})(?:/(\d{1,9}))?")


def id_of(answer: Any) -> str | None:
    """The id of a file or job, which becomes a part of paths; None where there is none that could be one."""
    found = answer.get("id") if isinstance(answer, dict) else None
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found) if count(found) is not None else None
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def rows_of(page: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a page of a list that have an id."""
    return [each for each in listed(page) if id_of(each) is not None]


def listed(page: dict[str, Any]) -> list[Any]:
    """All that is on a page of a list."""
    data = page.get("data")
    return data if isinstance(data, list) else []


def tag_of(job: dict[str, Any], name: str) -> Any:
    """What a job's metadata say under a name."""
    metadata = job.get("metadata")
    return metadata.get(name) if isinstance(metadata, dict) else None


def reason_of(job: dict[str, Any]) -> str:
    """Why a job failed, in the provider's words."""
    error = job.get("error")
    if isinstance(error, dict):
        error = error.get("message") or error.get("code")
    return str(error or "no reason given")


def model_of(job: dict[str, Any]) -> str | None:
    """The name of the model that came of a job; None where that is no name."""
    found = job.get("fine_tuned_model")
    fits = isinstance(found, str) and 0 < len(found) <= MODEL_CHARS_MAX and found.isprintable()
    return found if fits else None


def progress_of(event: Any) -> tuple[int, int]:
    """Steps done and in all, off an event's data or, where it has none, its message."""
    if not isinstance(event, dict):
        return 0, 0
    data = event.get("data")
    step = count(data.get("step")) if isinstance(data, dict) else None
    if step is not None:
        return step, count(data.get("total_steps")) or 0  # type: ignore[union-attr]  # it is one where it has a step
    found = _STEP.search(str(event.get("message")))
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def loss_of(event: Any) -> Loss | None:
    """The point of the loss curve that an event tells, if it does."""
    data = event.get("data") if isinstance(event, dict) else None
    step = count(data.get("step")) if isinstance(data, dict) else None
    if data is None or step is None:
        return None
    training = _number(data.get("train_loss"))
    validation = _number(data.get("full_valid_loss", data.get("valid_loss")))
    if training is None and validation is None:
        return None
    return Loss(step=step, training=training, validation=validation)


def count(value: Any) -> int | None:
    """A count of something; None where it is none."""
    is_one = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= COUNT_MAX
    return value if is_one else None


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # JSON's integers have no end
        return None
