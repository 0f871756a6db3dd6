"""What a person changes waits for another where the configuration wants it."""

from __future__ import annotations

import secrets
from typing import Final, NoReturn

import msgspec

from airboss.console.callers import Caller
from airboss.console.desk import Desk
from airboss.console.route import Call
from airboss.console.wire import encode
from airboss.domain.errors import RateLimited
from airboss.governance import approvals
from airboss.store.proposal_rows import CHARS_MAX, Proposal, Proposed

WAITING_MAX: Final = 100


class Waits(Exception):
    """What was asked for is kept, and waits for somebody else to approve it. No error: it was done as far as
    it may be."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"this waits as {number}: somebody else must approve it, in the console or with "
            f"`airboss approvals approve {number}`"
        )
        self.number = number

    @property
    def answer(self) -> dict[str, object]:
        """What a program is told, with status 202."""
        return {"proposal": self.number, "state": "waiting", "message": str(self)}


def must_wait(desk: Desk, caller: Caller) -> bool:
    """Whether what they change waits for somebody else. Raises SetupError."""
    return caller.key is not None and desk.in_force().approvals.required


def for_another(
    desk: Desk, call: Call, action: Proposed, intent: object, *, subject: str, reason: str
) -> NoReturn:
    """Keep what is asked for and raise Waits. Call it once all is checked that can be, so that nothing waits
    that cannot be, and with what names just what was looked at. Raises RateLimited where too much waits."""
    body = encode(intent).decode()
    waiting = desk.proposals.proposals(state="waiting", limit=WAITING_MAX)
    for each in waiting:
        same = (each.action, each.by, each.body) == (action, call.actor, body)
        if same and call.now < approvals.lapses_at(each):
            raise Waits(each.number)  # asked again, as by who was not told the first time
    if len(waiting) >= WAITING_MAX:
        raise RateLimited(f"{WAITING_MAX} changes wait for approval already; decide some of them first")
    if sum(len(each.body) for each in waiting) + len(body) > CHARS_MAX:
        raise RateLimited(
            f"what waits for approval may have {CHARS_MAX:,} characters together; decide some of it first"
        )
    made = Proposal(
        action=action,
        subject=subject,
        body=body,
        by=call.actor,
        by_id=call.caller.id,
        hands=call.caller.hands,
        salt=secrets.token_hex(16),
        at=call.now,
        reason=reason,
    )
    with desk.rollouts.together():
        number = desk.proposals.propose(made)
        numbered = msgspec.structs.replace(made, number=number)
        desk.note(call, "approvals.propose", subject, approvals.noted(numbered))
        tell(desk, call, numbered)
    raise Waits(number)


def tell(desk: Desk, call: Call, proposal: Proposal) -> None:
    """Have those who are to know told that it waits, or how it was decided."""
    approvals.tell(
        desk.alerts,
        desk.in_force(),
        proposal,
        link=approvals.link(desk.console_url()),
        redact=desk.redact,
        at=call.now,
    )
