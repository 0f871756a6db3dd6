"""How a trace is shown: its tree, each span below the one that it is within, with its times."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from airboss.cli.api import Api
from airboss.cli.output import milliseconds, plain, print_json, usd
from airboss.domain.errors import WrongCall
from airboss.store.wording import many

PAGE = 5_000
INDENT_MAX = 30
"""Levels that are moved in; deeper spans stand below each other."""
HEX = frozenset("0123456789abcdef")


def show_trace(api: Api, trace_id: str, *, as_json: bool) -> None:
    """A trace whole. Raises WrongCall for an id that is none, AirbossError where there is no such trace."""
    wanted = trace_id.strip().lower()
    if len(wanted) != 32 or not HEX.issuperset(wanted):
        raise WrongCall(f"--trace {trace_id[:80]!r} is no trace's id: those are 32 hex digits.")
    pages = pages_of(api, wanted)
    first = next(pages)
    if as_json:
        print_json({**first, "rows": [row for page in (first, *pages) for row in page["rows"]], "next": None})
        return
    began = datetime.fromisoformat(first["started_at"])
    spans = many(first["spans"], "span")
    sys.stdout.write(f"trace {wanted}  {began.astimezone():%Y-%m-%d %H:%M:%S}  {spans}  ")
    tokens = first.get("input_tokens", 0) + first.get("output_tokens", 0)  # an Airboss of before has none
    used = f"  {many(tokens, 'token')}" if tokens else ""
    cost = f"  {usd(first['cost_usd'])}" if first.get("cost_usd") is not None else ""
    sys.stdout.write(f"{milliseconds(first['duration_ms'])}{used}{cost}\n")
    for page in (first, *pages):
        sys.stdout.writelines(line(row, began) for row in page["rows"])
        sys.stdout.flush()


def pages_of(api: Api, trace_id: str) -> Iterator[dict[str, Any]]:
    """The trace's tree, in pages."""
    params = {"limit": str(PAGE)}
    while True:
        page: dict[str, Any] = api.get(f"/api/v1/traces/{quote(trace_id, safe='')}", params)
        yield page
        if page["next"] is None:
            return
        params["after"] = page["next"]


def line(row: dict[str, Any], began: datetime) -> str:
    """A span: after how long it began, how long it took, its name in its place, what it stands for, how it
    ended, and the record of the call that it is."""
    after = (datetime.fromisoformat(row["started_at"]) - began).total_seconds() * 1000
    name = "  " * min(row["depth"], INDENT_MAX) + plain(row["name"] or "-")
    cells = [f"{milliseconds(after):>10}", f"{milliseconds(row['duration_ms']):>10}", f"{name:40}"]
    failed = "error" if row["status"] == "error" else ""
    cells += [f"{plain(row['kind']):9}", f"{failed:5}", row["record"] or ""]
    return "  ".join(cells).rstrip() + "\n"
