"""Failures counted by their names, which upstreams choose: within bounds. Pure."""

from __future__ import annotations

from typing import Final

FAILURES_MAX: Final = 20
"""Different errors that are counted of a place, each under its name; more are counted under OTHER."""
OTHER: Final = "other"


def count_failure(failures: dict[str, int], error: str, times: int = 1) -> None:
    """Count an error among those counted before, which are FAILURES_MAX and OTHER at most."""
    if error not in failures and len(failures.keys() - {OTHER}) >= FAILURES_MAX:
        error = OTHER
    failures[error] = failures.get(error, 0) + times
