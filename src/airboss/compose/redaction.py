"""Log lines without secrets, also those that came after the process was started."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airboss.domain.errors import SetupError
from airboss.governance.redact import Redactor
from airboss.governance.secrets import provider_secrets
from airboss.store.datadir import read_secret

if TYPE_CHECKING:
    from airboss.domain.record import Redacted
    from airboss.store.plan_source import PlanSource

LEARNED_MAX = 1_000
"""Secrets that came later and are looked for; beyond that the oldest of them is forgotten."""


class LogRedactor:
    """`telemetry.logs.Redact`. What it has learned once it never shows again: a key that was replaced at the
    provider's may still be good there for a while. Safe to use by threads."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._first = tuple(secrets)
        self._learned: dict[str, None] = {}
        self._lock = threading.Lock()
        self._redactor = Redactor(self._first)

    def __call__(self, json: bytes) -> Redacted:
        """The line without every secret known by now."""
        return self._redactor.redact(json)

    def text(self, text: str) -> str:
        """A text without them, or their beginnings where it was cut."""
        return self._redactor.redact_text(text)

    def learn(self, secrets: Iterable[str]) -> None:
        """From now on these are secrets too."""
        with self._lock:
            new = [each for each in secrets if each not in self._learned and each not in self._first]
            if new:
                self._learned.update(dict.fromkeys(new))
                for old in list(self._learned)[:-LEARNED_MAX]:
                    del self._learned[old]
                self._redactor = Redactor([*self._first, *self._learned])


def secrets_in_force(ledger: PlanSource) -> tuple[str, ...]:
    """The providers' keys that the plan in force uses."""
    snapshot = ledger.snapshot()
    if snapshot is None:
        return ()
    return provider_secrets(snapshot.plan, env=os.environ, read=read_secret)


class Redacting:
    """A chore: the redactor learns the keys of each plan."""

    def __init__(self, ledger: PlanSource, redact: LogRedactor) -> None:
        self._ledger = ledger
        self._redact = redact
        self._seen = -1

    def tick(self) -> None:
        """Look for a newer plan. Raises SetupError."""
        try:
            revision = self._ledger.revision()
            if revision != self._seen:
                self._redact.learn(secrets_in_force(self._ledger))
                self._seen = revision
        except OSError as error:
            raise SetupError(f"the plan cannot be read: {error}") from error
