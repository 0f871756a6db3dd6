"""`airboss records`: calls, as they were recorded."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from airboss.cli.api import Api, patiently, reach
from airboss.cli.caught_up import catch_up
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import (
    console,
    dash,
    escape,
    fitting,
    left_out,
    local_time,
    milliseconds,
    print_each,
    print_json,
    print_nothing,
    said,
    short_time,
    table_of,
    usd,
)
from airboss.cli.records_dead import dead
from airboss.cli.records_files import export, import_
from airboss.cli.records_filters import (
    ArmOption,
    DeploymentOption,
    ErrorTypeOption,
    KeyOption,
    ModelOption,
    PolicyOption,
    Query,
    ReleaseOption,
    ScoreOption,
    SessionOption,
    SinceOption,
    SlowerOption,
    StatusOption,
    TagOption,
    TeamOption,
    UntilOption,
    UserOption,
    filters,
    in_ms,
)
from airboss.cli.records_score import score as score_record
from airboss.cli.show_trace import show_trace
from airboss.cli.usage import show_usage
from airboss.domain.errors import AirbossError, WrongCall

LIMIT_MAX = 1_000_000
TABLE_MAX = 1_000
"""A table is made of as many at most, which takes a second; more are lines as they are found."""
PAGE = 1_000
FOLLOWED_MAX = 10_000
"""Of those that are there as `--follow` begins."""
SORTED_MAX = 1_000
"""Of what is not paged."""
FOLLOW_S = 0.5
USAGE_MAX = 1_000

records = typer.Typer(no_args_is_help=False)
"""`airboss records`, and what stands under it."""
records.command("export")(export)
records.command("import")(import_)
records.command("score")(score_record)
records.command("dead")(dead)

SortOption = Annotated[
    str | None, typer.Option(help="slowest, costliest or longest first, or shuffled, not newest.")
]
ByOption = Annotated[
    str | None, typer.Option(help="Instead of calls, what was used by model, user, tag:NAME, …")
]
CompareOption = Annotated[
    str | None, typer.Option(help="With --by: beside previous, week, or the digest of another release.")
]
MostOption = Annotated[str | None, typer.Option(help="With --by: errors, latency_p95_ms, cost_usd, … first.")]
PerOption = Annotated[str | None, typer.Option(help="With --by: for each day or month, in UTC.")]
OutOption = Annotated[Path | None, typer.Option(help="With --by: write a .csv or .parquet file.")]
IdOption = Annotated[str | None, typer.Option("--id", help="One record in full, with its bodies.")]
TraceOption = Annotated[
    str | None, typer.Option(help="The trace of this id as a tree: agents, tools and calls with their times.")
]
SearchOption = Annotated[
    str | None, typer.Option(help="Only calls with these words in request or response; a phrase in quotes.")
]


@records.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    *,
    deployment: DeploymentOption = None,
    status: StatusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    model: ModelOption = None,
    user: UserOption = None,
    score: ScoreOption = None,
    release: ReleaseOption = None,
    key: KeyOption = None,
    session: SessionOption = None,
    tag: TagOption = None,
    team: TeamOption = None,
    policy: PolicyOption = None,
    arm: ArmOption = None,
    error_type: ErrorTypeOption = None,
    slower_ms: SlowerOption = None,
    sort: SortOption = None,
    by: ByOption = None,
    compare: CompareOption = None,
    most: MostOption = None,
    per: PerOption = None,
    out: OutOption = None,
    search: SearchOption = None,
    record_id: IdOption = None,
    trace: TraceOption = None,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many, newest first.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones as they come.")] = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Show recorded calls: speed, length, tokens, cost and the release that answered."""
    if context.invoked_subcommand is not None:
        return
    query = filters(
        deployment=deployment,
        status=status,
        since=since,
        until=until,
        model=model,
        user=user,
        score=score,
        release=release,
        key=key,
        session=session,
        tag=tag,
        team=team,
        policy=policy,
        arm=arm,
        error_type=error_type,
        slower_ms=in_ms(slower_ms),
        sort=sort,
        search=search,
        whole_days=per is not None,
    )
    check_by(by, sums=bool(compare or most or per or out), calls=bool(search or sort or record_id or follow))
    check_trace(trace, alone=not (query or by or record_id or follow))
    with reach(data_dir, url) as api:
        if not follow:
            catch_up(api, query.get("until"))
        if by is not None:
            rows = rows_asked(context, limit, per, out)
            asked = {"group_by": by, "compare": compare, "metric": most, "per": per, "limit": rows}
            show_usage(api, query, asked, out=out, as_json=as_json)
        else:
            show_calls(api, query, limit, record_id=record_id, trace=trace, follow=follow, as_json=as_json)


