"""The governance report in the admin API: gathers facts, and lets `governance.report` say what they show."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from airboss.config import parse_config
from airboss.console import api_probe
from airboss.console.api_audit import checked
from airboss.console.desk import Desk
from airboss.console.query import read_period
from airboss.console.route import Call, Route
from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import ApiKey, RecordFilter
from airboss.evaluations.bias_plan import KIND as PROBE
from airboss.evaluations.orders import KIND as EVALUATION
from airboss.governance.audit_verify import Verdict
from airboss.governance.report import CLAUSES_AS_OF, Entries, Facts, ProbeFact, Row, rows
from airboss.store.audit_rows import AuditData
from airboss.store.job_rows import Job

PERIOD = "30d"
JOBS_MAX = 1_000
ERASURES_MAX = 1_000
ROLLOUTS_MAX = 1_000


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What there is evidence of, clause by clause, for `[since, until)`. `clauses_as_of` is the day on which
    the clauses were read; `audit` is the check of the whole log, which the leaves of the evidence are in."""

    made_at: datetime
    since: datetime
    until: datetime
    version: str
    clauses_as_of: str
    audit: Verdict
    rows: tuple[Row, ...]


def show_report(desk: Desk, call: Call) -> Report:
    """GET /api/v1/report."""
    period = read_period(call.params, now=call.now, local=UTC, default=PERIOD)
    facts = gathered(desk, period.since, period.until)
    return Report(
        made_at=call.now,
        since=period.since,
        until=period.until,
        version=desk.status().version,
        clauses_as_of=CLAUSES_AS_OF.isoformat(),
        audit=facts.audit,
        rows=rows(facts),
    )


def gathered(desk: Desk, since: datetime, until: datetime) -> Facts:
    """What stands in ledger, record store and audit log."""
    status = desk.status()
    with desk.audit.whole() as data:
        entries, audit = entries_of(data, since, until), checked(desk, data)
    done = [job for job in desk.jobs.list(limit=JOBS_MAX) if job.state == "done"]
    ended = [job for job in done if since <= job.updated_at < until]
    rollouts: dict[str, int] = {}
    for each in desk.rollouts.list(limit=ROLLOUTS_MAX):
        if since <= each.started_at < until:
            rollouts[each.stage.state] = rollouts.get(each.stage.state, 0) + 1
    erasures = [each for each in desk.people.newest(ERASURES_MAX) if each.at < until]
    snapshot = desk.ledger.snapshot()
    return Facts(
        since=since,
        until=until,
        config=parse_config(desk.ledger.config() or "", source="the configuration in force"),
        plan=snapshot.plan if snapshot is not None else None,
        audit=audit,
        entries=entries,
        records=recorded(desk, since, until),
        dead_letters=status.journal.corrupt_frames,
        keys=tuple(key for key in desk.ledger.all_keys() if in_force(key, until)),
        rollouts=rollouts,
        probes=tuple(probed(job) for job in ended if job.kind == PROBE),
        evaluations=sum(job.kind == EVALUATION for job in ended),
        alarms={name: row.phase for name, row in desk.alerts.alarms().items()},
        erasures_done=sum(each.done_at is not None and each.done_at >= since for each in erasures),
        erasures_pending=sum(each.done_at is None for each in erasures),
    )


def in_force(key: ApiKey, at: datetime) -> bool:
    """Whether a key has neither been revoked nor come to its end by then."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > at)


def probed(job: Job) -> ProbeFact:
    """What is told of a probe."""
    made = api_probe.summary(job)
    conclusion = made.conclusion or "no conclusion"
    return ProbeFact(id=job.id, deployment=made.deployment, at=job.updated_at, conclusion=conclusion)


def recorded(desk: Desk, since: datetime, until: datetime) -> int | None:
    """How many calls were recorded; None while the store is away."""
    try:
        return desk.log.count(RecordFilter(since=since, until=until))
    except StoreUnavailable:
        return None


def entries_of(data: AuditData, since: datetime, until: datetime) -> dict[str, Entries]:
    """The log's entries of the period, by action."""
    found: dict[str, Entries] = {}
    for named in data.leaves():
        leaf = named.leaf
        try:
            at = datetime.fromisoformat(leaf.at)
        except ValueError:
            continue  # somebody has broken it; the check says so
        if since <= at < until:
            before = found.get(leaf.action)
            found[leaf.action] = Entries(
                count=before.count + 1 if before is not None else 1,
                first=before.first if before is not None else leaf.number,
                last=leaf.number,
            )
    return found


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/report",
        summary="What there is evidence of for auditors, clause by clause",
        handle=show_report,
        role="viewer",
        params={
            "range": f"the last `15m`, `1h`, `6h`, `24h`, `7d` or `30d`; {PERIOD} unless given",
            "since": "from then on: RFC 3339, or `7d` for so long ago",
            "until": "before then",
        },
    ),
)
"""The one route."""
