"""Who is left alone for failing is asked all the same where nobody else is left."""

from __future__ import annotations

import random
import time
from types import SimpleNamespace
from typing import cast

import pytest
import uvloop

from airboss.domain.plan import Retry, Target
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.asked import Asked, Asking, Route
from airboss.gateway.attempts import Dispatched
from airboss.gateway.dispatch import Executor
from airboss.providers.outbox import Outbox
from airboss.providers.pools import Pools
from airboss.testing import FakeProvider, ScriptStep
from tests.gateway.test_fallbacks import SAID, backup, other
from tests.support.gateway import deployment

__all__ = ["backup"]


def asked(target: Target) -> Asked:
    """The same of whichever model."""
    return Asked(target=target, body=b"{}", new_answer=lambda _: WholeAnswer("p"))


@pytest.mark.parametrize("alone", [(1,), (0, 1), (0, 1, 2), (1, 2)])
def test_who_was_left_alone_is_asked_before_a_call_fails(
    provider: FakeProvider, backup: FakeProvider, alone: tuple[int, ...]
) -> None:
    """Once nobody else is left, in the order of the models, whichever breakers are open."""
    provider.script(ScriptStep(behaviour="503", forever=True))
    plan = deployment(provider.url, retry=Retry(attempts=1))
    targets = [plan.target, other(backup.url), other(provider.url, "last")]
    asking = cast("Asking", SimpleNamespace(fallback=asked))
    route = Route(
        deployment=plan,
        operation="chat",
        stream=False,
        trace=None,
        secret=lambda _: None,
        cleaned=str,
        asked=asked(targets[0]),
        others=tuple(targets[1:]),
        asking=asking,
    )

    async def play() -> None:
        executor, now = Executor(Pools(Outbox()), rng=random.Random(1)), time.perf_counter()
        for number in alone:
            executor.places.of(targets[number])[0].breaker.open(now)
        call = Dispatched(started=now)
        answer = await executor.run(call, route)
        executor.close()
        assert isinstance(answer, WholeAnswer)
        assert SAID.encode() in answer.content
        assert call.answered_by is targets[1]
        assert call.fell_back
        assert len(call.tries) <= len(targets)

    uvloop.run(play())
