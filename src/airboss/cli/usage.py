"""`airboss records --by`: what was used, by whom, as a table, JSON or a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airboss.cli.files import form_of, write_table
from airboss.cli.output import (
    console,
    dash,
    escape,
    fitting,
    left_out,
    milliseconds,
    print_json,
    print_nothing,
    table_of,
    usd,
)

if TYPE_CHECKING:
    from airboss.cli.api import Api

SUMS = ("requests", "errors %", "p50", "p95", "TTFT p95", "tok/s", "tokens in/out", "cost", "users")
LEAST = ("users", "tok/s", "TTFT p95", "p50", "tokens in/out", "cost", "p95")
"""What goes first where a terminal is narrow; who it is about never does."""

Pairs = list[tuple[Any, Any]]
"""Rows of usage, each beside what it is compared with, or None."""
NONE = "nothing was used then; --since 30d looks further back"
LETTERS = {"day": len("2026-11-30"), "month": len("2026-11")}


def show_usage(
    api: Api, query: dict[str, str], asked: Mapping[str, str | None], *, out: Path | None, as_json: bool
) -> None:
    """Ask of the calls of `query`, and show it or write it into a file; what is None is not asked. Raises
    WrongCall for a file of another kind."""
    query = {**query, **{name: value for name, value in asked.items() if value is not None}}
    if out is not None:
        content = api.get_file("/api/v1/usage", {**query, "format": form_of(out)})
        write_table(out, content, as_json=as_json)
        if form_of(out) == "csv" and content.count(b"\n") <= 1:  # only the names of its columns
            print_nothing(f"0 rows: {NONE}")
        return
    found = api.get("/api/v1/usage", query)
    pairs = pairs_of(found)
    if not pairs:
        print_nothing(NONE)
    elif as_json:
        for now, before in pairs:
            row = now if now is not None else {"group": (before or {}).get("group")}
            print_json(row if found["against"] is None else {**row, "before": before})
    else:
        sums = totals(api, query, found, pairs)
        show_table(found["group_by"], pairs, sums, per=found.get("per"))


def pairs_of(found: Mapping[str, Any]) -> Pairs:
    """Each group of an answer, and what it is compared with."""
    if found["against"] is not None:
        return [(each["now"], each["before"]) for each in found["compared"]]
    return [(row, None) for row in found["rows"]]


def totals(api: Api, query: Mapping[str, str], found: Mapping[str, Any], pairs: Pairs) -> Pairs:
    """All groups together, of each period there is one of: asked of the same calls, for a limit leaves groups
    out, and neither users nor quantiles add up. None where a single group says the same."""
    times = {name: found[name] for name in ("since", "until") if name in found}
    asked = {name: value for name, value in query.items() if name not in ("group_by", "limit", "metric")}
    by_start: dict[str | None, list[tuple[int, int]]] = {}
    for now, before in pairs:
        by_start.setdefault(start_of(now, before), []).append(counted(now, before))
    return [
        (now, before)
        for now, before in pairs_of(api.get("/api/v1/usage", {**asked, **times}))
        if by_start.get(start_of(now, before), []) != [counted(now, before)]
    ]


def start_of(now: Any, before: Any) -> str | None:
    """When the period of a row begins; None where there are no periods."""
    start: str | None = (now or before).get("start")
    return start


def counted(now: Any, before: Any) -> tuple[int, int]:
    """How many calls there were, now and then."""
    return (now["requests"] if now else 0, before["requests"] if before else 0)


def show_table(by: list[str], pairs: Pairs, sums: Pairs, *, per: str | None = None) -> None:
    """Groups as a table, after the day or month that `per` names, and below those of each, or of all, their
    sum; a change against what is compared with stands in brackets."""
    out = console()
    pairs = with_sums(pairs, sums, by)
    in_no_team = "team" in by and any(
        (now or before)["group"][by.index("team")] is None for now, before in pairs
    )
    rows = [cells(now, before) for now, before in pairs]
    if per is not None:
        by = [per, *by]
        rows = [[now["start"][: LETTERS[per]], *row] for row, (now, _) in zip(rows, pairs, strict=True)]
    columns = {name: [row[number] for row in rows] for number, name in enumerate((*by, *SUMS))}
    kept = fitting(columns, out.width, least=LEAST, folded=by)
    table = table_of()
    for name in kept:
        if name in by:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True, min_width=max(map(len, columns[name])))
    for number in range(len(rows)):
        table.add_row(*(escape(columns[name][number]) for name in kept))
    out.print(table)
    if note := left_out(columns, kept):
        out.print(note, style="dim", markup=False)
    if in_no_team:
        out.print("team -: calls by keys that are in none now", style="dim", markup=False)
    if any(now and now["approximate"] for now, _ in pairs):
        console().print(
            "quantiles are within 2 %: of so many calls they are read off histograms", markup=False
        )


def with_sums(pairs: Pairs, sums: Pairs, by: Sequence[str]) -> Pairs:
    """The groups, each period's sum below the last of them."""
    lines, group = list(pairs), ["total", *[""] * (len(by) - 1)]
    for now, before in sums:
        of_it = [n for n, each in enumerate(lines) if start_of(*each) == start_of(now, before)]
        made = tuple({**each, "group": group} if each else each for each in (now, before))
        lines.insert(max(of_it, default=len(lines) - 1) + 1, (made[0], made[1]))
    return lines


def cells(now: Any, before: Any) -> list[str]:
    """One group's cells, as `SUMS` heads them."""
    row: dict[str, Any] = now or before or {}
    rate = None if row["error_rate"] is None else f"{100 * row['error_rate']:.2f}"
    return [
        *map(dash, row["group"]),
        f"{row['requests'] if now else 0:,}{change(now, before, 'requests')}",
        dash(rate),
        milliseconds(row["latency_p50_ms"]),
        f"{milliseconds(row['latency_p95_ms'])}{change(now, before, 'latency_p95_ms')}",
        milliseconds(row["ttft_p95_ms"]),
        dash(None if row["tokens_per_s"] is None else f"{row['tokens_per_s']:.1f}"),
        f"{row['input_tokens']:,}/{row['output_tokens']:,}",
        f"{usd(row['cost_usd'])}{change(now, before, 'cost_usd')}",
        f"{row['users']:,}",
    ]


def change(now: Any, before: Any, name: str) -> str:
    """How much more than before, in brackets."""
    if not now or not before or now[name] is None or not before[name]:
        return ""
    return f" ({100 * (float(now[name]) / float(before[name]) - 1):+.0f} %)"
