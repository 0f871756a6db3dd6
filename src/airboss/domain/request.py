"""An admitted call."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from airboss.domain.plan import Priority
from airboss.domain.release import Policy

Relayed = Literal[
    "audio_speech", "audio_transcription", "audio_translation", "images", "moderations", "files", "uploads",
    "batches", "fine_tuning", "vector_stores", "rerank",
]  # fmt: skip
"""Calls that are passed on and not understood (`gateway.relay`)."""
Operation = Literal["chat", "text_completion", "embeddings", Relayed]
"""The kind of call, in OpenTelemetry's words (`gen_ai.operation.name`) where it has any."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls: the name of a data-plane key. `deployments` None means that all may be used; `internal` is
    whether the key is our own; `priority` counts where calls wait. `owner` is whose its responses and cached
    answers are: another than those of a revoked key that had its name. None: the name. `policies` bind its
    calls beside their release's and deployment's."""

    key: str
    deployments: frozenset[str] | None = None
    internal: bool = False
    priority: Priority = "normal"
    owner: str | None = None
    policies: tuple[Policy, ...] | None = None


class InferenceRequest(msgspec.Struct, frozen=True):
    """An admitted call, read from the wire once.

    `body` is what the client sent, byte for byte. `requested_model` is the name in it, `deployment` the one
    that it means. `wants_usage` is whether the client itself asked for the usage chunk of a stream.
    `trace_parent` is as in `OpenedCall`."""

    id: str
    started_at: datetime
    principal: Principal
    operation: Operation
    deployment: str
    requested_model: str
    stream: bool
    wants_usage: bool
    body: bytes
    user: str | None = None
    session: str | None = None
    tags: dict[str, str] = {}
    trace_id: str | None = None
    trace_parent: str | None = None
