"""What a cache may be. Pure."""

from __future__ import annotations

from airboss.config.rules import check_range
from airboss.config.wording import Path, Wrong
from airboss.domain.plan import Caching


def check_cache(path: Path, cache: Caching, wrong: Wrong) -> None:
    """Raise what `wrong` makes of the first number that is out of range."""
    check_range((*path, "ttl_s"), cache.ttl_s, 1, 90 * 86_400, wrong)
    check_range((*path, "entries_max"), cache.entries_max, 1, 10_000_000, wrong)
    check_range((*path, "bytes_max"), cache.bytes_max, 1024, 1024**4, wrong)
