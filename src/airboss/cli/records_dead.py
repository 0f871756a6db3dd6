"""`airboss records dead`: what could not become a record, and another try."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from airboss.cli.api import reach
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import console, print_each, print_nothing
from airboss.store.wording import many


def dead(
    *,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try them again: what can become a record now does, and goes.")
    ] = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
) -> None:
    """Show dead letters: frames that could not become records, and feedback whose record never came."""
    with reach(data_dir, url) as api:
        found = api.post("/api/v1/dead-letters/retry", {}) if retry else api.get("/api/v1/dead-letters")
    if not retry and not found["letters"]:
        print_nothing("no dead letters: everything that was journalled has become a record")
    elif as_json:
        print_each([found] if retry else found["letters"])
    else:
        show(found, retry=retry)
    if retry and found["left"]:
        raise typer.Exit(1)


def show(found: dict[str, Any], *, retry: bool) -> None:
    """Each with why it is one, where it lay and how it begins."""
    out = console()
    if retry:
        out.print(f"{many(found['taken'], 'letter')} taken, {found['left']:,} left", highlight=False)
    for each in found["letters"]:
        place = f"{each['segment']} at {each['offset']:,}, {many(each['bytes'], 'byte')}"
        out.print(f"{each['why']}\n  {place}", markup=False, highlight=False, soft_wrap=True)
        if each["excerpt"]:
            out.print(f"  {each['excerpt']}", markup=False, highlight=False, soft_wrap=True)
    more = found.get("left", found.get("count", 0)) - len(found["letters"])
    if more > 0:
        out.print(f"and {more:,} older ones", highlight=False)
