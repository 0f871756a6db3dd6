"""Logs never show a provider's key, also not one that came after the process was started."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from airboss.compose import redaction
from airboss.compose.redaction import LogRedactor, Redacting
from airboss.domain.ports import Ledger, Snapshot
from tests.store.ledgers import plan
from tests.support.gateway import deployment

OLD, NEW = "old-provider-key-1", "new-provider-key-2"


class OnePlan:
    """A ledger with one plan, whose only deployment has its key in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 1

    def revision(self) -> int:
        """As `ports.Ledger`."""
        return self.number

    def snapshot(self) -> Snapshot:
        """As `ports.Ledger`."""
        served = deployment("http://127.0.0.1:9/v1", api_key_ref=f"file:{self.path}")
        return Snapshot(revision=self.number, plan=plan(served), keys=())


def shown(redact: LogRedactor, *secrets: str) -> list[bool]:
    """Which of these a log line would show."""
    line = redact(b'{"message":"%s"}' % " ".join(secrets).encode()).decode()
    return [secret in line for secret in secrets]


def test_no_half_of_a_key_stays_where_a_text_was_cut() -> None:
    """A cause or a note quotes others' words, cut."""
    redact = LogRedactor([OLD])
    assert redact.text(f"judge said '{OLD[:12]}…', or {OLD}") == "judge said '[REDACTED]…', or [REDACTED]"


def test_a_key_is_learned_with_the_plan_that_brings_it(tmp_path: Path) -> None:
    """From the next look on; the key that it replaced stays hidden, since it may still be good."""
    path = tmp_path / "key"
    path.write_text(OLD)
    ledger: Any = OnePlan(path)
    redact = LogRedactor([*redaction.secrets_in_force(cast("Ledger", ledger)), "our-own-secret"])
    keeper = Redacting(cast("Ledger", ledger), redact)
    assert shown(redact, OLD, NEW, "our-own-secret") == [False, True, False]
    path.write_text(NEW)
    keeper.tick()
    assert shown(redact, OLD, NEW) == [False, False]
    path.write_text("third-provider-key")
    keeper.tick()
    assert shown(redact, "third-provider-key") == [True], "nothing was published"
    ledger.number = 2
    keeper.tick()
    assert shown(redact, OLD, NEW, "third-provider-key") == [False, False, False]


def test_what_is_learned_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest that was learned is forgotten first; what was known at the start never is."""
    monkeypatch.setattr(redaction, "LEARNED_MAX", 2)
    redact = LogRedactor(["first-secret-of-all"])
    for number in range(4):
        redact.learn([f"learned-secret-{number}"])
    learned = [f"learned-secret-{number}" for number in range(4)]
    assert shown(redact, "first-secret-of-all", *learned) == [False, True, True, False, False]
