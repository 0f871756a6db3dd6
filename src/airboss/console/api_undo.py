"""A promotion taken back, in the admin API: what was stable before serves everybody again."""

from __future__ import annotations

import msgspec

from airboss.console.api_rollouts import bound_as_much, by_whom, kept_reason
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.errors import ConfigError, InvalidRequest
from airboss.domain.release import Release


class UndoIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest promotion of a deployment to take back; with `stable`, a digest, that one alone."""

    deployment: str
    stable: str | None = None
    reason: str = ""
    by: str = "admin"


class UndoAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What serves now, and what did before; releases are digests. What was undone is a candidate like any
    other from now on."""

    deployment: str
    stable: str
    name: str
    undone: str
    undone_name: str
    by: str


def undo(desk: Desk, call: Call) -> UndoAnswer:
    """POST /api/v1/rollouts/undo."""
    intent = call.intent(UndoIntent)
    by, reason = by_whom(call, intent.by), kept_reason(intent.reason)
    try:
        with desk.rollouts.together():
            before = desk.rollouts.before(intent.deployment)
            was = _stable(desk, intent.deployment)
            if intent.stable is not None and intent.stable != was.digest:
                raise InvalidRequest(
                    f"{intent.stable[:12]} is not stable in {intent.deployment!r} any more: "
                    f"{was.digest[:12]} is; look at it anew",
                    param="stable",
                )
            if not call.caller.may("admin"):
                bound_as_much(desk, call, intent.deployment, before)
            now = desk.rollouts.undo(intent.deployment)
            detail = {"release": now.stable, "undone": was.digest}
            desk.note(call, "rollout.undo", now.deployment, detail | ({"reason": reason} if reason else {}))
    except ConfigError as error:
        raise InvalidRequest(str(error), code="invalid_config") from None
    return UndoAnswer(
        deployment=now.deployment,
        stable=now.stable,
        name=before.name,
        undone=was.digest,
        undone_name=was.name,
        by=by,
    )


def _stable(desk: Desk, deployment: str) -> Release:
    """What serves there; there is one, for `before` has looked."""
    snapshot = desk.ledger.snapshot()
    assert snapshot is not None
    return next(each.stable for each in snapshot.plan.deployments if each.name == deployment)


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/api/v1/rollouts/undo",
        summary="Take a promotion back: what was stable before serves everybody at once",
        handle=undo,
        role="operator",
        body=UndoIntent,
    ),
)
"""The routes of this module."""
