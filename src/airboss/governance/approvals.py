"""Changes that wait for somebody else's approval: how long they wait, and what is told of them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from airboss.config import Config
from airboss.config.checks_alarms import NOTIFY_MAX
from airboss.governance.audit_ledger import account_digest
from airboss.store.alert_rows import AlertStore, Notification
from airboss.store.proposal_rows import Proposal, Proposed

PATH: Final = "/governance/approvals"
"""The console's page of what waits."""

LASTS: Final = timedelta(days=7)
"""What nobody decides within it lapses."""

NOTICES_MAX: Final = 20
"""That a notifier gets within an hour of the clock of what one person asks for; the rest are told as one."""

SEEN_MAX: Final = 10_000
"""Notices of an hour that are counted: of some hundred people."""

NOTIFIED: Final = "airboss.approvals"
"""As what notifiers are told of it, in the place of an alarm's name."""

REST: Final = f"{NOTIFIED}.rest"
"""The same of what is told as one: it waits for the end of its hour, and holds up nothing."""

LAPSED: Final = f"nobody decided within {LASTS.days} days"

CALLED: Final[Mapping[Proposed, str]] = {
    "config.apply": "a change of the configuration",
    "rollout.start": "the start of a rollout of {}",
    "rollout.promote": "a promotion in {}",
}


def lapses_at(proposal: Proposal) -> datetime:
    """When it does if nobody decides."""
    return proposal.at + LASTS


def text_of(proposal: Proposal) -> str:
    """How it stands, for people."""
    what = f"{CALLED[proposal.action].format(proposal.subject)} ({proposal.number})"
    if proposal.state == "waiting":
        text, why = f"{proposal.by} asks for approval of {what}", proposal.reason
    elif proposal.state == "lapsed":
        text, why = f"{what} that {proposal.by} asked for has lapsed", proposal.said
    else:
        text = f"{proposal.decided_by} {proposal.state} {what} that {proposal.by} asked for"
        why = proposal.said
    return f"{text}: {why}" if why else text


def link(console_url: str) -> str:
    """Where people see what waits."""
    return console_url.rstrip("/") + PATH


def tell(
    store: AlertStore,
    config: Config,
    proposal: Proposal,
    *,
    link: str,
    redact: Callable[[str], str],
    at: datetime,
) -> None:
    """Have those who are to know told that it waits, or how it was decided, in the transaction in which it
    does."""
    notify = config.approvals.notify
    told = tuple(config.notifiers)[:NOTIFY_MAX] if notify is None else tuple(dict.fromkeys(notify))
    if not told:
        return
    body = {
        "alarm": NOTIFIED,
        "state": proposal.state,
        "proposal": proposal.number,
        "action": proposal.action,
        "deployment": "" if proposal.action == "config.apply" else proposal.subject,
        "by": proposal.by,
        "decided_by": proposal.decided_by,
        "at": at.isoformat(),
        "detail": redact(proposal.reason if proposal.state == "waiting" else proposal.said) or None,
        "link": link,
        "text": redact(text_of(proposal)),
    }
    hour = at.replace(minute=0, second=0, microsecond=0)
    for each in _bounded(store.notifications(NOTIFIED, limit=SEEN_MAX, since=hour), told, body, hour):
        store.add_notification(each)


def _bounded(
    before: Iterable[Notification], told: Iterable[str], body: dict[str, Any], hour: datetime
) -> Iterator[Notification]:
    """One for each that is told, or what tells them of all the rest of the hour, which has one name."""
    by, at, until = body["by"], datetime.fromisoformat(body["at"]), hour + timedelta(hours=1)
    sent = [each.notifier for each in before if each.body["by"] == by]
    for notifier in told:
        if sent.count(notifier) < NOTICES_MAX:
            id_ = f"{NOTIFIED}-{secrets.token_hex(8)}"
            yield _notification(id_, NOTIFIED, notifier, body, created=at, due=at)
            continue
        whose = hashlib.sha256(f"{by}\0{notifier}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
        text = (
            f"more than {NOTICES_MAX} notices of what {by} asks for within an hour: the others, until "
            f"{until:%H:%M} UTC, are this one; see what waits"
        )
        rest = dict.fromkeys(("proposal", "action", "decided_by", "detail"))
        one = {**body, **rest, "state": "rest", "deployment": "", "at": until.isoformat(), "text": text}
        id_ = f"{REST}-{hour:%Y%m%d%H}-{whose}"
        yield _notification(id_, REST, notifier, one, created=at, due=until)


def _notification(
    id_: str, alarm: str, notifier: str, body: object, *, created: datetime, due: datetime
) -> Notification:
    return Notification(
        id=id_,
        alarm=alarm,
        notifier=notifier,
        kind="approval",
        created_at=created,
        due_at=due,
        body=body,
    )


def noted(proposal: Proposal) -> dict[str, object]:
    """What the audit log says of a proposal beside its subject: no words of it but the reason for what was
    done now."""
    why = proposal.reason if proposal.state == "waiting" else proposal.said
    said = {"proposal": proposal.number, "action": proposal.action, "sha256": digest(proposal.body)}
    if proposal.salt:
        said["account"] = account_digest(proposal.salt, proposal.by_id, proposal.hands)
    return {**said, **({"reason": why} if why else {})}


def digest(body: str) -> str:
    """Of what is asked for."""
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
