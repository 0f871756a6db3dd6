"""What a model call cost that passed through no gateway: by its span, and by the prices known here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from airboss.domain.errors import ConfigError
from airboss.domain.plan import Target
from airboss.domain.release import ProviderKind
from airboss.providers.pricing import Buckets, cost_usd, priced_by

if TYPE_CHECKING:
    from airboss.config.prices import PriceTable
    from airboss.telemetry.genai_spans import ModelCall

log = logging.getLogger("airboss.gateway")

COST_USD_MAX: Final = 100_000
BY_SPAN: Final = "span"
"""Where a price came from that a span told of."""
READ_AGAIN_S: Final = 60.0
KINDS: Final[Mapping[str, ProviderKind]] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "google": "gemini",
    "google_genai": "gemini",
    "gcp.gemini": "gemini",
    "gcp.gen_ai": "gemini",
    "bedrock": "bedrock",
    "aws_bedrock": "bedrock",
    "aws.bedrock": "bedrock",
}
"""Whose prices are listed, by what conventions call them."""
VENDORS: Final = tuple(dict.fromkeys(KINDS.values()))
UNKNOWN: Final = "unknown"
"""What a vendor is called that a span does not tell."""


class ListedPrices:
    """The table of prices in force, read when it is needed and again after a minute. Without `read` there is
    none. One that is spoilt is as good as none, and is told of in the log."""

    def __init__(self, read: Callable[[], PriceTable] | None) -> None:
        self._read = read
        self._table: PriceTable | None = None
        self._read_at = -READ_AGAIN_S

    def target(self, told: ModelCall) -> Target | None:
        """Such a model at its vendor's, as a target with a price; where the vendor is not told, at the only
        one that has a model of this name."""
        kind = KINDS.get(told.provider)
        kinds = (kind,) if kind is not None else VENDORS if told.provider == UNKNOWN else ()
        table = self._fresh() if kinds else None
        if table is None:
            return None
        for model in told.models:
            prices = [(each, table.price(each, model)) for each in kinds]
            found = [(each, price) for each, price in prices if price is not None]
            if len(found) == 1:
                return Target(
                    provider=told.provider,
                    kind=found[0][0],
                    base_urls=(),
                    upstream_model=model,
                    price=found[0][1],
                    priced_by=table.version,
                )
        return None

    def _fresh(self) -> PriceTable | None:
        now = time.monotonic()
        if self._read is not None and now - self._read_at >= READ_AGAIN_S:
            self._read_at = now
            try:
                self._table = self._read()
            except (ConfigError, OSError) as error:
                log.warning("calls that spans tell of are not priced by the table: %s", error)
                self._table = None
        return self._table


def priced(targets: Iterable[Target], told: ModelCall) -> Target | None:
    """Where such a model has a price: at the provider of that name or kind, else at any."""
    for model in told.models:
        found = [each for each in targets if each.upstream_model == model]
        same = [each for each in found if told.provider in {each.provider, each.kind}]
        if same or found:
            return (same or found)[0]
    return None


def cost_of(
    targets: Iterable[Target], listed: ListedPrices, told: ModelCall
) -> tuple[Decimal | None, str | None]:
    """What it cost, and by whose price: the plan's for such a model, else the span's, else the table's."""
    counted = told.input_tokens is not None or told.output_tokens is not None
    target = priced(targets, told) if counted else None
    if target is None and told.cost_usd is not None:
        cost = Decimal(f"{told.cost_usd:.10f}").normalize() if told.cost_usd else Decimal(0)
        return _bounded(cost, BY_SPAN)
    if target is None and counted:
        target = listed.target(told)
    if target is None:
        return None, None
    read, written = told.cached_input_tokens or 0, told.written_input_tokens
    used = Buckets(
        uncached=max(0, (told.input_tokens or 0) - read - written),
        cache_read=read,
        cache_write=written,
        output=told.output_tokens or 0,
    )
    usd = cost_usd(target, used, told.tier)
    return (None, None) if usd is None else _bounded(usd, priced_by(target, told.tier) or "config")


def _bounded(cost: Decimal, by: str) -> tuple[Decimal | None, str | None]:
    return (cost, by) if cost < COST_USD_MAX else (None, None)
