"""What is watched in the record log's DuckDB file: by rollouts, calls in order of admission, open or ended;
by budgets, what they cost."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from itertools import groupby
from operator import itemgetter

import msgspec

from airboss.domain.ports import Spent, WatchedCall
from airboss.domain.record import OpenedCall
from airboss.store.duckdb_run import Connection, query, run
from airboss.store.duckdb_scores import shown
from airboss.store.joining import as_open
from airboss.store.rows import aware, naive, plain
from airboss.store.rows import watched as rows_watched

_BODY = ',"request":'
TAGS_NAMED_SO = 3


def watched(
    connection: Connection, deployment: str, *, after: str, until: str, without_key: str, limit: int
) -> list[WatchedCall]:
    """As `RecordLog.watched`."""
    asked = {"deployment": deployment, "after": after, "until": until, "without_key": without_key}
    found = run(connection, query("watched"), {**asked, "limit": limit})
    closed = rows_watched(found, shown(connection, [row[0] for row in found]), aware)
    parts = run(connection, query("watched_open"), {"after": after, "until": until})
    still_open = []
    for _, of_call in groupby(parts, key=itemgetter(0)):
        opened = _opened("".join(part[2] for part in of_call))
        if opened is not None and opened.deployment == deployment and opened.key != without_key:
            still_open.append(as_open(opened))
    return sorted((*closed, *still_open), key=lambda call: call.id)[:limit]


def spent(connection: Connection, since: datetime, each_user: Collection[str]) -> list[Spent]:
    """As `RecordLog.spent`."""
    rows = run(connection, query("spent"), {"since": naive(since), "each_user": list(each_user)})
    return [Spent(key=key, day=day, usd=plain(usd), user=user) for key, user, day, usd in rows]


def _opened(text: str) -> OpenedCall | None:
    """A frame without its body; None for one whose labels alone fill what was read of it."""
    at = text.find(_BODY)
    if at < 0:
        at = len(text) - 1
    for _ in range(TAGS_NAMED_SO):  # a tag may be called `request` too
        try:
            return msgspec.json.decode(f"{text[:at]}}}", type=OpenedCall)
        except msgspec.DecodeError:
            at = text.find(_BODY, at + 1)
            if at < 0:
                return None
    return None
