"""Every verdict that changed a rollout gets a leaf in the audit log, whatever was killed in between."""

from __future__ import annotations

from typing import Final

import msgspec

from airboss.domain.ports import Clock
from airboss.domain.verdict import Verdict
from airboss.governance.audit import read_leaf
from airboss.governance.audit_ledger import VERDICT, text_digest
from airboss.store.audit_rows import AuditLog
from airboss.store.rollouts import SqlRolloutStore

AT_ONCE: Final = 50


class VerdictNotes:
    """A chore. The log itself tells how far it is, so that a verdict is noted once and none is missed."""

    def __init__(self, store: SqlRolloutStore, audit: AuditLog, clock: Clock) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self._noted: int | None = None

    def tick(self) -> None:
        """Note the verdicts that the log does not have yet, oldest first."""
        if self._noted is None:
            self._noted = self._newest()
        for number, rollout, content in self._store.verdicts_after(self._noted, limit=AT_ONCE):
            verdict = msgspec.json.decode(content, type=Verdict)
            self._audit.append(
                VERDICT,
                actor="airboss",
                subject=f"rollout {rollout}",
                detail={
                    "verdict": number,
                    "rollout": rollout,
                    "conclusion": verdict.conclusion,
                    "authority": verdict.authority,
                    "step": verdict.step,
                    "weight": verdict.weight,
                    "sha256": text_digest(content.decode()),
                    "findings": {each.metric: each.finding for each in verdict.metrics},
                },
                at=self._clock.now(),
            )
            self._noted = number

    def _newest(self) -> int:
        """The number of the newest verdict in the log."""
        for named in self._audit.newest(limit=1, action=VERDICT):
            number = read_leaf(named.leaf.content).detail.get("verdict")
            if isinstance(number, int):
                return number
        return 0
