"""`airboss prices`: what hosted models cost that the configuration gives no price."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from airboss.cli.api import reach
from airboss.cli.files import unreadable
from airboss.cli.options import DEFAULT_DATA_DIR, DataDirOption, JsonOption, UrlOption
from airboss.cli.output import console, dash, left_out, print_json, table_of
from airboss.domain.errors import WrongCall
from airboss.store.wording import many

prices = typer.Typer(help="What hosted models cost, by a dated table.", no_args_is_help=True)

FILE_MAX = 1024 * 1024


@prices.command("list")
def list_prices(
    *, data_dir: DataDirOption = DEFAULT_DATA_DIR, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """List the prices in force: US dollars per million tokens, with where and when they were read."""
    with reach(data_dir, url) as api:
        found = api.get("/api/v1/prices")
    if as_json:
        for each in found["prices"]:
            print_json({"version": found["version"], **each})
        return

    from airboss.cli.narrow import without  # noqa: PLC0415 - 40 ms that JSON output need not pay

    names = ("kind", "model", "input", "cached", "written", "output", "over", "read")
    table = table_of(*names)
    for each in found["prices"]:
        table.add_row(each["kind"], each["model"], *_rates(each["price"]), "-", each["read"])
        long = each["price"]["long_prompt"]
        if long is not None:
            table.add_row("", "", *_rates(long), f"{long['over_tokens']:,}", "")
        for tier, price in each["price"]["tiers"].items():
            table.add_row("", f"in {tier}", *_rates(price), "-", "")
    out = console()
    gone = without(table, out, ("read", "written", "cached"))
    out.print(table)
    if gone:
        out.print(left_out(names, [each for each in names if each not in gone]), style="dim", markup=False)
    out.print(f"version {found['version']}{', as it came with Airboss' if found['shipped'] else ''}")


def _rates(price: dict[str, Any]) -> tuple[str, ...]:
    fields = ("input", "cached_input", "cache_write", "output")
    return tuple(dash(price[f"{field}_usd_per_mtok"]) for field in fields)


@prices.command("update")
def update(
    *,
    file: Annotated[Path, typer.Option(help="The table, TOML in the form of the one that is shipped.")],
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a newer table in force. It is checked whole first; the audit log says so."""
    try:
        if file.stat().st_size > FILE_MAX:
            raise WrongCall(f"{file} is larger than {FILE_MAX:,} bytes; is this the right file?")
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(file, error) from None
    with reach(data_dir, url) as api:
        made = api.post("/api/v1/prices", {"prices": text, "source": str(file)})
    if as_json:
        print_json(made)
        return
    console().print(
        f"prices {made['version']} ({many(made['models'], 'model')}) are in force with plan {made['plan']}; "
        f"before: {made['before']}"
    )
