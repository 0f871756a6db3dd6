"""What a filter of records is in SQL, as far as DuckDB and ClickHouse say it alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from airboss.domain.usage import RecordSort

CONDITIONS: Final[Mapping[str, str]] = {
    "deployment": "deployment = $deployment",
    "status": "status = $status",
    "model": "model = $model",
    "user": '"user" = $user',
    "key": '"key" = $key',
    "keys": '"key" in $keys',
    "id": "id = $id",
    "ids": "id in $ids",
    "release": "release = $release",
    "session": "session = $session",
    "arm": "arm = $arm",
    "error_type": "error_type = $error_type",
    "slower_ms": "latency_ms > $slower_ms",
    "since": "started_at >= $since",
    "until": "started_at < $until",
}
"""By the field of a `RecordFilter`, what a record must fulfil."""

ORDERS: Final[Mapping[RecordSort | None, str]] = {
    None: "started_at desc, id desc",
    "slowest": "latency_ms desc, id desc",
    "costliest": "cost_usd desc nulls last, id desc",
    "longest": "output_chars desc, id desc",
}


def found_kind(kind: str) -> str:
    """What stands in a record's `policy`, which is JSON of ours, where something of that kind was found."""
    return f'"kind":{msgspec.json.encode(kind).decode()},'
