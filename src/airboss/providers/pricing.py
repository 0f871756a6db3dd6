"""What a call costs. Pure."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from airboss.domain.plan import Rates, Target

_MILLIONTH = Decimal("0.000001")
"""To divide by a million takes twice as long."""
_SMALLEST = Decimal("0.0000000001")
"""Ten decimals hold one token at 0.0001 USD per million tokens exactly."""


class Buckets(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens of one answer, each counted once. `cache_write_1h` is the part of `cache_write` that the
    provider keeps for an hour; `output` is without `reasoning`."""

    uncached: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cache_write_1h: int = 0

    @property
    def input(self) -> int:
        """All that was read."""
        return self.uncached + self.cache_read + self.cache_write

    @property
    def written(self) -> int:
        """All that was produced."""
        return self.output + self.reasoning


def priced_by(target: Target, tier: str) -> str | None:
    """Where the price came from, with the tier that the answer names: it may have none of its own."""
    if not tier or target.price is None or target.priced_by is None:
        return target.priced_by
    return (
        f"{target.priced_by} for {tier}"
        if tier in target.price.tiers
        else f"{target.priced_by}, not for {tier}"
    )


def cost_usd(target: Target, used: Buckets, tier: str = "") -> Decimal | None:
    """The cost in USD, rounded once, to ten decimals. A local model without a price costs 0; a hosted one
    without a price has no known cost, None. A tier of service without a price of its own costs what the usual
    one does: were its cost unknown, who asks for it would spend no budget.

    Where a bucket has no price of its own, it is paid like any other input.
    """
    price = target.price
    if price is None:
        return Decimal(0) if target.kind == "local" else None
    if tier:
        price = price.tiers.get(tier, price)
    rates: Rates = price
    if price.long_prompt is not None and used.input > price.long_prompt.over_tokens:
        rates = price.long_prompt
    usual = rates.input_usd_per_mtok
    usd = used.uncached * usual + (used.output + used.reasoning) * rates.output_usd_per_mtok
    if used.cache_read or used.cache_write:
        read, write = rates.cached_input_usd_per_mtok, rates.cache_write_usd_per_mtok
        write = usual if write is None else write
        hour = rates.cache_write_1h_usd_per_mtok
        usd += used.cache_read * (usual if read is None else read)
        usd += (used.cache_write - used.cache_write_1h) * write
        usd += used.cache_write_1h * (write if hour is None else hour)
    return (usd * _MILLIONTH).quantize(_SMALLEST).normalize() if usd else Decimal(0)
