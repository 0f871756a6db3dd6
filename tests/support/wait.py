"""Waiting for a condition, the one way tests wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T | None], *, timeout_s: float = 10.0, every_s: float = 0.02) -> T:
    """Return the first truthy value of `condition`; raise AssertionError after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    pause = Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            message = f"no truth in {timeout_s} s from {condition}; last value {value!r}"
            raise AssertionError(message)
        pause.wait(every_s)
