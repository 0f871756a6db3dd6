"""Plans and keys changed together with the leaf of the audit log that tells of it. A key's leaf has digests
of how it was kept and is, so that an edit between two leaves shows, and one after the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from airboss.domain.plan import ServingPlan
from airboss.domain.ports import ApiKey, Clock, Ledger
from airboss.governance.audit import PLAN, read_leaf
from airboss.governance.audit_ledger import KEYS_KEPT, LEDGER_BEGIN, text_digest
from airboss.store.audit_rows import AuditLog, PlanTexts

Change = Callable[[ApiKey | None], ApiKey]
"""As `Ledger.change_key` takes it."""

Tell = Callable[[ApiKey], Mapping[str, object]]
"""What a leaf says of a key beside the digests."""

DEPLOYMENTS_MAX: Final = 100
"""Of a key, that its leaf names."""
NAMED_MAX: Final = 40
"""Deployments that a leaf names; of a plan with more it has their number and the digest of the whole."""


class LedgerNotes:
    """Notes plans, and changes keys that nobody is asking for just now: by a start, or by a configuration."""

    def __init__(self, ledger: Ledger, audit: AuditLog, clock: Clock) -> None:
        self._ledger = ledger
        self._audit = audit
        self._clock = clock

    def change_key(self, name: str, change: Change, *, action: str = "keys.bind") -> ApiKey:
        """As `Ledger.change_key`; a change has a leaf, in the same transaction."""

        def note(key: ApiKey, digests: Mapping[str, object]) -> None:
            if digests["sha256"] != digests["was"]:
                self._note_key(action, key, digests)

        with self._ledger.together():
            return change_noted(self._ledger, self._audit, name, change, note)

    def published(self, plan: ServingPlan) -> None:
        """Note a plan, in the transaction that publishes it."""
        texts = self._audit.plan(plan.number)
        if texts is not None:
            subject, now = f"plan {plan.number}", self._clock.now()
            self._audit.append(PLAN, actor="airboss", subject=subject, detail=detail_of(plan, texts), at=now)

    def begin(self) -> None:
        """Once for each log: from here on there is no plan and no key without a leaf that tells how it is.
        Those of an older Airboss, which noted plans a moment later, are told of as they are found."""
        if self._audit.newest(limit=1, action=LEDGER_BEGIN):
            return
        with self._ledger.together():
            snapshot = self._ledger.snapshot()
            newest = snapshot.plan.number if snapshot is not None else 0
            for number in range(self._noted() + 1, newest + 1):
                plan = self._ledger.plan(number)
                if plan is not None:
                    self.published(plan)
            found = self._ledger.all_keys()
            for key in found:
                self._note_key(KEYS_KEPT, key, {"sha256": text_digest(self._audit.key_text(key.name))})
            now, said = self._clock.now(), {"plans": newest, "keys": len(found)}
            self._audit.append(LEDGER_BEGIN, actor="airboss", subject="ledger", detail=said, at=now)

    def _noted(self) -> int:
        """The number of the newest plan in the log."""
        for named in self._audit.newest(limit=1, action=PLAN):
            with suppress(ValueError, TypeError, RecursionError):  # somebody broke it: see `verify`
                number = read_leaf(named.leaf.content).detail.get("plan")
                if isinstance(number, int):
                    return number
        return 0

    def _note_key(self, action: str, key: ApiKey, digests: Mapping[str, object]) -> None:
        detail, now = {**noted(key), **digests}, self._clock.now()
        self._audit.append(action, actor="airboss", subject=f"key {key.name}", detail=detail, at=now)


def change_noted(
    ledger: Ledger,
    audit: AuditLog,
    name: str,
    change: Change,
    note: Callable[[ApiKey, Mapping[str, object]], object],
) -> ApiKey:
    """As `Ledger.change_key`; `note` gets the key and, for the detail of a leaf, the digests of how it is
    kept now (`sha256`) and was before (`was`, None where it was not there). Only within `Ledger.together`."""
    was: str | None = None

    def changed(before: ApiKey | None) -> ApiKey:
        nonlocal was
        was = audit.key_text(name)  # here, where nobody else writes any more
        return change(before)

    key = ledger.change_key(name, changed)
    note(key, {"sha256": text_digest(audit.key_text(name)), "was": was and text_digest(was)})
    return key


def noted(key: ApiKey) -> dict[str, object]:
    """What the audit log says of a key's terms: what holds now."""
    said: dict[str, object] = {
        "deployments": None if key.deployments is None else list(key.deployments[:DEPLOYMENTS_MAX])
    }
    if key.role is not None:
        said = {"role": key.role}
    if key.limits is not None:
        said["limits"] = _without_nothing(msgspec.to_builtins(key.limits))
    if key.budget is not None:
        said["budget"] = f"{key.budget.usd} USD a {key.budget.per}"
    if key.each_user is not None:
        said["each_user"] = _without_nothing(msgspec.to_builtins(key.each_user))
    if key.team is not None:
        said["team"] = key.team
    if key.policies:
        said["policies"] = list(key.policies)
    if key.priority != "normal":
        said["priority"] = key.priority
    if key.sources is not None:
        said["sources"] = list(key.sources)
    if key.expires_at is not None:
        said["expires_at"] = key.expires_at.isoformat()
    return said


def _without_nothing(terms: Any) -> Any:
    """For the audit log, without what is not said."""
    if isinstance(terms, dict):
        return {name: _without_nothing(value) for name, value in terms.items() if value is not None}
    return terms


def detail_of(plan: ServingPlan, texts: PlanTexts) -> dict[str, Any]:
    """What a leaf says of a plan: enough to see which release served which share of what, and when, and
    whether it was edited since (`audit_ledger`)."""
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
