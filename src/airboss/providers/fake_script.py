"""Behaviours queued from outside, for what a gateway rewrites: which of them the next request gets."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.providers.fake_faults import Behaviour, checked, from_line

STEPS_MAX = 10_000


class ScriptStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the queue: a behaviour and how long it lasts.

    It lasts for `calls` calls, or for `for_s` seconds from its first call on, or for ever with `forever`;
    with none of these for one call. With `probability` below 1 a call it does not hit (drawn from `seed`) is
    answered well, and counts. `model` limits it to requests for that upstream model, `holding` to those with
    one of these words in a message; others go on to the next step.
    """

    behaviour: str | Behaviour = "ok"
    calls: int | None = None
    for_s: float | None = None
    forever: bool = False
    probability: float = 1.0
    seed: int = 0
    model: str | None = None
    holding: tuple[str, ...] = ()


class _Running:
    """A step with what is left of it."""

    def __init__(self, step: ScriptStep) -> None:
        given = step.behaviour
        self.behaviour = from_line(given) if isinstance(given, str) else checked(given)
        limits = [step.calls is not None, step.for_s is not None, step.forever]
        if sum(limits) > 1 or not 0 <= step.probability <= 1:
            raise InvalidRequest(f"{step!r}: give one of calls, for_s, forever, and a probability of 0 to 1")
        self.step = step
        self.calls_left = (1 if step.calls is None else step.calls) if not any(limits[1:]) else None
        self.until: float | None = None
        self.random = random.Random(step.seed)  # noqa: S311 - a seeded draw, for tests to be repeatable

    def over(self, now: float) -> bool:
        """Whether nothing is left."""
        return self.calls_left == 0 or (self.until is not None and now >= self.until)

    def take(self, now: float) -> Behaviour:
        """What this call gets."""
        if self.calls_left is not None:
            self.calls_left -= 1
        if self.step.for_s is not None and self.until is None:
            self.until = now + self.step.for_s
        return self.behaviour if self.random.random() < self.step.probability else Behaviour()


class Script:
    """A queue of steps; the first that is not over and fits the request counts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._running: list[_Running] = []

    def add(self, steps: tuple[ScriptStep, ...]) -> int:
        """Queue steps, all or none; returns how many wait. Raises InvalidRequest."""
        if len(steps) + len(self._running) > STEPS_MAX:
            raise InvalidRequest(f"{len(steps)} steps more are too many; at most {STEPS_MAX} wait")
        self._running += [_Running(step) for step in steps]
        return len(self._running)

    def clear(self) -> None:
        """Forget every step."""
        self._running.clear()

    @property
    def waits(self) -> bool:
        """Whether there is any step, so that a request must be looked at."""
        return bool(self._running)

    def next(self, model: str, text: Callable[[], str] = str) -> Behaviour | None:
        """What a request for `model` gets, or None when no step is for it. `text` gives what its messages
        say."""
        now = self._clock()
        self._running = [running for running in self._running if not running.over(now)]
        for running in self._running:
            if running.step.model in (None, model) and _holds(running.step.holding, text):
                return running.take(now)
        return None


def _holds(words: tuple[str, ...], text: Callable[[], str]) -> bool:
    """Whether a text has one of the words, as a word of its own; if there are none, it need not."""
    return not words or any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text()) for word in words)
