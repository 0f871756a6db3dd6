"""Usage in the admin API: by whom, over time, and against another time or release; saved views of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_args, get_type_hints
from urllib.parse import parse_qsl, urlsplit

import msgspec

from airboss.config.tags import written_tag
from airboss.console.callers import Caller
from airboss.console.desk import Desk
from airboss.console.export import CSV, PARQUET, Download, Table, as_csv
from airboss.console.marks import Mark, marks
from airboss.console.named import whole
from airboss.console.query import (
    FILTER_NAMES,
    KEYS,
    PAGE_NAMES,
    Limit,
    Period,
    check_names,
    grouped,
    read_filter,
)
from airboss.console.route import Call, Route
from airboss.domain.errors import InvalidRequest, NotFound
from airboss.domain.ports import UsageQuery
from airboss.domain.usage import DIMENSIONS, USAGE_ORDERS, UsageRow
from airboss.store.usage import BY_MAX, ROWS_MAX, check
from airboss.store.view_rows import SavedView

LIMIT: Final = Limit(100, 1_000)
STEPS_MAX: Final = 5_000
SERIES_ROWS_MAX: Final = 20_000
WEEK: Final = timedelta(days=7)
DAY_S: Final = 86_400
PERS: Final = ("day", "month")
VIEW_NAME_MAX: Final = 60
VIEW_QUERY_MAX: Final = 2_000
VIEWS_MAX: Final = 200

HIDDEN: Final = frozenset({"slow", "late", "costly", "priced", "started", "cost_p95_usd"})
"""What monitors count, which nobody asks for here."""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What one group used. `group` has a value for each of `group_by`, null for calls without one. Numbers as
    in a deployment's stats, quantiles at most 2 % off if `approximate`; `error_rate` is of the calls that
    were neither cancelled nor refused."""

    group: tuple[str | None, ...]
    start: datetime | None
    requests: int
    errors: int
    cancelled: int
    refused: int
    error_rate: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    tokens_per_s: float | None
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    cost_unknown: int
    users: int
    sessions: int
    first_at: datetime
    last_at: datetime
    approximate: bool


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A group beside itself at another time, or under another release; null where it used nothing then."""

    now: Used | None
    before: Used | None


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared with: another time, or the same with another release."""

    since: datetime
    until: datetime
    release: str | None


class UsageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Usage in `[since, until)`: `rows` by group (and step, or `per`), those with most of `metric` first, or
    the oldest steps; with `compare` the same groups side by side in `compared`. `marks` is what changed
    meanwhile."""

    since: datetime
    until: datetime
    group_by: tuple[str, ...]
    metric: str
    step_s: int | None
    per: str | None
    rows: tuple[Used, ...]
    against: Against | None
    compared: tuple[Compared, ...]
    marks: tuple[Mark, ...]


class Views(msgspec.Struct, frozen=True, kw_only=True):
    """Saved views, by name."""

    views: tuple[SavedView, ...]


class ViewIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A view to keep: its page and query, as in the address `/explore?group_by=model`."""

    name: str
    url: str


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """That a view is not kept any more."""

    name: str


def usage(desk: Desk, call: Call) -> UsageAnswer | Download:
    """GET /api/v1/usage."""
    call = msgspec.structs.replace(call, params=whole(desk, call.params))
    period = call.period()
    asked = question(desk, call, period)
    found = read(desk, call, period, asked)
    form = call.params.get("format") or "json"
    if form == "csv":
        return Download(content=as_csv(table(found)), media_type=CSV, name="usage.csv")
    if form == "parquet":
        made = table(found)
        return Download(
            content=desk.parquet(made.columns, made.rows), media_type=PARQUET, name="usage.parquet"
        )
    if form != "json":
        raise InvalidRequest(f"format={form[:60]!r} is none of json, csv, parquet", param="format")
    return found


def read(desk: Desk, call: Call, period: Period, asked: UsageQuery) -> UsageAnswer:
    """The answer to a question, compared where that is asked for."""
    per = call.params.get("per") or None
    other = against(call.params.get("compare"), period)
    if other is not None and (per or asked.step_s is not None):
        raise InvalidRequest("steps are not compared; leave out step_s and per, or compare", param="compare")
    if per == "month":
        rows = list(of_months(desk, asked, period))
    else:
        rows = [used(row) for row in desk.log.usage(asked)]
    compared: tuple[Compared, ...] = ()
    if other is not None:
        compared = side_by_side(desk, asked, rows, other)
    return UsageAnswer(
        since=period.since,
        until=period.until,
        group_by=asked.by,
        metric=asked.order,
        step_s=asked.step_s,
        per=per,
        rows=tuple(rows),
        against=other,
        compared=compared,
        marks=tuple(marks(desk, period.since, period.until, deployment=asked.where.deployment)),
    )


