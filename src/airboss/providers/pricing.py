"""What a call costs. Pure."""

from __future__ import annotations

from decimal import Decimal

from airboss.domain.plan import Target

_MTOK = Decimal(1_000_000)
_SMALLEST = Decimal("0.0000000001")
"""Ten decimals hold one token at 0.0001 USD per million tokens exactly."""


def cost_usd(
    target: Target,
    *,
    input_tokens: int,
    cached_input_tokens: int,
    output_tokens: int,
    written_input_tokens: int = 0,
) -> Decimal | None:
    """The cost in USD, rounded once, to ten decimals. A local model without a price costs 0; a hosted one
    without a price has no known cost, None.

    `input_tokens` includes `cached_input_tokens` and `written_input_tokens` (read from the provider's cache,
    and written to it), which cost a price of their own where there is one.
    """
    price = target.price
    if price is None:
        return Decimal(0) if target.kind == "local" else None
    cached_price = price.cached_input_usd_per_mtok
    if cached_price is None:
        cached_price = price.input_usd_per_mtok
    write_price = price.cache_write_usd_per_mtok
    if write_price is None:
        write_price = price.input_usd_per_mtok
    cached = min(cached_input_tokens, input_tokens)
    written = min(written_input_tokens, input_tokens - cached)
    usd = (
        (input_tokens - cached - written) * price.input_usd_per_mtok
        + cached * cached_price
        + written * write_price
        + output_tokens * price.output_usd_per_mtok
    ) / _MTOK
    return usd.quantize(_SMALLEST).normalize() if usd else Decimal(0)
