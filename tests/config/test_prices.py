"""The table of prices: whole and right, or refused with the line that is wrong."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise

import pytest

from airboss.config.prices import parse_prices, shipped
from airboss.domain.errors import ConfigError

GOOD = """version = "2026-12-15"

[prices.openai."gpt-x"]
source = "https://example.com/pricing"
read = "2026-12-14"
input_usd_per_mtok = 1.25
output_usd_per_mtok = 10
"""


def test_the_shipped_table_is_right() -> None:
    """It can be read, every price names its page and day, and no model is found by a part of its name."""
    table = shipped()
    assert {"openai", "anthropic", "gemini", "bedrock"} == set(table.prices)
    for models in table.prices.values():
        for listed in models.values():
            assert listed.source.startswith("https://")
            assert listed.read <= table.version
    known = table.price("openai", "gpt-4o-mini")
    assert known is not None
    assert (known.input_usd_per_mtok, known.output_usd_per_mtok) == (Decimal("0.15"), Decimal("0.6"))
    for other in ("gpt-4o-mini-2099-01-01", "gpt-4", "GPT-4o-mini", ""):
        assert table.price("openai", other) is None
    assert table.price("azure", "gpt-4o-mini") is None
    assert table.price("openai-compatible", "gpt-4o-mini") is None


def test_versions_have_an_order() -> None:
    """By day, then by number."""
    tables = [parse_prices(GOOD.replace("2026-12-15", each), source="x") for each in ORDERED]
    assert all(later.newer_than(sooner) for sooner, later in pairwise(tables))
    assert not tables[0].newer_than(tables[0])


ORDERED = ("2026-12-15", "2026-12-15.2", "2026-12-15.10", "2026-12-16")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"2026-12-15"', '"soon"', "x:1: version is"),
        ('"2026-12-15"', '"2026-13-15"', "x:1: version is"),
        ("openai", "azure", "no kind with one price"),
        ("1.25", "-1", "expected 0 to"),
        ("1.25", '"1.25"', "expected a number"),
        ("1.25", "nan", "expected a number"),
        ("output_usd", "outptu_usd", "output_usd_per_mtok"),
        ("https://example.com/pricing", "example", "expected"),
        ('"2026-12-14"', '"14.12.2026"', "expected a day"),
        ('read = "2026-12-14"\n', "", "lacks"),
        ("version = ", "", "not TOML"),
    ],
)
def test_what_is_wrong_is_said(old: str, new: str, said: str) -> None:
    """The file, the line and what was expected; nothing is taken in part."""
    with pytest.raises(ConfigError, match=said.replace("[", r"\[")):
        parse_prices(GOOD.replace(old, new), source="x")


FLEX = """
[prices.openai."gpt-x".tiers.flex]
input_usd_per_mtok = 0.625
output_usd_per_mtok = 5
"""


def test_a_price_has_tiers() -> None:
    """Each a whole price by the name that answers have for it; the usual one is the price itself."""
    price = parse_prices(GOOD + FLEX, source="x").price("openai", "gpt-x")
    assert price is not None
    assert price.tiers["flex"].input_usd_per_mtok == Decimal("0.625")
    for wrong, said in (
        (FLEX.replace("flex", "default"), 'no answer names another tier "default"'),
        (FLEX.replace("flex", "'a b'"), 'no answer names another tier "a b"'),
        (FLEX.replace("0.625", "-1"), "tiers.flex.input_usd_per_mtok is -1"),
        (FLEX.replace("output_usd_per_mtok = 5", ""), "lacks"),
        (FLEX + FLEX.replace("flex", "flex.tiers.x"), "tiers of its own"),
        ("".join(FLEX.replace("flex", f"t{n}") for n in range(17)), "16 tiers at most"),
    ):
        with pytest.raises(ConfigError, match=re.escape(said)):
            parse_prices(GOOD + wrong, source="x")


def test_an_empty_table_is_none() -> None:
    """A file without prices is a mistake."""
    with pytest.raises(ConfigError, match="1 to"):
        parse_prices('version = "2026-12-15"\n[prices]\n', source="x")