def question(desk: Desk, call: Call, period: Period) -> UsageQuery:
    """What a query string asks. Raises InvalidRequest."""
    params = call.params
    by = tuple(each.strip() for each in params.get("group_by", "").split(",") if each.strip())
    filters = {name: params[name] for name in FILTER_NAMES if params.get(name) and name != "sort"}
    where = read_filter(filters | {KEYS: params.get(KEYS, "")}, now=call.now, local=UTC)
    step_s = None
    per = params.get("per")
    if per and (per not in PERS or params.get("step_s")):
        raise InvalidRequest(f"per={per[:60]!r}; ask for day or month, without step_s", param="per")
    if text := params.get("step_s") or (str(DAY_S) if per == "day" else ""):
        step_s = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
        if step_s < 1 or period.seconds / step_s > STEPS_MAX:
            least = int(period.seconds / STEPS_MAX) + 1
            raise InvalidRequest(f"step_s={text[:60]!r}; ask for {least} s or more", param="step_s")
    limit = LIMIT if step_s is None else Limit(SERIES_ROWS_MAX, SERIES_ROWS_MAX)
    asked = UsageQuery(
        since=period.since,
        until=period.until,
        by=by,
        where=where,
        step_s=step_s,
        order=params.get("metric") or "requests",
        limit=limit.read(params),
        teams={key.name: key.team for key in desk.ledger.all_keys() if key.team} if "team" in by else {},
    )
    try:
        check(asked)
    except ValueError as error:
        name = "metric" if asked.order not in USAGE_ORDERS and len(by) <= BY_MAX else "group_by"
        raise InvalidRequest(str(error), param=name) from None
    return asked


def of_months(desk: Desk, asked: UsageQuery, period: Period) -> Iterator[Used]:
    """The rows of each calendar month (UTC) of a period, the oldest first; its ends may cut months short."""
    begin = period.since.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while begin < period.until:
        end = after(begin, "month")
        within = (max(begin, period.since), min(end, period.until))
        for row in desk.log.usage(msgspec.structs.replace(asked, since=within[0], until=within[1])):
            yield msgspec.structs.replace(used(row), start=begin)
        begin = end


def after(start: datetime, per: str) -> datetime:
    """When the day or the calendar month is over that begins then."""
    return start + timedelta(days=1) if per == "day" else (start + timedelta(days=32)).replace(day=1)


def against(text: str | None, period: Period) -> Against | None:
    """What `compare` means."""
    if not text:
        return None
    if text == "previous":
        before = period.before
        return Against(since=before.since, until=before.until, release=None)
    if text == "week":
        return Against(since=period.since - WEEK, until=period.until - WEEK, release=None)
    return Against(since=period.since, until=period.until, release=text)


def side_by_side(desk: Desk, asked: UsageQuery, rows: list[Used], other: Against) -> tuple[Compared, ...]:
    """Each group now and then; groups that are only in the other come last."""
    where = asked.where
    if other.release is not None:
        where = msgspec.structs.replace(where, release=other.release)
    then = msgspec.structs.replace(asked, since=other.since, until=other.until, where=where)
    now = {row.group: row for row in rows}
    before = {row.group: used(row) for row in desk.log.usage(then)}
    groups = (*now, *(group for group in before if group not in now))
    now, before = beyond(desk, asked, now, groups), beyond(desk, then, before, groups)
    return tuple(Compared(now=now.get(group), before=before.get(group)) for group in groups)


def beyond(
    desk: Desk,
    asked: UsageQuery,
    found: dict[tuple[str | None, ...], Used],
    groups: Sequence[tuple[str | None, ...]],
) -> dict[tuple[str | None, ...], Used]:
    """What was found, with the numbers of those of `groups` that a limit has cut off."""
    missing = {group for group in groups if group not in found}
    if not missing or len(found) < asked.limit:
        return found
    among = tuple({group[0] for group in missing})
    rows = desk.log.usage(msgspec.structs.replace(asked, among=among, limit=ROWS_MAX))
    return {**found, **{row.group: used(row) for row in rows if row.group in missing}}


def used(row: UsageRow) -> Used:
    """A row for a person or program."""
    ended = row.requests - row.cancelled - row.refused
    given = {
        name: getattr(row, name)
        for name in UsageRow.__struct_fields__
        if name not in HIDDEN and name != "answered"
    }
    return Used(**given, error_rate=row.errors / ended if ended else None)


def table(found: UsageAnswer) -> Table:
    """The rows of an answer, flat: a column for each group, and with `compare` one for each number before."""
    hints = get_type_hints(Used)
    names = {name: kind_of(hints[name]) for name in Used.__struct_fields__ if name not in ("group", "start")}
    columns: dict[str, type] = dict.fromkeys(found.group_by, str)
    over_time = found.step_s is not None or found.per is not None
    columns |= {"start": datetime} if over_time else {}
    columns |= names
    columns |= {f"before_{name}": kind for name, kind in names.items()} if found.against is not None else {}
    pairs = (
        [(each.now, each.before) for each in found.compared]
        if found.against is not None
        else [(row, None) for row in found.rows]
    )
    rows = []
    for now, before in pairs:
        one = now or before
        assert one is not None  # a group is there because it used something
        row: dict[str, object] = dict(zip(found.group_by, one.group, strict=True))
        if over_time:
            row["start"] = one.start
        row |= {name: getattr(now, name) if now is not None else None for name in names}
        if found.against is not None:
            row |= {f"before_{name}": getattr(before, name) if before else None for name in names}
        rows.append(row)
    return Table(columns=columns, rows=rows)


