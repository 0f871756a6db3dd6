"""The table of prices: what hosted models cost that the configuration gives no price. Pure but for `shipped`,
which reads the one that comes with Airboss."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

import msgspec

from airboss.config.checks_price import check_price
from airboss.config.parse import read_toml
from airboss.config.rules import check_url
from airboss.config.wording import Path, Wrong, dotted, quoted
from airboss.domain.errors import ConfigError
from airboss.domain.plan import Price
from airboss.domain.release import ProviderKind

PRICED: tuple[ProviderKind, ...] = ("openai", "anthropic", "gemini", "bedrock")
"""Kinds that have one price for everybody. Azure's deployments are named by their owners, and a compatible
server may charge what it likes."""
MODELS_MAX = 5_000
_VERSION = re.compile(r"(\d{4}-\d{2}-\d{2})(\.\d{1,4})?")


class Listed(Price, frozen=True, kw_only=True):
    """A model's price, the page that says so, and the day (`2026-11-28`) on which it did."""

    source: str
    read: str


class PriceTable(msgspec.Struct, frozen=True, kw_only=True):
    """Prices by kind of provider and exact name. `version` is a day, `2026-11-28` or `2026-11-28.1`: of two
    tables the later is the newer."""

    version: str
    prices: dict[str, dict[str, Listed]]

    def price(self, kind: ProviderKind, model: str) -> Price | None:
        """What a model costs; None if the table does not have that very name."""
        found = self.prices.get(kind, {}).get(model)
        if found is None:
            return None
        return Price(**{name: getattr(found, name) for name in Price.__struct_fields__})

    def newer_than(self, other: PriceTable) -> bool:
        """Whether it was made later."""
        return _order(self.version) > _order(other.version)


def parse_prices(text: str, *, source: str) -> PriceTable:
    """A whole table, checked. Raises ConfigError for the first thing that is wrong, with its line."""
    return read_toml(text, PriceTable, _check, source=source, noun="a table of prices")


@lru_cache(maxsize=1)
def shipped() -> PriceTable:
    """The table that comes with Airboss."""
    from importlib import resources  # noqa: PLC0415 - few ask for prices

    text = (resources.files("airboss.config") / "prices.toml").read_text()
    return parse_prices(text, source="prices.toml")


def _check(table: PriceTable, wrong: Wrong) -> None:
    found = _VERSION.fullmatch(table.version)
    if found is None or not _is_day(found[1]):
        raise wrong(("version",), f'version is {quoted(table.version)}; expected a day, such as "2026-11-28"')
    count = sum(len(models) for models in table.prices.values())
    if not 0 < count <= MODELS_MAX:
        raise ConfigError(f"a table of prices has 1 to {MODELS_MAX} models; this one has {count}")
    for kind, models in table.prices.items():
        if kind not in PRICED:
            message = f"{quoted(kind)} is no kind with one price for everybody; those are {', '.join(PRICED)}"
            raise wrong(("prices", kind), message)
        for model, listed in models.items():
            _check_listed(("prices", kind, model), listed, wrong)


def _check_listed(path: Path, listed: Listed, wrong: Wrong) -> None:
    check_price(path, listed, wrong)
    check_url((*path, "source"), listed.source, wrong)
    if not _is_day(listed.read):
        at = (*path, "read")
        raise wrong(at, f'{dotted(at)} is {quoted(listed.read)}; expected a day, such as "2026-11-28"')


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _order(version: str) -> tuple[str, int]:
    day, _, number = version.partition(".")
    return day, int(number or 0)