def show_calls(
    api: Api,
    query: Query,
    limit: int,
    *,
    record_id: str | None,
    trace: str | None,
    follow: bool,
    as_json: bool,
) -> None:
    """A trace, one record, or all that match."""
    if trace is not None:
        show_trace(api, trace, as_json=as_json)
    elif record_id is not None:
        show_record(api, record_id, as_json=as_json)
    else:
        show_records(api, query, limit, follow=follow, as_json=as_json)


def rows_asked(context: typer.Context, limit: int, per: str | None, out: Path | None) -> str | None:
    """How many groups to ask for. Who adds up months, or in a file, needs all that there are, unless a limit
    is given; of days that is so without one."""
    given = context.get_parameter_source("limit")
    if (per is None and out is None) or given is None or given.name != "DEFAULT":
        return str(min(limit, USAGE_MAX))
    return None if per == "day" else str(USAGE_MAX)


def check_by(by: str | None, *, sums: bool, calls: bool) -> None:
    """Raise WrongCall for flags that go with `--by` where it is not given, or do not where it is."""
    if by is None and sums:
        raise WrongCall("--compare, --most, --per and --out go with --by.")
    if by is not None and calls:
        raise WrongCall(
            "--by adds calls up; leave out --search, --sort, --id and --follow; --most says what comes first."
        )


def check_trace(trace: str | None, *, alone: bool) -> None:
    """Raise WrongCall where a trace is asked for with what chooses among records."""
    if trace is not None and not alone:
        raise WrongCall("--trace shows a trace whole; leave out what chooses among records.")


def show_record(api: Api, record_id: str, *, as_json: bool) -> None:
    """One record. Raises AirbossError if there is none."""
    if not record_id.strip("./"):
        # Such a name would be another place of the API.
        raise AirbossError(f"no record {record_id!r}; `airboss records` lists the newest with their ids")
    where = f"/api/v1/records/{quote(record_id, safe='')}"
    found = api.get(where)
    if as_json:
        print_json(found)
        return
    show_one(found, scores_of(api, where) if found["scores"] else ())


def scores_of(api: Api, where: str) -> Sequence[dict[str, Any]]:
    """Who thinks what of a record, and in which words: the record has the values alone. Nothing for a role
    that may not read what people write."""
    try:
        found: Sequence[dict[str, Any]] = api.get(f"{where}/scores")["scores"]
    except AirbossError as error:
        if error.code != "role_too_low":
            raise
        return ()
    return found


def show_records(api: Api, query: Query, limit: int, *, follow: bool, as_json: bool) -> None:
    """Those that match, and with `follow` those that come."""
    if follow and "sort" in query:
        raise WrongCall("--follow shows calls as they come; leave out --sort.")
    if follow and "until" in query:
        raise WrongCall("--follow goes on with what comes; leave out --until.")
    if "search" in query and (follow or "sort" in query):
        raise WrongCall("--search looks in what is stored, the last first; leave out --follow and --sort.")
    if "sort" in query and limit > SORTED_MAX:
        raise WrongCall(f"--sort shows the first {SORTED_MAX:,} at most; give a --limit up to that.")
    if follow:
        follow_records(api, query, limit, as_json=as_json)
        return
    if as_json:
        shown = print_each(pages(api, query, limit, bodies=True))
    elif "search" in query or limit > TABLE_MAX:
        # Each as a line when it is found: looking through all of them may take a while.
        shown = print_each(pages(api, query, limit, bodies=False), follow_line)
    else:
        found = list(pages(api, query, limit, bodies=False))
        shown = bool(found)
        if shown:
            show_table(found)
    if not shown:
        tell_none(api, query)


