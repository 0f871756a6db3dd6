"""Explore: what was used, by whom and when, beside another time or release; and the views that were saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from airboss.config.tags import TAG_CHARS_MAX
from airboss.console import api_usage
from airboss.console.api_usage import Compared, UsageAnswer, Used
from airboss.console.chart import LINES_MAX, Chart, busiest, chart
from airboss.console.curl import quoted
from airboss.console.desk import Desk
from airboss.console.marks import gathered
from airboss.console.named import whole
from airboss.console.page import Action, Form, Page, View, period_of
from airboss.console.query import EXPLORE_FILTERS, PAGE_NAMES, TIME_NAMES, Period, grouped
from airboss.console.render import Visit, url
from airboss.console.route import Call
from airboss.console.text import HUES, hue
from airboss.console.views import CHARTS, MARK_STEPS
from airboss.domain.ports import RecordFilter, StatsBucket, UsageQuery
from airboss.domain.usage import DIMENSIONS

METRICS: Final = {
    "requests": "most calls",
    "errors": "most errors",
    "latency_p95_ms": "slowest",
    "cost_usd": "costliest",
    "output_tokens": "most tokens out",
    "last_at": "newest",
}
PERS: Final = {"": "the whole time", "day": "day", "month": "month"}
COMPARES: Final = {"": "nothing", "previous": "the time before", "week": "a week ago"}
ROWS: Final = 100
DAYS_ROWS: Final = 1_000
"""So many by the day; a file has more."""
TAGGED: Final = 200
"""So many of the newest calls are asked which tags there are."""
TAGS: Final = 20
"""So many of these are offered."""
NONE: Final = "(none)"
"""What a group of calls without the thing is called."""
EMPTY: Final = "(empty)"
"""What one is called where the thing is a text without characters."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A group: its day or month (`start`), its words, its numbers now and before, and where its calls are."""

    start: str | None
    names: tuple[str, ...]
    now: Used | None
    before: Used | None
    records: str | None
    deeper: str | None


def explore(desk: Desk, seen: Visit) -> View:
    """The page."""
    period = period_of(desk, seen)
    keep = grouped(seen.params)
    by = keep.get("group_by") or "deployment"
    params = {**{name: value for name, value in keep.items() if name not in TIME_NAMES}, "group_by": by}
    per = params.get("per", "")
    call = Call(
        params={**whole(desk, params), "limit": str(DAYS_ROWS if per == "day" else ROWS)},
        path={},
        body=b"",
        now=seen.now,
        caller=seen.caller,
    )
    asked = api_usage.question(desk, call, period)
    found = api_usage.read(desk, call, period, msgspec.structs.replace(asked, people=("users",)))
    charted = charts(desk, found, asked, period, zone_name=str(seen.zone))
    return View(
        "explore.html",
        period=period,
        keep=keep,
        by=by,
        by_parts=(*asked.by, "")[:2],
        groups=[*DIMENSIONS, *dict.fromkeys((*others(asked.by), *tags(desk, asked, period)))],
        per=per,
        pers=PERS,
        cut=per == "day" and len(found.rows) == DAYS_ROWS,
        metric=asked.order,
        metrics=METRICS,
        compare=keep.get("compare", ""),
        compares=COMPARES,
        filters=EXPLORE_FILTERS,
        rows=rows(found, asked, keep, period),
        against=found.against,
        approximate=any(each.approximate for each in found.rows),
        marks=found.marks,
        charts=CHARTS,
        chart_json=msgspec.json.encode(charted).decode(),
        lines=charted.lines,
        omitted=charted.omitted,
        single=len(charted.lines) == 1,
        views=api_usage.views_for(desk, seen.caller),
        files={form: exported(params, period, form) for form in ("csv", "parquet")},
        cli=cli(params, period),
    )


def others(by: Sequence[str]) -> list[str]:
    """Those of them that are no dimension: tags."""
    return [each for each in by if each not in DIMENSIONS]


def rows(found: UsageAnswer, asked: UsageQuery, keep: dict[str, str], period: Period) -> list[Row]:
    """The table."""
    pairs: Sequence[Compared] = found.compared
    if found.against is None:
        pairs = [Compared(now=row, before=None) for row in found.rows]
    return [row(pair, asked, keep, period) for pair in pairs]


