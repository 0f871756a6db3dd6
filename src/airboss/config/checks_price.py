"""What a price may be. Pure."""

from __future__ import annotations

from airboss.config.rules import check_range
from airboss.config.tiers import tier_named
from airboss.config.wording import Path, Wrong, dotted, quoted
from airboss.domain.plan import Price, Rates

TIERS_MAX = 16


def check_price(path: Path, price: Price, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first number that is no price, or tier that no answer names."""
    if len(price.tiers) > TIERS_MAX:
        raise wrong(
            (*path, "tiers"), f"a price has {TIERS_MAX} tiers at most; this one has {len(price.tiers)}"
        )
    for name, tier in price.tiers.items():
        at = (*path, "tiers", name)
        if tier_named(name) != name:
            message = (
                f"{dotted(at)}: no answer names another tier {quoted(name)}; such as flex or priority do"
            )
            raise wrong(at, message)
        if tier.tiers:
            raise wrong((*at, "tiers"), f"{dotted(at)} has tiers of its own; a tier has none")
        check_price(at, tier, wrong)
    _check_rates(path, price, wrong)
    if price.long_prompt is not None:
        check_range((*path, "long_prompt", "over_tokens"), price.long_prompt.over_tokens, 1, 10**9, wrong)
        _check_rates((*path, "long_prompt"), price.long_prompt, wrong)


def _check_rates(path: Path, rates: Rates, wrong: Wrong) -> None:
    for field in Rates.__struct_fields__:
        check_range((*path, field), getattr(rates, field), 0, 1_000_000, wrong)
