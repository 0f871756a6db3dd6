"""Every plan that was published gets a leaf in the audit log, whoever published it and whatever was
killed."""

from __future__ import annotations

from typing import Any, Final

from airboss.domain.plan import ServingPlan
from airboss.domain.ports import Clock, Ledger
from airboss.governance.audit import PLAN, read_leaf
from airboss.governance.audit_verify import text_digest
from airboss.store.audit_rows import AuditLog, PlanTexts

AT_ONCE: Final = 50
NAMED_MAX: Final = 40
"""Deployments that a leaf names; of a plan with more it has their number and the digest of the whole."""


class PlanNotes:
    """A chore. The log itself tells how far it is, so that a plan is noted once and none is missed."""

    def __init__(self, ledger: Ledger, audit: AuditLog, clock: Clock) -> None:
        self._ledger = ledger
        self._audit = audit
        self._clock = clock
        self._seen = -1

    def tick(self) -> None:
        """Note the plans that the log does not have yet, oldest first."""
        revision = self._ledger.revision()
        if revision == self._seen:
            return
        snapshot = self._ledger.snapshot()
        newest = snapshot.plan.number if snapshot is not None else 0
        noted = self._noted()
        for number in range(noted + 1, min(newest, noted + AT_ONCE) + 1):
            plan, texts = self._ledger.plan(number), self._audit.plan(number)
            if plan is not None and texts is not None:
                self._audit.append(
                    PLAN,
                    actor="airboss",
                    subject=f"plan {number}",
                    detail=detail_of(plan, texts),
                    at=self._clock.now(),
                )
        if newest <= noted + AT_ONCE:
            self._seen = revision

    def _noted(self) -> int:
        """The number of the newest plan in the log."""
        for named in self._audit.newest(limit=1, action=PLAN):
            number = read_leaf(named.leaf.content).detail.get("plan")
            if isinstance(number, int):
                return number
        return 0


def detail_of(plan: ServingPlan, texts: PlanTexts) -> dict[str, Any]:
    """What a leaf says of a plan: enough to see which release served which share of what, and when, and
    whether it was edited since (`audit_verify`)."""
    served: dict[str, Any] = {}
    for deployment in plan.deployments[:NAMED_MAX]:
        served[deployment.name] = {"stable": deployment.stable.digest}
        if deployment.canary is not None:
            served[deployment.name]["canary"] = deployment.canary.served.release.digest
            served[deployment.name]["weight"] = deployment.canary.weight
    return {
        "plan": plan.number,
        "published_at": plan.created_at.isoformat(),
        "sha256": text_digest(texts.content),
        "config_sha256": text_digest(texts.config),
        "deployments": len(plan.deployments),
        "served": served,
    }
