"""Waiting for a condition, the one way tests wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")


SHORTEST_S, LONGEST_S = 0.02, 0.1
"""Between two looks: a tenth of what has been waited. To ask a server fifty times a second takes half of a
core from what is waited for."""


def until(condition: Callable[[], T | None], *, timeout_s: float = 10.0, every_s: float | None = None) -> T:
    """Return the first truthy value of `condition`; raise AssertionError after `timeout_s` seconds.

    `every_s` is for what costs more than a look, or is there for a moment only.
    """
    began = time.monotonic()
    deadline = began + timeout_s
    pause = Event()
    while True:
        value = condition()
        if value:
            return value
        now = time.monotonic()
        if now > deadline:
            message = f"no truth in {timeout_s} s from {condition}; last value {value!r}"
            raise AssertionError(message)
        pause.wait(every_s or min(LONGEST_S, max(SHORTEST_S, (now - began) / 10)))
