"""`airboss report`: what there is evidence of, for auditors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from airboss.cli.api import reach
from airboss.cli.caught_up import catch_up
from airboss.cli.files import check_markdown
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import print_json
from airboss.cli.when import parse_when
from airboss.store.unwritable import unwritable
from airboss.store.wording import many

SINCE = "90d"


def report(
    *,
    since: Annotated[str, typer.Option(help="From then on: 7d, 90d ago, or ISO 8601.")] = SINCE,
    until: Annotated[str | None, typer.Option(help="Before then.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write it to this .md file instead, as Markdown.")] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report clause by clause what there is evidence of: logs, oversight, monitoring, bias, erasure, history.

    It never says that anybody complies. What there is no evidence of, and what Airboss does not offer, stands
    in it too. Exits with 1 if the audit log does not verify.
    """
    now = datetime.now(UTC)
    asked = {"since": parse_when(since, now=now, option="--since").isoformat()}
    if until is not None:
        asked["until"] = parse_when(until, now=now, option="--until").isoformat()
    if out is not None:
        check_markdown(out)
    with reach(data_dir, url) as api:
        catch_up(api, asked.get("until"))
        found = api.get("/api/v1/report", asked)
    if out is not None:
        try:
            out.write_text("\n".join(lines(found)) + "\n", encoding="utf-8")
        except OSError as error:
            raise unwritable(out, error) from error
        if not as_json:
            sys.stdout.write(f"wrote {out}\n")
    if as_json:
        print_json(found)
    elif out is None:
        sys.stdout.write("\n".join(lines(found)) + "\n")
    if not found["audit"]["valid"]:
        raise typer.Exit(1)


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The report as Markdown."""
    audit = found["audit"]
    yield f"# Evidence, {found['since'][:10]} to {found['until'][:10]}"
    yield ""
    made = f"Made by Airboss {found['version']} at {found['made_at'][:19]}Z"
    yield f"{made}; clauses as of {found['clauses_as_of']}."
    yield "It lists what there is to look at, and does not say that anybody complies with anything."
    yield ""
    if audit["valid"]:
        yield f"The audit log verifies: {many(audit['checked'], 'entry')}, root `{audit['root']}`."
    else:
        yield f"**The audit log does not verify: {audit['problem']}**"
    source = ""
    for row in found["rows"]:
        if row["source"] != source:
            source = row["source"]
            yield from ("", f"## {source}")
        yield from ("", f"**{row['clause']}** {row['asks']}: {row['state']}" + note(row))
        for each in row["evidence"]:
            leaves = each["leaves"]
            where = f"; {spanned(*leaves)} of the audit log" if leaves is not None else ""
            yield f"- {each['what']} (`{each['command']}`{where})"


def spanned(first: int, last: int) -> str:
    """Leaves of the audit log, from the first to the last of them."""
    return f"leaf {first}" if first == last else f"leaves {first} to {last}"


def note(row: dict[str, Any]) -> str:
    """A row's note, set off."""
    return f" ({row['note']})" if row["note"] else ""
