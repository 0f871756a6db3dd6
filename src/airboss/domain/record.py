"""The append-only fact that a call leaves, and the two frames of the journal that it is made from."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NewType

import msgspec

from airboss.domain.request import Operation
from airboss.domain.score import ScoreValue

Redacted = NewType("Redacted", bytes)
"""JSON text from which every known secret has been taken. Only `governance.redact` makes one; every sink
(journal, log, page) accepts nothing else."""

Status = Literal["ok", "error", "cancelled", "refused"]
"""How a call ended. `cancelled`: its client left or gave it less time. `refused`: our policy or limit."""


EXTERNAL = "external"
"""The arm of a call that did not pass through the gateway; a span told of it."""


class AttemptUsage(msgspec.Struct, frozen=True):
    """What one attempt used, in tokens; `estimated`: counted by us, because the provider did not say."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


AttemptWhy = Literal["first", "retry", "fallback", "hedge", "continuation", "cache"]
"""Why an attempt was made: `retry` at the same model or one that shares its calls, `fallback` at another one,
`hedge` beside one that was slow to begin, `continuation` to go on with an answer that broke off. `cache`: not
the model but one that compares questions was asked, whether an answer is there."""


ANSWERED_BY_FALLBACK = "answered_by_fallback"
"""The `error_type` of a call that is `ok` for its client and counts as an error of its release."""


class Attempt(msgspec.Struct, frozen=True):
    """One try against one upstream. Times are milliseconds; `start_ms` counts from the call's start.

    `error_type` is None for the attempt that answered; `status_code` None if no head arrived. `usage` None:
    it used nothing. `cost_usd` is what that cost, None where nothing was used or the price is unknown;
    `priced_by` says whence: `config`, the version of the table of prices, or an app's `span` told it."""

    provider: str
    model: str
    url: str
    start_ms: float
    latency_ms: float
    ttft_ms: float | None = None
    status_code: int | None = None
    error_type: str | None = None
    why: AttemptWhy = "first"
    usage: AttemptUsage | None = None
    cost_usd: Decimal | None = None
    priced_by: str | None = None


class PolicyFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy found in a call, and did: `count` values of a kind (`email`, …) at a place such as
    `request.messages.content` or `response.choices.message.content`. Never a value."""

    kind: str
    action: str
    count: int
    where: str


class OpenedCall(msgspec.Struct, frozen=True):
    """What is known when a call is admitted: the journal's `open` frame.

    `request` is the client's body as JSON, or None where bodies are not kept. `trace_parent` is the span of
    the caller's that it came from, and the trace's flags: `00f067aa0ba902b7-01`."""

    id: str
    started_at: datetime
    deployment: str
    release: str
    arm: str
    plan: int
    model: str
    provider: str
    key: str
    operation: Operation
    stream: bool
    user: str | None = None
    session: str | None = None
    tags: dict[str, str] = {}
    trace_id: str | None = None
    trace_parent: str | None = None
    request: msgspec.Raw | None = None


class ClosedCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an admitted call ended: the journal's `close` frame, joined to its `open` by `id`.

    `latency_ms` is the whole call, `ttft_ms` up to the first byte of real output passed on (None where there
    was none), `overhead_ms` the part of `latency_ms` that is ours, not the upstream's. `output_chars` counts
    the characters of text produced. `cost_usd` None means that the price is unknown.
    Tokens and cost are those of all attempts together. `input_tokens` includes `cached_input_tokens` and
    `cache_write_tokens`, which do not overlap; `output_tokens` includes `reasoning_tokens`. `provider` and
    `model` are of another that answered; a fallback's `error_type` is ANSWERED_BY_FALLBACK though it is `ok`.
    `user` is set where bodies are sealed: it says with whose key, before the two frames are joined."""

    id: str
    status: Status
    latency_ms: float
    overhead_ms: float
    ttft_ms: float | None = None
    error_type: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_estimated: bool = False
    cost_usd: Decimal | None = None
    output_chars: int = 0
    attempts: tuple[Attempt, ...] = ()
    cache: str | None = None
    policy: tuple[PolicyFinding, ...] = ()
    response: msgspec.Raw | None = None
    provider: str | None = None
    model: str | None = None
    user: str | None = None


class InferenceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A call as it is stored and as `airboss records --json` prints it; fields as in the two frames.

    `cache_write_tokens` is None in records of before it was kept. `request` and `response` are JSON values;
    None where bodies are not kept or there was none. `scores` is `score.latest`, as of when it is read."""

    id: str
    started_at: datetime
    deployment: str
    release: str
    arm: str
    plan: int
    model: str
    provider: str
    key: str
    user: str | None
    session: str | None
    operation: Operation
    stream: bool
    status: Status
    error_type: str | None
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None
    usage_estimated: bool
    cost_usd: Decimal | None
    latency_ms: float
    ttft_ms: float | None
    overhead_ms: float
    output_chars: int
    attempts: tuple[Attempt, ...]
    cache: str | None
    policy: tuple[PolicyFinding, ...]
    tags: dict[str, str]
    scores: dict[str, ScoreValue | None]
    trace_id: str | None
    request: Any
    response: Any


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a search has found so far, the last stored first. `looked_to`: the id of the oldest record that
    was looked at, where older ones are left: the search goes on before it."""

    records: tuple[InferenceRecord, ...]
    looked_to: str | None