def kind_of(hint: Any) -> type:
    """The type of a number that may be missing."""
    found: type = next((each for each in get_args(hint) if each is not type(None)), hint)
    return found


def views(desk: Desk, call: Call) -> Views:
    """GET /api/v1/views."""
    return Views(views=views_for(desk, call.caller))


def views_for(desk: Desk, caller: Caller) -> tuple[SavedView, ...]:
    """The saved views that somebody can open: what was looked for in bodies is for readers."""
    return tuple(each for each in desk.views.views() if caller.may("reader") or "search" not in each.query)


def save_view(desk: Desk, call: Call) -> SavedView:
    """POST /api/v1/views."""
    intent = call.intent(ViewIntent)
    name, parts = intent.name.strip(), urlsplit(intent.url)
    if not 0 < len(name) <= VIEW_NAME_MAX or not name.isprintable():
        said = f"the name is {name[:80]!r}; give 1 to {VIEW_NAME_MAX} characters that can be seen"
        raise InvalidRequest(said, param="name")
    if name in {".", ".."} or name.endswith("/"):
        raise InvalidRequest(
            f"{name!r} cannot stand in an address, to delete it by; add a word", param="name"
        )
    if parts.scheme or parts.netloc or parts.path not in PAGE_NAMES or len(intent.url) > VIEW_QUERY_MAX:
        raise InvalidRequest(
            f"url={intent.url[:80]!r} is no page to save; there are {', '.join(PAGE_NAMES)}", param="url"
        )
    kept = desk.views.views()
    if len(kept) >= VIEWS_MAX and name not in {each.name for each in kept}:
        raise InvalidRequest(f"there are {len(kept)} views, of at most {VIEWS_MAX}; delete one", param="name")
    query = dict(parse_qsl(parts.query, keep_blank_values=False))
    check_names(query, PAGE_NAMES[parts.path])
    view = SavedView(name=name, path=parts.path, query=grouped(query), by=call.actor, at=call.now)
    with desk.ledger.together():
        desk.views.put_view(view)
        desk.note(call, "view.save", name, {"path": view.path})
    return view


def delete_view(desk: Desk, call: Call) -> Gone:
    """POST /api/v1/views/{name}/delete."""
    name = call.path["name"]
    with desk.ledger.together():
        if not desk.views.drop_view(name):
            raise NotFound(f"there is no view {name[:80]!r}", param="name")
        desk.note(call, "view.delete", name)
    return Gone(name=name)


def filter_of(asked: UsageQuery, group: tuple[str | None, ...]) -> dict[str, str] | None:
    """The filters of the calls in a group, on top of the question's; None where no filter says that."""
    found: dict[str, str] = {} if asked.where.tag is None else {"tag": asked.where.tag}
    for name, value in zip(asked.by, group, strict=True):
        if name == "team" and "key" in asked.by:  # which says it
            continue
        if value is None or name in ("provider", "operation", "finish_reason"):
            return None
        tag = name.removeprefix("tag:")
        if not value and tag == name:  # an empty filter is none
            return None
        if tag == name:
            found[name] = value
        elif found.setdefault("tag", written_tag(tag, value)) != written_tag(tag, value):
            return None  # by two tags nothing is filtered
    return found


USAGE_PARAMS = {
    "group_by": f"by what, at most two with a comma between: {', '.join(DIMENSIONS)} or tag:NAME; left out: "
    "all together",
    "metric": f"rows with most of it come first: {', '.join(USAGE_ORDERS)}; requests unless given",
    "compare": "previous (the time of the same length before), week (a week ago), or the digest of a release",
    "step_s": "over time, in steps of so many seconds",
    "per": "over time: by `day`, or by calendar `month`, both in UTC; instead of step_s",
    "since": "from here on: RFC 3339, or `15m`, `6h`, `7d` for so long ago",
    "until": "before this: RFC 3339, or so long ago; now unless given",
    "range": "instead of both: 15m, 1h, 6h, 24h, 7d or 30d; 24h unless given",
    **{name: "as of records" for name in FILTER_NAMES if name != "sort"},
    "limit": f"{LIMIT.told(' rows')}, of each month; with step_s or by day all",
    "format": "csv or parquet: a file instead of JSON",
}
ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/usage",
        summary="What was used: by whom, over time, against another time or release",
        answer=UsageAnswer,
        handle=usage,
        role="viewer",
        params=USAGE_PARAMS,
    ),
    Route(method="GET", path="/api/v1/views", summary="Saved views", handle=views, role="viewer"),
    Route(
        method="POST",
        path="/api/v1/views",
        summary="Keep a view under a name, in place of one that has it",
        handle=save_view,
        role="operator",
        body=ViewIntent,
    ),
    Route(
        method="POST",
        path="/api/v1/views/{name}/delete",
        summary="Keep a view no more",
        handle=delete_view,
        role="operator",
    ),
)
"""Every route about usage."""
