"""A newer table of prices takes the place of the shipped one, and plans have its prices."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from airboss.config.prices import shipped
from airboss.controller.price_list import PriceList
from airboss.controller.publish import apply_config
from airboss.domain.errors import ConfigError, WrongCall
from airboss.store.datadir import DataDir
from airboss.store.ledger import SqlLedger
from tests.config.test_prices import GOOD

CONFIG = """
[providers.openai]
kind = "openai"
[models.known]
provider = "openai"
model = "gpt-x"
[models.own]
provider = "openai"
model = "gpt-4o"
price = { input_usd_per_mtok = 7, output_usd_per_mtok = 8 }
[models.unknown]
provider = "openai"
model = "gpt-x-preview"
[deployments.known]
model = "known"
[deployments.own]
model = "own"
[deployments.unknown]
model = "unknown"
"""


def test_a_newer_table_prices_the_next_plan(tmp_path: Path) -> None:
    """The configuration's price goes before it, and a name that is not in it stays unknown; an older table or
    a wrong one changes nothing."""
    data = DataDir(tmp_path)
    data.create()
    prices = PriceList(data)
    ledger = SqlLedger(data.ledger_url)

    def targets() -> dict[str, tuple[Decimal | None, str | None]]:
        now = datetime.now(UTC)
        plan = apply_config(ledger, CONFIG, source="x", data=data, pick_port=lambda: 1, now=now)
        return {
            each.name: (
                each.target.price.input_usd_per_mtok if each.target.price is not None else None,
                each.target.priced_by,
            )
            for each in plan.deployments
        }

    try:
        own = (Decimal(7), "config")
        assert targets() == {"known": (None, None), "own": own, "unknown": (None, None)}
        assert prices.keep(GOOD, "x").version == "2026-12-15"
        priced = {"known": (Decimal("1.25"), "2026-12-15"), "own": own, "unknown": (None, None)}
        assert targets() == priced
        with pytest.raises(WrongCall, match="2026-12-15"):
            prices.keep(GOOD.replace("1.25", "9"), "x")
        with pytest.raises(ConfigError):
            prices.keep(GOOD.replace("2026-12-15", "2027-01-01").replace("1.25", "-9"), "x")
        assert targets() == priced
        # Airboss comes with a later one: that is in force, though the other still lies there.
        data.prices_path.write_text(GOOD.replace("2026-12-15", "2020-01-01"))
        assert prices.in_force() == shipped()
    finally:
        ledger.close()
