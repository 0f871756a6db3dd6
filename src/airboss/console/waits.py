"""What a person changes waits for another where the configuration wants it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Final, NoReturn

import msgspec

from airboss.config.checks_alarms import NOTIFY_MAX
from airboss.console.callers import Caller
from airboss.console.desk import Desk
from airboss.console.route import Call
from airboss.console.wire import encode
from airboss.domain.errors import RateLimited
from airboss.store.alert_rows import Notification
from airboss.store.proposal_rows import CHARS_MAX, Proposal, Proposed

WAITING_MAX: Final = 100
PATH: Final = "/governance/approvals"
"""The page of what waits."""

NOTIFIED: Final = "airboss.approvals"
"""As what notifiers are told of it, in the place of an alarm's name."""

CALLED: Final[Mapping[Proposed, str]] = {
    "config.apply": "a change of the configuration",
    "rollout.start": "the start of a rollout of {}",
    "rollout.promote": "a promotion in {}",
}


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
        if (each.action, each.by, each.body) == (action, call.actor, body):
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
        at=call.now,
        reason=reason,
    )
    with desk.rollouts.together():
        number = desk.proposals.propose(made)
        detail = {"proposal": number, "action": action, "sha256": digest(body)}
        desk.note(call, "approvals.propose", subject, {**detail, **({"reason": reason} if reason else {})})
        tell(desk, call, msgspec.structs.replace(made, number=number))
    raise Waits(number)


def tell(desk: Desk, call: Call, proposal: Proposal) -> None:
    """Have those who are to know told that it waits, or how it was decided."""
    config = desk.in_force()
    notify = config.approvals.notify
    told = tuple(config.notifiers)[:NOTIFY_MAX] if notify is None else tuple(dict.fromkeys(notify))
    what = CALLED[proposal.action].format(proposal.subject)
    if proposal.state == "waiting":
        text, why = f"{proposal.by} asks for approval of {what} ({proposal.number})", proposal.reason
    else:
        text = (
            f"{proposal.decided_by} {proposal.state} {what} ({proposal.number}) that {proposal.by} asked for"
        )
        why = proposal.said
    body = {
        "alarm": NOTIFIED,
        "state": proposal.state,
        "proposal": proposal.number,
        "action": proposal.action,
        "deployment": "" if proposal.action == "config.apply" else proposal.subject,
        "by": proposal.by,
        "decided_by": proposal.decided_by,
        "at": call.now.isoformat(),
        "detail": desk.redact(why) or None,
        "link": desk.console_url().rstrip("/") + PATH,
        "text": desk.redact(f"{text}: {why}" if why else text),
    }
    for notifier in told:
        desk.alerts.add_notification(
            Notification(
                id=f"{NOTIFIED}-{secrets.token_hex(8)}",
                alarm=NOTIFIED,
                notifier=notifier,
                kind="approval",
                created_at=call.now,
                due_at=call.now,
                body=body,
            )
        )


def digest(body: str) -> str:
    """Of what is asked for, for the audit log."""
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