def tell_none(api: Api, query: Query) -> None:
    """Say that there are none, and what may be why."""
    words = "no record holds these words"
    if "search" not in query:
        words = "no records match; calls appear here within a second of their end"
    print_nothing(words)
    if "deployment" in query:
        tell_unserved(api, query["deployment"])


def tell_unserved(api: Api, name: str) -> None:
    """Say so where no deployment of that name is served now: it may be misspelt, or gone."""
    from airboss.config.wording import nearest  # noqa: PLC0415 - for one who finds nothing

    served = [each["name"] for each in api.get("/api/v1/deployments")["deployments"]]
    if name not in served:
        sys.stderr.write(f"airboss: no deployment {name!r} is served now; {nearest(name, served)}\n")


def pages(api: Api, query: Query, limit: int, *, bodies: bool) -> Iterator[dict[str, Any]]:
    """At most `limit` records that match, newest first, page by page; a page of a search may be empty. Who
    does not answer the first is not there; for a later one we wait."""
    cursor: str | None = None
    while limit > 0:
        params = {**query, "limit": str(min(limit, PAGE)), "bodies": "true" if bodies else "false"}
        if cursor is not None:
            params["before"] = cursor
        ask = partial(api.get, "/api/v1/records", params)
        page = ask() if cursor is None else patiently(ask)
        yield from page["records"]
        limit -= len(page["records"])
        if page["next"] in {None, cursor}:
            return
        cursor = page["next"]


def follow_records(api: Api, query: Query, limit: int, *, as_json: bool) -> None:
    """The newest records, oldest of them first, then each new one as it is stored, until Ctrl-C.
    A store or a controller that is away meanwhile is waited for."""
    if not api.running:
        raise WrongCall("--follow needs a running Airboss; start it with `airboss up`.")
    write: Callable[[dict[str, Any]], None] = print_json if as_json else follow_line
    seen = list(pages(api, query, min(limit, FOLLOWED_MAX), bodies=as_json))
    for each in reversed(seen):
        write(each)
    cursor = seen[0]["id"] if seen else None
    # A span may tell of a call ahead of our clock: then what came after it is among those shown.
    shown = {each["id"] for each in seen}
    try:
        while True:
            params = {**query, "limit": str(PAGE), "bodies": "true" if as_json else "false"}
            if cursor is not None:
                params["after"] = cursor
            page = patiently(partial(api.get, "/api/v1/records", params))["records"]
            # Without a record to go on from they come newest first.
            for each in page if cursor is not None else reversed(page):
                if each["id"] not in shown:
                    write(each)
                cursor = each["id"]
            if len(page) < PAGE:
                time.sleep(FOLLOW_S)
    except KeyboardInterrupt:
        return


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "time": lambda r: local_time(r["started_at"]),
    "id": lambda r: r["id"],
    "deployment": lambda r: r["deployment"],
    "model": lambda r: r["model"],
    "status": lambda r: outcome(r),  # noqa: PLW0108 - it is defined below
    "latency": lambda r: milliseconds(r["latency_ms"]),
    "TTFT": lambda r: milliseconds(r["ttft_ms"]),
    "chars": lambda r: str(r["output_chars"]),
    "tokens in/out": lambda r: f"{dash(r['input_tokens'])}/{dash(r['output_tokens'])}",
    "cost": lambda r: usd(r["cost_usd"]),
    "release": lambda r: r["release"][:8],
}
LEAST = ("chars", "TTFT", "release", "deployment", "cost", "model", "tokens in/out", "latency")
"""What goes first where a terminal is narrow; the time, the id and the end of a call always stand there."""
NUMBERS = frozenset({"latency", "TTFT", "chars", "tokens in/out", "cost"})
WIDTHS = (19, 36, 14, 24, 18, 9, 9, 7, 13, 11, 8)


