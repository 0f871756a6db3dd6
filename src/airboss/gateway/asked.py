"""What models are asked for a call, as the executor needs to know it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from airboss.domain.errors import ApiError
from airboss.domain.plan import DeploymentPlan, Target
from airboss.domain.request import Operation
from airboss.gateway.answer import AnyAnswer, StreamedAnswer
from airboss.providers.dialect import Outgoing
from airboss.providers.outbox import Pieces

Secret = Callable[[str | None], str | None]
"""The secret that a reference means. Raises Unavailable."""
Cleaned = Callable[[str], str]
"""A name of an error without secrets, and without what the call's policies mask."""


class Asked(msgspec.Struct, frozen=True):
    """What one model is asked, and how its answer is taken in. `outgoing` is what is sent where the target
    has another dialect than OpenAI's; `body` is then its body."""

    target: Target
    body: bytes | Pieces
    new_answer: Callable[[Target], AnyAnswer]
    outgoing: Outgoing | None = None


class Asking(Protocol):
    """What models are asked beside the first; all raise ApiError. One object and not a closure for each,
    which every call would pay for (1.2 µs) and few need."""

    def fallback(self, other: Target) -> Asked:
        """What a fallback is asked."""

    def asks_others(self, error: ApiError) -> bool:
        """Whether fallbacks are asked where a filter refused with `error`."""

    def goes_on(self, cut: StreamedAnswer, source: Target, target: Target) -> Asked | None:
        """What a model is asked that is to go on with what `source` said: None where it cannot."""

    def probe(self, target: Target) -> Asked:
        """What finds out whether it does (`gateway.prefill`)."""

    def instead(self, asked: Asked) -> Asked:
        """The same said as chat, of what was asked at a route that not every provider has."""

    def beginning(self) -> bytes:
        """What calls that begin alike share."""


class Route(msgspec.Struct, frozen=True):
    """A call as the executor needs it. `secret` gives the key of a reference or raises ApiError. What an
    upstream calls its errors is `cleaned`: attempts are recorded, counted and shown under that. `others` are
    asked in turn where the first model fails; `too_large` is why that is not asked at all. Without `asking`
    nobody else is."""

    deployment: DeploymentPlan
    operation: Operation
    stream: bool
    trace: Mapping[str, str] | None
    secret: Secret
    cleaned: Cleaned
    asked: Asked
    too_large: ApiError | None = None
    others: tuple[Target, ...] = ()
    asking: Asking | None = None
    trial: bool = False
    """Whether the release is a candidate: its failures, retries and hedges are told from all others'."""
    sharing: int = 0
    """So many of the first of `others` share calls with the one that is asked: they are no fallbacks."""

    def falls_back_to(self, other: Target) -> bool:
        """Whether what another says is a fallback's answer."""
        return all(each is not other for each in self.others[: self.sharing])
