"""What was spent in a week or a month, told to notifiers once it is over.

That it was told stands in the ledger as the notification that it is, under an id of its own: so each notifier
is told once, whoever is killed meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from airboss.config import Config
from airboss.config.checks_alarms import NOTIFY_MAX
from airboss.config.summed import Period, SummaryConfig
from airboss.domain.ports import Clock, RecordLog, UsageQuery
from airboss.domain.usage import UsageRow
from airboss.governance.budgets import began
from airboss.store.alert_rows import AlertStore, Notification
from airboss.store.wording import many

EVERY_S: Final = 60.0
LATE: Final = timedelta(hours=1)
"""So long after its end a period is added up: calls that began in it may go on, and have to be brought."""

TELLABLE: Final = timedelta(days=7)
"""What is older is not told any more, to who is new or where nothing ran meanwhile."""

ROWS: Final = 20
GROUPS_MAX: Final = 10_000


class Summaries:
    """A chore, every minute. `teams` tells the team of each key that is in one; `redact` goes over what is
    told."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        records: RecordLog,
        alerts: AlertStore,
        teams: Callable[[], dict[str, str]],
        console_url: Callable[[], str],
        redact: Callable[[str], str],
        clock: Clock,
    ) -> None:
        self._config = config
        self._records = records
        self._alerts = alerts
        self._teams = teams
        self._console_url = console_url
        self._redact = redact
        self._clock = clock
        self._next_at = 0.0

    def tick(self) -> None:
        """Have told what is over and was not told yet. Raises AirbossError."""
        if self._clock.monotonic() < self._next_at:
            return
        self._next_at = self._clock.monotonic() + EVERY_S
        now, config = self._clock.now(), self._config()
        for name, wanted in config.summaries.items():
            end = begin_of(wanted.period, now)
            if LATE <= now - end < TELLABLE:
                self._tell(name, wanted, end, config)

    def _tell(self, name: str, wanted: SummaryConfig, end: datetime, config: Config) -> None:
        told = tuple(config.notifiers)[:NOTIFY_MAX] if wanted.notify is None else wanted.notify
        ids = {id_of(name, end, notifier): notifier for notifier in told}
        new = {id_: each for id_, each in ids.items() if self._alerts.notification(id_) is None}
        if not new:
            return
        body, now = self._body(name, wanted, end), self._clock.now()
        for id_, notifier in new.items():
            self._alerts.add_notification(
                Notification(
                    id=id_,
                    alarm=subject_of(name),
                    notifier=notifier,
                    kind="summary",
                    created_at=now,
                    due_at=now,
                    body=body,
                )
            )

    def _body(self, name: str, wanted: SummaryConfig, end: datetime) -> dict[str, Any]:
        start = begin_of(wanted.period, end - timedelta(days=1))
        teams = self._teams() if wanted.by == "team" else {}
        asked = UsageQuery(
            since=start,
            until=end,
            by=(wanted.by,),
            order="cost_usd",
            limit=GROUPS_MAX,
            teams=teams,
            people=(),
        )
        found = self._records.usage(asked)
        seen = {"group_by": wanted.by, "metric": "cost_usd", "since": _moment(start), "until": _moment(end)}
        return {
            "alarm": name,
            "state": "summary",
            "period": wanted.period,
            "by": wanted.by,
            "since": _moment(start),
            "until": _moment(end),
            "cost_usd": float(sum((cost_of(each) for each in found), Decimal(0))),
            "requests": sum(each.requests for each in found),
            "rows": [
                {
                    "name": self._redact(each.group[0]) if each.group[0] else None,
                    "cost_usd": each.cost_usd,
                    "requests": each.requests,
                }
                for each in found[:ROWS]
            ],
            "link": f"{self._console_url().rstrip('/')}/explore?{urlencode(seen)}",
            "text": self._redact(text_of(wanted, found, start, end)),
        }


def untold(config: Config, alerts: AlertStore) -> tuple[str, ...]:
    """Whom a summary did not reach when it was told last, of those who are to be told of it, and why."""
    found: list[str] = []
    for name, wanted in config.summaries.items():
        told = config.notifiers if wanted.notify is None else wanted.notify
        newest: dict[str, Notification] = {}
        for each in alerts.notifications(subject_of(name), limit=2 * NOTIFY_MAX):
            newest.setdefault(each.notifier, each)
        for each in newest.values():
            if each.notifier in told and each.state != "sent" and each.error is not None:
                state = "given up" if each.state == "failed" else "tried again"
                found.append(f"the {each.alarm} did not reach {each.notifier} ({state}): {each.error}")
    return tuple(found)


def subject_of(name: str) -> str:
    """In whose place of an alarm a summary is told."""
    return f"summary of {name}"


def begin_of(period: Period, at: datetime) -> datetime:
    """When the week or month began that a time is in, in UTC."""
    return began("month" if period == "monthly" else "week", at)


def id_of(name: str, end: datetime, notifier: str) -> str:
    """What a notifier is told of one period is known by."""
    return f"summary-{hashlib.sha256(f'{name}/{end.isoformat()}/{notifier}'.encode()).hexdigest()[:32]}"


def cost_of(row: UsageRow) -> Decimal:
    """What is known of it."""
    return Decimal(str(row.cost_usd or 0))


def text_of(wanted: SummaryConfig, found: Sequence[UsageRow], start: datetime, end: datetime) -> str:
    """The lines for people: who spent most comes first."""
    last = end - timedelta(days=1)
    when = f"{start:%B %Y}" if wanted.period == "monthly" else f"{start:%Y-%m-%d} to {last:%Y-%m-%d}"
    lines = [f"spent {when} (UTC), by {wanted.by}: {_said(found)}"]
    lines += [f"{each.group[0] or f'no {wanted.by}'}: {_said([each])}" for each in found[:ROWS]]
    if found[ROWS:]:
        lines.append(f"{many(len(found) - ROWS, 'other')}: {_said(found[ROWS:])}")
    unknown = sum(each.cost_unknown for each in found)
    if unknown:
        lines.append(f"what {unknown:,} of the calls cost is not known")
    return "\n".join(lines)


def _said(rows: Sequence[UsageRow]) -> str:
    usd, calls = sum((cost_of(each) for each in rows), Decimal(0)), sum(each.requests for each in rows)
    amount = f"{usd:,.2f}" if usd >= 1 or not usd else f"{usd:.4f}"
    return f"{amount} USD in {calls:,} call{'' if calls == 1 else 's'}"


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