def show_table(found: list[dict[str, Any]]) -> None:
    """Records as a table; the newest stands first."""
    out = console()
    cells = {name: [read(each) for each in found] for name, read in COLUMNS.items()}
    kept = fitting(cells, out.width, least=LEAST)
    if len(kept) < len(cells):
        cells["time"] = [short_time(each["started_at"]) for each in found]
        cells["status"] = [each["status"] for each in found]
        kept = fitting(cells, out.width, least=LEAST)
    table = table_of()
    for name in kept:
        whole = max(map(len, cells[name])) if name in ("time", "id") else None
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=True, min_width=whole)
    for number, each in enumerate(found):
        row = {name: escape(cells[name][number]) for name in kept}
        row["status"] = f"[{STATUS_COLOURS.get(each['status'], 'red')}]{row['status']}[/]"
        table.add_row(*row.values())
    out.print(table)
    if note := left_out(cells, kept):
        out.print(note, style="dim", markup=False)


STATUS_COLOURS = {"ok": "green", "cancelled": "yellow", "refused": "yellow"}


def follow_line(record: dict[str, Any]) -> None:
    """One record as one line of fixed columns."""
    cells = [
        f"{read(record):>{width}}" if name in NUMBERS else f"{read(record):{width}}"
        for (name, read), width in zip(COLUMNS.items(), WIDTHS, strict=True)
    ]
    sys.stdout.write("  ".join(cells).rstrip() + "\n")
    sys.stdout.flush()


def as_read(value: object) -> str:
    """A field's value; what was not measured is a dash."""
    return "-" if value is None else said(value)


def printed(words: str) -> str:
    """What somebody said, on one line."""
    return words if words.isprintable() else json.dumps(words)


def show_one(record: dict[str, Any], scores: Sequence[dict[str, Any]] = ()) -> None:
    """Every field of one record, what is thought of it, then its bodies as indented JSON."""
    from airboss.dialects.failed_attempts import attempt_words  # noqa: PLC0415 - msgspec, for this alone

    for name, value in record.items():
        if name in ("request", "response", "attempts"):
            continue
        sys.stdout.write(f"{name:20} {as_read(value)}\n")
    words = attempt_words(record["response"])
    for number, attempt in enumerate(record["attempts"], 1):
        sys.stdout.write(f"\nattempt {number}\n")
        if attempt.get("error_type") and (told := words.get(number)):
            sys.stdout.write(f"  {'message':18} {printed(told)}\n")
        for name, value in attempt.items():
            sys.stdout.write(f"  {name:18} {'-' if value is None else said(value)}\n")
    for score in scores:
        value = "unscored" if score["value"] is None else as_read(score["value"])
        of = f" of {as_read(score['user'])}" if score["user"] else ""
        why = score["comment"] or score["unscored"]
        by = score["by"] + (f": {printed(why)}" if why else "")
        sys.stdout.write(f"\nscore {score['name']} {value}, {score['source']}{of} by {by}\n")
    for name in ("request", "response"):
        body = "not kept" if record[name] is None else json.dumps(record[name], ensure_ascii=False, indent=2)
        sys.stdout.write(f"\n{name}\n{body}\n")
    sys.stdout.flush()


def outcome(record: dict[str, Any]) -> str:
    """How it ended; for an error, of which kind."""
    kind = record["error_type"]
    return f"{record['status']} ({kind})" if kind else str(record["status"])
