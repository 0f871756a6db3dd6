"""What was used, by whom and when: the words that questions of it are asked in, and the answer."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec

RecordSort = Literal["slowest", "costliest", "longest", "shuffled"]
"""What a list of records may begin with, instead of the newest; `shuffled`: with what chance gives."""

DIMENSIONS: Final = (
    "deployment", "release", "arm", "model", "provider", "key", "team", "user", "session", "operation",
    "status", "error_type", "finish_reason",
)  # fmt: skip
"""What usage can be told by, beside `tag:NAME`."""

USAGE_ORDERS: Final = ("requests", "errors", "latency_p95_ms", "cost_usd", "output_tokens", "last_at")
"""What rows of usage may be ordered by, the most first."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One group of a `UsageQuery`, and step of it. Numbers as in `DeploymentStats`; `cost_unknown` counts
    calls without a known price. `slow`, `late` and `costly` count answered calls beyond the query's bounds;
    `priced` those with a known cost, `started` those with a first token; `approximate`: within 2 %."""

    group: tuple[str | None, ...]
    start: datetime | None
    requests: int
    errors: int
    cancelled: int
    refused: int
    answered: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    tokens_per_s: float | None
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    cost_p95_usd: float | None
    cost_unknown: int
    users: int
    sessions: int
    first_at: datetime
    last_at: datetime
    slow: int
    late: int
    costly: int
    priced: int
    started: int
    approximate: bool = False
