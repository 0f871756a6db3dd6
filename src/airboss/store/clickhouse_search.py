"""Words looked for in the bodies that ClickHouse keeps: an index tells which thousands may hold a word."""

from __future__ import annotations

import time
from typing import Any, Final

from airboss.store.clickhouse_http import ClickHouse, literal, query
from airboss.store.searching import ESCAPES, WORD, Search, holds

AT_ONCE: Final = 256
"""So many records that may match are read together."""
BUDGET_S: Final = 1.0


def _words() -> str:
    said = "lowerUTF8(concat(request, ' ', response))"
    for escape in ESCAPES:
        said = f"replaceAll({said}, {literal(escape)}, ' ')"
    return f"extractAll({said}, {literal(WORD)})"


WORDS: Final = _words()
"""The words of a row of `bodies`. The index is on this expression: questions have to ask for just it."""


def search(
    house: ClickHouse, conditions: str, asked: dict[str, Any], search_for: Search, *, below: int, limit: int
) -> tuple[list[str], int | None]:
    """The ids of records that match and are stored before number `below`, the last first, and, where time ran
    out or there were enough, the number of the oldest that was looked at."""
    deadline = time.monotonic() + BUDGET_S
    found: list[str] = []
    times = [
        f"started_at {sign} ${name}" for name, sign in (("since", ">="), ("until", "<")) if name in asked
    ]
    text = query("search").format(
        where=conditions, time=" and ".join(times) or "true", holds=_holds(search_for)
    )
    while True:
        rows = house.rows(text, {**asked, "below": below, "limit": AT_ONCE})
        for seq, record_id, request, response in rows:
            below = seq
            if holds(search_for, request or None, response or None):
                found.append(record_id)
                if len(found) == limit:
                    return found, below
        if len(rows) < AT_ONCE:
            return found, None
        if time.monotonic() > deadline:
            return found, below


def _holds(search_for: Search) -> str:
    """The condition on `bodies` that a body with every term meets."""
    terms = []
    for spellings in search_for.spellings:
        forms = [f"hasAll({WORDS}, {literal(tokens)})" if tokens else "true" for tokens in spellings]
        terms.append(f"({' or '.join(forms)})")
    return " and ".join(terms)
