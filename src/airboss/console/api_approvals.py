"""Changes that wait for somebody else: kept as they were asked for, and made when another approves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, get_args

import msgspec

from airboss.console import api_config, api_rollouts
from airboss.console.callers import NOBODY, Caller
from airboss.console.changes import Change, difference
from airboss.console.desk import Desk
from airboss.console.query import Limit
from airboss.console.route import Call, Route
from airboss.console.session import PERSON
from airboss.console.waits import WAITING_MAX, tell
from airboss.domain.errors import ConfigError, InvalidRequest, NotFound, PermissionDenied
from airboss.governance.approvals import LASTS, lapses_at, noted
from airboss.store.proposal_rows import Proposal, Proposed, State

LIMIT = Limit(100, 300)
STATES: Final[tuple[str, ...]] = get_args(State)
HANDLES: Final[Mapping[Proposed, Callable[[Desk, Call], object]]] = {
    "config.apply": api_config.apply,
    "rollout.start": api_rollouts.start,
    "rollout.promote": api_rollouts.order,
}
"""What makes each change."""


class ApprovalRow(msgspec.Struct, frozen=True, kw_only=True):
    """A change that waits, or was decided. `subject` is a deployment, or `configuration`; `lapses_at` is of
    what waits: when it lapses if nobody decides."""

    number: int
    action: Proposed
    subject: str
    by: str
    at: datetime
    reason: str
    state: State
    decided_by: str | None
    decided_at: datetime | None
    said: str
    lapses_at: datetime | None


class Approvals(msgspec.Struct, frozen=True, kw_only=True):
    """The newest first."""

    approvals: tuple[ApprovalRow, ...]


class ApprovalAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. `asks` is what it asks for, as its request had it; `changes` is what a configuration that
    waits would change of the one in force; `problem` is why that cannot be said. `own`: whoever looks has
    asked for it."""

    approval: ApprovalRow
    asks: Any
    changes: tuple[Change, ...]
    problem: str | None
    own: bool


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: str = ""


def approvals(desk: Desk, call: Call) -> Approvals:
    """GET /api/v1/approvals."""
    state: Any = call.params.get("state") or None
    if state not in (None, *STATES):
        raise InvalidRequest(f"state is {state[:40]!r}; expected one of {', '.join(STATES)}", param="state")
    found = desk.proposals.proposals(state=state, limit=LIMIT.read(call.params))
    return Approvals(approvals=tuple(map(row, found)))


def approval(desk: Desk, call: Call) -> ApprovalAnswer:
    """GET /api/v1/approvals/{number}."""
    found = find(desk, call)
    asks: dict[str, Any] = msgspec.json.decode(found.body)
    changes: tuple[Change, ...] = ()
    problem = None
    if found.action == "config.apply" and found.state == "waiting":
        try:
            changes = difference(desk.ledger.config(), asks["config"], source="what waits").changes
        except (ConfigError, InvalidRequest) as error:
            problem = str(error)
    own = is_own(found, call.caller)
    return ApprovalAnswer(approval=row(found), asks=asks, changes=changes, problem=problem, own=own)


def approve(desk: Desk, call: Call) -> ApprovalRow:
    """POST /api/v1/approvals/{number}/approve."""
    found, reason = find(desk, call), decision(call)
    if is_own(found, call.caller):
        raise PermissionDenied(
            f"{found.by} has asked for this, and somebody else approves it", code="own_proposal"
        )
    check_hands(found, call.caller)
    if is_gone(desk, found):
        raise PermissionDenied(
            f"the key of {found.by}, who has asked for this, may change nothing any more; reject it, and ask "
            "for it anew if it is wanted",
            code="asker_gone",
        )
    if found.state == "waiting" and call.now >= lapses_at(found):
        raise InvalidRequest(
            f"{found.number} was asked for more than {LASTS.days} days ago, and lapses; ask for it anew, if "
            "it is wanted",
            code="lapsed",
        )
    decided = decided_by(found, "approved", call, reason)
    made = Call(
        params={},
        path={},
        body=found.body.encode(),
        now=call.now,
        actor=found.by,
        caller=call.caller,
        approved=True,
    )
    with desk.rollouts.together():
        if find(desk, call).state == "waiting":
            HANDLES[found.action](desk, made)  # first: it may take long, and a write locks the ledger
        settle(desk, call, decided)
    return row(decided)


