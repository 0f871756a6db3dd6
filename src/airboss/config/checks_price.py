"""What a price may be. Pure."""

from __future__ import annotations

from airboss.config.rules import check_range
from airboss.config.wording import Path, Wrong
from airboss.domain.plan import Price, Rates


def check_price(path: Path, price: Price, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first number that is no price."""
    _check_rates(path, price, wrong)
    if price.long_prompt is not None:
        check_range((*path, "long_prompt", "over_tokens"), price.long_prompt.over_tokens, 1, 10**9, wrong)
        _check_rates((*path, "long_prompt"), price.long_prompt, wrong)


def _check_rates(path: Path, rates: Rates, wrong: Wrong) -> None:
    for field in Rates.__struct_fields__:
        check_range((*path, field), getattr(rates, field), 0, 1_000_000, wrong)