def row(pair: Compared, asked: UsageQuery, keep: dict[str, str], period: Period) -> Row:
    """One line of it."""
    one = pair.now or pair.before
    assert one is not None  # a group is there because it used something
    filters = {name: keep[name] for name in EXPLORE_FILTERS if name in keep}
    own = api_usage.filter_of(asked, one.group)
    times = {name: keep[name] for name in TIME_NAMES if name in keep} or period.params
    start, per = None, keep.get("per")
    if per and one.start is not None:
        start = one.start.strftime("%Y-%m-%d" if per == "day" else "%Y-%m")
        end = api_usage.after(one.start, per)
        within = Period(since=max(one.start, period.since), until=min(end, period.until), key=None)
        times = within.params
    records = url("/records", {**filters, **own, **times}) if own is not None else None
    deeper = None
    if own is not None and set(own) <= set(EXPLORE_FILTERS):
        deeper = url("/explore", {**keep, **own}, group_by="user" if asked.by[:1] != ("user",) else "session")
    return Row(
        start=start,
        names=tuple(map(named, one.group)),
        now=pair.now,
        before=pair.before,
        records=records,
        deeper=deeper,
    )


def tags(desk: Desk, asked: UsageQuery, period: Period) -> list[str]:
    """By which tags the calls of a period can be told, as far as the newest of them say."""
    # Nothing else that narrows the calls down: few may be left, and all of a time would be read for them.
    where = RecordFilter(deployment=asked.where.deployment, since=period.since, until=period.until)
    found = {name for each in desk.log.records(where, limit=TAGGED, bodies=False) for name in each.tags}
    named = (f"tag:{name}" for name in sorted(found) if 0 < len(name) <= TAG_CHARS_MAX and "," not in name)
    return [each for each in named if each == each.strip()][:TAGS]


def charts(desk: Desk, found: UsageAnswer, asked: UsageQuery, period: Period, *, zone_name: str) -> Chart:
    """The busiest groups over time; with two groups, by the first."""
    rows = found.rows if found.per is None else sorted(found.rows, key=lambda each: -each.requests)
    top = tuple(dict.fromkeys(each.group[0] for each in rows))[:LINES_MAX]
    step = period.step_s
    start = period.since.timestamp() // step * step
    over_time = msgspec.structs.replace(
        asked,
        since=period.since.fromtimestamp(start, tz=period.since.tzinfo),
        by=asked.by[:1],
        among=top,
        step_s=step,
        limit=api_usage.SERIES_ROWS_MAX,
        people=(),
    )
    buckets = [
        StatsBucket(
            deployment=named(each.group[0]),
            **{
                name: getattr(each, name)
                for name in StatsBucket.__struct_fields__
                if name not in ("deployment", "start", "approximate")
            },
            start=each.start or period.since,
        )
        for each in desk.log.usage(over_time)
    ]
    made = busiest(
        chart(
            buckets,
            period,
            hues=hue if asked.by[:1] == ("release",) else spread(top),
            zone=zone_name,
            deployment=None,
            marks=gathered(list(found.marks), MARK_STEPS * step),
        )
    )
    others = len({each.group[0] for each in found.rows}) - len(top)
    return msgspec.structs.replace(made, omitted=max(0, others))


def named(group: str | None) -> str:
    """What a group is called, so that it can be seen."""
    return NONE if group is None else group or EMPTY


def spread(names: Sequence[str | None]) -> Callable[[str], int]:
    """Hues in their order, whose first are those that are farthest apart."""
    order = {named(name): at for at, name in enumerate(names)}
    return lambda name: order.get(name, 0) % HUES


def exported(params: dict[str, str], period: Period, form: str) -> str:
    """Where the same is a file."""
    return url("/api/v1/usage", {**params, **period.params, "format": form})


def cli(params: dict[str, str], period: Period) -> str:
    """The same question for a shell."""
    flags = {"by": params["group_by"], "compare": params.get("compare", ""), "most": params.get("metric", "")}
    flags["per"] = params.get("per", "")
    flags |= {name.replace("_", "-"): params[name] for name in EXPLORE_FILTERS if name in params}
    flags["since"] = period.key or period.params["since"]
    if period.key is None:
        flags["until"] = period.params["until"]
    return "airboss records" + "".join(f" --{name} {quoted(value)}" for name, value in flags.items() if value)


def save(desk: Desk, form: Form) -> str:
    """Keep the page as it is under a name."""
    wanted = form.needed("url", most=api_usage.VIEW_QUERY_MAX)
    api_usage.save_view(desk, form.call({"name": form.needed("name"), "url": wanted}))
    return wanted


def delete(desk: Desk, form: Form) -> str:
    """Keep a view no more."""
    name = form.needed("name")
    api_usage.delete_view(desk, form.call(None, name=name))
    return "/explore"


PAGES: tuple[Page, ...] = (
    Page(
        path="/explore",
        draw=explore,
        params=PAGE_NAMES["/explore"],
        role="viewer",
        room="overview",
        tab="Explore",
        docs="how-to#see-who-uses-what",
    ),
)
"""The pages of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(
        name="view.save",
        path="/explore/save",
        act=save,
        role="operator",
        done="Saved; it stands under Saved views.",
    ),
    Action(
        name="view.delete",
        path="/explore/delete",
        act=delete,
        role="operator",
        done="The view is not kept any more.",
    ),
)
"""What its forms do."""
