"""The pages, each as one blocking function from a visit to HTML: it reads, and it draws.

All that is read is bounded: stats, series and counts that the log keeps cheap, one page of records without
bodies, or one record with them.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import msgspec

from airboss.config.tags import TAG_CHARS_MAX, written_tag
from airboss.console import api_usage, columns, correcting, views_alerts
from airboss.console.adding_forms import offered
from airboss.console.chart import Chart, busiest, chart
from airboss.console.conversation import conversation
from airboss.console.curl import INLINE_MAX, OWN, body_text, curl, quoted, sendable
from airboss.console.desk import Desk, newest_of
from airboss.console.findings import Finding, findings, node_findings, system_findings
from airboss.console.marks import gathered, marks
from airboss.console.named import whole
from airboss.console.overview import cards, rows
from airboss.console.page import Page, View, asking, current_plan, firing_since, need, period_of, silenced
from airboss.console.quality_forms import choices_live
from airboss.console.query import (
    FILTER_NAMES,
    PAGE_NAMES,
    STATUSES,
    TIME_NAMES,
    Period,
    iso,
    no_record,
    read_filter,
)
from airboss.console.reading import note_letters, note_one
from airboss.console.render import Visit, url
from airboss.console.text import hue
from airboss.console.waterfall import waterfall
from airboss.console.wire import encode
from airboss.dialects.failed_attempts import attempt_words
from airboss.domain.errors import InvalidRequest, NotFound
from airboss.domain.plan import ServingPlan
from airboss.domain.ports import DeploymentStats, RecordFilter
from airboss.domain.record import InferenceRecord
from airboss.store.opinions import REVIEWS
from airboss.store.usage import tokens_per_s

ROWS = 50
"""Records on one page."""

SCORES = 50
"""Of a record, the newest, that stand on its page."""

TRAIL_MAX = 40
"""Cursors kept in an address; further back, "newer" leads to the newest."""

RAW_MAX = 256 * 1024
"""The longest record, in bytes of JSON, that stands whole on its page."""

CHARTS = (
    ("requests", "Requests", "per minute"),
    ("errors", "Errors", "% of calls"),
    ("latency", "Latency p95", "ms"),
    ("ttft", "First token p50", "ms"),
    ("tokens", "Output tokens", "per second"),
    ("cost", "Cost", "USD per hour"),
)
MARK_STEPS = 8
"""Steps of a chart within which marks are drawn as one."""

WINDOW_MAX = 2_000
CAUSES_MAX = 100
UNSHOWN = {
    "release": "any release",
    "session": "any session",
    "tag": "any tag",
    "policy": "whatever policies found",
    "arm": "any arm",
    "error_type": "any error",
    "id": "any id",
    "sort": "newest first",
}
"""Filters that have no field on the page of records, and what a link without each says."""

LIBRARIES = ("starlette", "uvicorn", "duckdb", "sqlalchemy", "xllamacpp")


def overview(desk: Desk, seen: Visit) -> View:
    """The first page."""
    period = period_of(desk, seen)
    chosen = seen.params.get("deployment")
    plan = current_plan(desk)
    all_stats = desk.log.stats(period.since, period.until)
    stats = only(all_stats, chosen)
    before = only(desk.log.stats(period.before.since, period.before.until), chosen)
    whole_chart = chart_of(desk, period, plan, zone_name=str(seen.zone), deployment=chosen)
    charted = busiest(whole_chart)
    listed = rows(stats, plan, whole_chart, sort=seen.params.get("sort", "-requests"))
    return View(
        "overview.html",
        plan=plan,
        period=period,
        keep=seen.params,
        names=sorted({each.deployment for each in all_stats} | deployment_names(plan)),
        sort=seen.params.get("sort", "-requests"),
        stats=stats,
        approximate=any(each.approximate for each in stats),
        any_records=bool(stats) or newest_of(desk.log) is not None,
        findings=wrong(desk, seen, whole_chart),
        cards=cards(stats, before, whole_chart, earlier=period.short),
        charts=CHARTS,
        single=len(charted.lines) == 1,
        chart_json=encode(charted).decode(),
        rows=[each for each in listed if chosen in (None, each.name)],
        lines=charted.lines,
        omitted=charted.omitted,
        first_call="" if stats else first_call(desk, plan),
        views=api_usage.views_for(desk, seen.caller),
    )


def wrong(desk: Desk, seen: Visit, drawn: Chart) -> tuple[Finding, ...]:
    """What is wrong, with what each alarm that fires is about."""
    since = firing_since(desk)
    about = views_alerts.firing(desk, seen) if since else {}
    quiet, on_errors = silenced(desk, seen.now), views_alerts.on_errors(desk) if since else {}
    return findings(
        desk.status(), drawn, partial(causes, desk), since, quiet, about=about, on_errors=on_errors
    )


def causes(desk: Desk, deployment: str, since: datetime, until: datetime | None) -> list[str]:
    """The error types of the newest failed calls of a deployment."""
    where = RecordFilter(deployment=deployment, status="error", since=since, until=until)
    return [each.error_type or "unknown" for each in desk.log.records(where, limit=CAUSES_MAX, bodies=False)]


def chart_of(
    desk: Desk, period: Period, plan: ServingPlan | None, *, zone_name: str, deployment: str | None
) -> Chart:
    """The charts of a period; the log is asked from the start of their first step."""
    digests = {each.name: each.stable.digest for each in plan.deployments} if plan is not None else {}
    step = period.step_s
    start = period.since.timestamp() // step * step
    aligned = period.since.fromtimestamp(start, tz=period.since.tzinfo)
    return chart(
        desk.log.series(aligned, period.until, step_s=step),
        period,
        hues=lambda name: hue(digests.get(name, name)),
        zone=zone_name,
        deployment=deployment,
        marks=gathered(marks(desk, aligned, period.until, deployment=deployment), MARK_STEPS * step),
    )


def records(desk: Desk, seen: Visit) -> View:
    """The table of records."""
    timed = any(name in seen.params for name in TIME_NAMES)
    period = period_of(desk, seen) if timed else None
    where = read_filter(
        {k: v for k, v in whole(desk, seen.params).items() if k not in TIME_NAMES},
        now=seen.now,
        local=seen.zone,
    )
    if period is not None:
        until = period.until if "until" in seen.params else None
        where = msgspec.structs.replace(where, since=period.since, until=until)
    words = seen.params.get("search", "").strip()
    if words:
        need(desk, seen, "reader", "to search in bodies")
    found, before = searched(desk, where, words) if words else page_of(desk, where)
    keep = {name: value for name, value in seen.params.items() if name not in ("before", "trail")}
    newer, shown = newer_page(seen.params), columns.chosen(seen.params)
    plan = current_plan(desk)
    return View(
        "records.html",
        plan=plan,
        sealed=plan is not None and plan.sealed,
        period=period,
        keep=keep,
        names=sorted(
            deployment_names(plan) | {each.deployment for each in found} | {keep.get("deployment", "")} - {""}
        ),
        models=sorted({each.model for each in found}),
        statuses=STATUSES,
        teams=sorted(desk.in_force().teams),
        unshown=UNSHOWN,
        columns=shown,
        choice=columns.choice(shown),
        usual=shown == columns.USUAL,
        asked={name: keep[name] for name in FILTER_NAMES if keep.get(name)} | times_of(period),
        datasets=sorted({each.name for each in desk.evals.datasets()}) if seen.caller.may("operator") else (),
        scoring=choices_live(plan),
        rows=found,
        slowest=max((each.latency_ms for each in found), default=0.0),
        total=None if words else desk.log.count(msgspec.structs.replace(where, before=None)),
        looking=words and before and len(found) < ROWS,
        filtered=any(name in keep for name in (*FILTER_NAMES, "search")),
        any_records=bool(found) or newest_of(desk.log) is not None,
        newer=url("/records", keep, **newer) if newer is not None else None,
        older=url("/records", keep, **older_page(seen.params, before)) if before else None,
        newest=found[0].id if found and newer is None and not {"until", "sort"} & set(keep) else "",
        first_call="" if found else first_call(desk, plan),
        cli_records=cli_records(keep),
        views=api_usage.views_for(desk, seen.caller),
    )


def times_of(period: Period | None) -> dict[str, str]:
    """The two ends of a period, as a filter of the API has them."""
    return {"since": iso(period.since), "until": iso(period.until)} if period is not None else {}


def page_of(desk: Desk, where: RecordFilter) -> tuple[list[InferenceRecord], str | None]:
    """One page of records, newest first, and the cursor of the next where there are older ones."""
    found = list(desk.log.records(where, limit=ROWS + 1, bodies=False))
    more = len(found) > ROWS and where.sort is None
    return found[:ROWS], found[ROWS - 1].id if more else None


def searched(desk: Desk, where: RecordFilter, words: str) -> tuple[list[InferenceRecord], str | None]:
    """What a second of looking in the bodies has found, and the cursor from which to look further back."""
    try:
        found = desk.log.search(where, words, limit=ROWS, bodies=False)
    except ValueError as error:
        raise InvalidRequest(f"search: {error}", param="search") from None
    return list(found.records), found.looked_to


def newer_page(params: dict[str, str]) -> dict[str, str | None] | None:
    """What changes in the address to come to the page before this one; None on the first.

    The log pages towards older records only, so the address carries the cursors it came by, in `trail`.
    """
    if "before" not in params:
        return None
    trail = params.get("trail", "").split(".")
    return {"before": trail[-1], "trail": ".".join(trail[:-1])}


def older_page(params: dict[str, str], last: str) -> dict[str, str | None]:
    """What changes in the address to come to the page after this one, which ends with `last`."""
    trail = [each for each in (*params.get("trail", "").split("."), params.get("before", "")) if each]
    return {"before": last, "trail": ".".join(trail[-TRAIL_MAX:])}


def record(desk: Desk, seen: Visit) -> View:
    """One record."""
    found = one(desk, seen, seen.parts["id"])
    plan = current_plan(desk)
    kept = desk.ledger.release(found.release)
    whole = encode(found)
    body = body_text(sendable(found.request)) if found.request is not None else ""
    scores, actor = desk.log.scores_of([found.id]), asking(seen).actor
    corrected = correcting.corrected(found, scores)
    return View(
        "record.html",
        plan=plan,
        r=found,
        words=attempt_words(found.response),
        traced=desk.log.spans_of([found.id]),
        scores=scores[-SCORES:],
        me=actor,
        corrected=corrected,
        righted=correcting.field(found, scores, actor),
        reviews=REVIEWS,
        tags=[
            (name, value, written_tag(name, value) if 0 < len(name) <= TAG_CHARS_MAX else None)
            for name, value in found.tags.items()
        ],
        talk=conversation(found),
        fall=waterfall(found),
        speed=tokens_per_s(found),
        curl=curl(found, base_url=desk.base_url),
        needs_file=len(body.encode()) > INLINE_MAX,
        unsent=OWN if isinstance(found.request, dict) and OWN in found.request else None,
        raw=body_text(json.loads(whole)) if len(whole) <= RAW_MAX else None,
        raw_size=len(whole),
        known=kept is not None,
        release_name=kept.name if kept is not None else None,
        served=found.deployment in deployment_names(plan),
        keyed=any(each.name == found.key for each in desk.ledger.all_keys()),
        newer=newer_than(desk, found),
        older=older_than(desk, found),
        adding=offered(desk, seen.caller, found, corrected),
    )


def request_body(desk: Desk, seen: Visit) -> bytes:
    """The request of a record as it would be sent again."""
    found = one(desk, seen, seen.parts["id"])
    if found.request is None:
        raise NotFound(f"record {found.id[:80]!r} has no request body; bodies may be off", param="id")
    return body_text(sendable(found.request)).encode()


def system(desk: Desk, seen: Visit) -> View:
    """Processes, replicas, journal. It needs no record store."""
    status = desk.status_for(seen.caller)
    letters = desk.status().journal.dead_letters if seen.caller.may("reader") else ()
    note_letters(desk, asking(seen), letters)
    nodes = desk.nodes.all() if desk.nodes is not None else ()
    return View(
        "system.html",
        nodes=nodes,
        s=status,
        letters=letters,
        findings=(*system_findings(status), *node_findings(nodes, desk.clock.now())),
        versions=[("Python", platform.python_version()), *library_versions()],
    )


def one(desk: Desk, seen: Visit, record_id: str) -> InferenceRecord:
    """The record of that id, for readers with its bodies; raises NotFound."""
    bodies = seen.caller.may("reader")
    found = desk.log.records(RecordFilter(id=record_id), limit=1, bodies=bodies)
    if not found:
        raise no_record(record_id)
    if bodies:
        note_one(desk, asking(seen))
    return found[0]


def older_than(desk: Desk, found: InferenceRecord) -> str | None:
    """The id of the record that began just before."""
    older = desk.log.records(RecordFilter(before=found.id), limit=1, bodies=False)
    return older[0].id if older else None


def newer_than(desk: Desk, found: InferenceRecord) -> str | None:
    """The id of the record that began just after. The log lists newest first, so it is looked for in windows
    that widen until they hold one; None if there is none within a day, or too many at once to tell."""
    for width in (1, 60, 3_600, 86_400):
        window = RecordFilter(since=found.started_at, until=found.started_at + timedelta(seconds=width))
        listed = desk.log.records(window, limit=WINDOW_MAX, bodies=False)
        newer = [each.id for each in listed if (each.started_at, each.id) > (found.started_at, found.id)]
        if len(listed) == WINDOW_MAX:
            return None
        if newer:
            return newer[-1]
    return None


def only(stats: Sequence[DeploymentStats], deployment: str | None) -> list[DeploymentStats]:
    """The stats of one deployment, or of all."""
    return [each for each in stats if deployment in (None, each.deployment)]


def deployment_names(plan: ServingPlan | None) -> set[str]:
    """The deployments a plan serves."""
    return {each.name for each in plan.deployments} if plan is not None else set()


def library_versions() -> list[tuple[str, str]]:
    """The versions of what runs here and is installed."""
    found = []
    for name in LIBRARIES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def first_call(desk: Desk, plan: ServingPlan | None) -> str:
    """What to paste into a shell to make the first call."""
    model = "assistant"
    if plan is not None and plan.deployments:
        served = plan.deployments[0]
        model = served.aliases[0] if served.aliases else served.name
    key_file = f"{desk.status().data_dir.rstrip('/')}/secrets/api_key"
    body = body_text({"model": model, "messages": [{"role": "user", "content": "Say hello."}]}, indent=None)
    return (
        f"export OPENAI_BASE_URL={quoted(desk.base_url)}\n"
        f'export OPENAI_API_KEY="$(cat {quoted(key_file)})"  # or the key you were given\n'
        'curl -sS "$OPENAI_BASE_URL/chat/completions" \\\n'
        "  -H \"Authorization: Bearer $OPENAI_API_KEY\" -H 'Content-Type: application/json' \\\n"
        f"  --data-raw {quoted(body)}"
    )


def cli_records(keep: dict[str, str]) -> str:
    """The same question for a shell."""
    names = (*FILTER_NAMES, "search")
    flags = {name.replace("_", "-"): keep[name] for name in names if name in keep and name != "text"}
    if "since" in keep or "range" in keep:
        flags["since"] = keep.get("since") or keep["range"]
    if "until" in keep:
        flags["until"] = keep["until"]
    return "airboss records" + "".join(f" --{name} {quoted(value)}" for name, value in flags.items())


PAGES: tuple[Page, ...] = (
    Page(
        path="/",
        draw=overview,
        params=PAGE_NAMES["/"],
        role="viewer",
        room="overview",
        tab="Overview",
        docs="tutorial#look",
    ),
    Page(
        path="/records",
        draw=records,
        params=PAGE_NAMES["/records"],
        role="viewer",
        room="records",
        tab="Records",
        docs="how-to#find-a-call",
    ),
    Page(path="/records/{id}", draw=record, role="viewer", room="records", under="/records", docs="records"),
    Page(
        path="/system",
        draw=system,
        role="viewer",
        room="system",
        tab="Processes",
        docs="architecture#processes",
    ),
)
"""The pages of this module."""
