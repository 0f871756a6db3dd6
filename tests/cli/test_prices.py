"""`airboss prices list` against a real HTTP server."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from airboss.config.prices import parse_prices
from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run

TABLE = """version = "2026-12-15"

[prices.openai."gpt-x"]
source = "https://example.com/pricing"
read = "2026-12-14"
input_usd_per_mtok = 1.25
output_usd_per_mtok = 10
tiers.flex = { input_usd_per_mtok = 0.625, output_usd_per_mtok = 5 }
"""


def test_prices_are_listed_with_their_tiers(run: Run, api: AdminApi) -> None:
    """A line for each tier below its model's; in JSON they are of the price."""
    price: Any = msgspec.to_builtins(parse_prices(TABLE, source="x").price("openai", "gpt-x"))
    row = {"kind": "openai", "model": "gpt-x", "price": price, "source": "https://x", "read": "2026-12-14"}
    api.answers["GET", "/api/v1/prices"] = {"version": "2026-12-15", "shipped": False, "prices": [row]}
    code, out, _ = run("prices", "list", "--url", api.url)
    assert code == 0
    usual, flex = [line.split() for line in out.splitlines() if "0.625" in line or "gpt-x" in line]
    assert usual[:3] == ["openai", "gpt-x", "1.25"]
    assert flex[:3] == ["in", "flex", "0.625"]
    code, out, _ = run("prices", "list", "--json", "--url", api.url)
    assert json.loads(out)["price"]["tiers"]["flex"]["output_usd_per_mtok"] == "5"
