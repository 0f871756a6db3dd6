"""The rules of limits and budgets, and of where they are counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from airboss.config.rules import check_range
from airboss.config.types import Config
from airboss.config.wording import Path, Wrong, dotted
from airboss.domain.plan import Limits

_SCHEMES = ("valkey", "valkeys", "redis", "rediss")
_OFFERED = '"embedded", "valkey://HOST:PORT/0", "env:NAME" or "file:/PATH"'
_USD_MAX = 900_000
"""What a double can hold of our unit, 10^-10 USD: Valkey's scripts count in doubles."""


def check_limits(config: Config, wrong: Wrong) -> None:
    """Every limit is a number that means something, and so is every budget."""
    for path, limits in _all_limits(config):
        check_range((*path, "requests_per_minute"), limits.requests_per_minute, 1, 100_000_000, wrong)
        check_range((*path, "tokens_per_minute"), limits.tokens_per_minute, 1, 100_000_000_000, wrong)
        check_range((*path, "concurrency"), limits.concurrency, 1, 1_000_000, wrong)
    for name, key in config.keys.items():
        if key.budget is not None:
            path = ("keys", name, "budget", "usd")
            check_range(path, key.budget.usd, 0, _USD_MAX, wrong)
            if key.budget.usd != round(key.budget.usd, 10):
                raise wrong(path, f"{dotted(path)} is {key.budget.usd}; at most ten decimals are counted")


def _all_limits(config: Config) -> Iterator[tuple[Path, Limits]]:
    for name, key in config.keys.items():
        if key.limits is not None:
            yield ("keys", name, "limits"), key.limits
    for name, deployment in config.deployments.items():
        if deployment.limits is not None:
            yield ("deployments", name, "limits"), deployment.limits
    if config.gateway.limits is not None:
        yield ("gateway", "limits"), config.gateway.limits


def check_counters(path: Path, counters: str, wrong: Wrong) -> None:
    """`counters` of `[store]`. The value is not repeated: a URL may hold a password."""
    if counters == "embedded":
        return
    if counters.startswith("env:") and re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*", counters):
        return
    if counters.startswith("file:/"):
        return
    try:
        parts = urlsplit(counters)
        known = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise wrong(path, f"{dotted(path)} is not a place where limits can be counted; expected {_OFFERED}")
    if parts.password is not None:
        raise wrong(
            path, f'{dotted(path)} holds a password; put the URL into a variable and write "env:NAME"'
        )