def reject(desk: Desk, call: Call) -> ApprovalRow:
    """POST /api/v1/approvals/{number}/reject. Whoever asked may: they take it back."""
    decided = decided_by(find(desk, call), "rejected", call, decision(call))
    settle(desk, call, decided)
    return row(decided)


def is_own(found: Proposal, caller: Caller) -> bool:
    """Whether they have asked for it themselves, be it under the name that their address gave them then."""
    return found.by == caller.key or (found.by_id != "" and found.by_id == caller.id)


def check_hands(found: Proposal, caller: Caller) -> None:
    """Refuse whoever may be the one who asked, under another name: by a key that they made, or whose maker
    they share. Raises PermissionDenied."""
    shared = [each for each in caller.hands if each in found.hands]
    if not shared:
        return
    who = next((each for each in shared if not each.startswith(PERSON)), "somebody who signs in")
    raise PermissionDenied(
        f"{found.by}, who has asked for this, and {caller.key} are one here: {who} has made the key of one "
        "or of both; let somebody else approve it. A key that the admin key makes, or gives another secret "
        "with `airboss keys rotate NAME`, is its holder's alone",
        code="same_hands",
    )


def is_gone(desk: Desk, found: Proposal) -> bool:
    """Whether the key that asked was revoked, or may do less now. Of people who sign in only their provider
    knows."""
    caller, good = desk.callers.named(found.by) or (NOBODY, ())
    return not found.by_id and not (good and caller.may("operator"))


def find(desk: Desk, call: Call) -> Proposal:
    """The one that the path names. Raises NotFound."""
    wanted = call.path["number"]
    number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 else 0
    found = desk.proposals.proposal(number) if number else None
    if found is None:
        raise NotFound(
            f"nothing waits, or waited, as {wanted[:40]!r}; `airboss approvals list` lists", param="number"
        )
    return found


def decision(call: Call) -> str:
    """Why; empty where it is not said. Raises InvalidRequest."""
    reason = call.intent(Decision).reason if call.body else ""
    if len(reason) > api_config.REASON_CHARS_MAX:
        message = f"the reason has {len(reason):,} characters, at most {api_config.REASON_CHARS_MAX} are kept"
        raise InvalidRequest(message, param="reason")
    return reason


def decided_by(found: Proposal, state: State, call: Call, reason: str) -> Proposal:
    """The same, decided."""
    return msgspec.structs.replace(
        found, state=state, decided_by=call.actor, decided_at=call.now, said=reason
    )


def settle(desk: Desk, call: Call, decided: Proposal) -> None:
    """Keep a decision, once. Raises InvalidRequest where there is one already."""
    word = "approvals.approve" if decided.state == "approved" else "approvals.reject"
    with desk.rollouts.together():
        if not desk.proposals.decide(decided):
            raise InvalidRequest(
                f"{decided.number} does not wait any more: it was decided already, or lapsed",
                code="already_decided",
            )
        desk.note(call, word, decided.subject, noted(decided))
        tell(desk, call, decided)


def row(proposal: Proposal) -> ApprovalRow:
    """A proposal without what it asks for."""
    names = (name for name in ApprovalRow.__struct_fields__ if name != "lapses_at")
    lapses = lapses_at(proposal) if proposal.state == "waiting" else None
    return ApprovalRow(**{name: getattr(proposal, name) for name in names}, lapses_at=lapses)


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/approvals",
        summary=f"Changes that wait for somebody else's approval, {WAITING_MAX} at most, and those decided",
        handle=approvals,
        role="operator",
        params={"state": ", ".join(STATES), "limit": LIMIT.told(" changes")},
    ),
    Route(
        method="GET",
        path="/api/v1/approvals/{number}",
        summary="One of them: what it asks for, and what it would change now",
        handle=approval,
        role="operator",
    ),
    Route(
        method="POST",
        path="/api/v1/approvals/{number}/approve",
        summary="Approve what somebody else has asked for: it is made, or the refusal says why not",
        handle=approve,
        role="operator",
        body=Decision,
    ),
    Route(
        method="POST",
        path="/api/v1/approvals/{number}/reject",
        summary="Reject it; whoever asked for it takes it back so",
        handle=reject,
        role="operator",
        body=Decision,
    ),
)
"""The routes of this module."""
