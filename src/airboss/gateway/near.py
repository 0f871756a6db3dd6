"""Vectors of questions: where they come from, and which of those that are kept are near."""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

import msgspec

from airboss.domain.errors import ApiError, UpstreamTimeout
from airboss.domain.plan import Retry, Target, Timeouts
from airboss.gateway.answer import AnyAnswer
from airboss.gateway.asked import Asked, Route
from airboss.gateway.attempts import Dispatched
from airboss.gateway.billing import counts_ready, is_counted, load_counts
from airboss.gateway.deadline import left_s
from airboss.gateway.dispatch import Executor
from airboss.gateway.embeddings import EmbeddingsAnswer, embeddings_body
from airboss.gateway.serving import Serving, cleaned_by
from airboss.gateway.wire import EmbeddingsBody
from airboss.gateway.worker import Admitted

PATIENCE_S: Final = 0.15
"""So long a call waits for its question's vector."""
NUMBERS_MAX: Final = 8192
"""No vector is longer."""
_STEPS: Final = 127
"""A number of a vector is kept as one of so many steps up or down: that moves a cosine by less than 0.002."""

_encode = msgspec.json.Encoder().encode


class _Vector(msgspec.Struct):
    embedding: list[float]


class _Vectors(msgspec.Struct):
    data: list[_Vector]


_read = msgspec.json.Decoder(_Vectors).decode


async def vector_of(
    executor: Executor,
    *,
    serving: Serving,
    call: Admitted,
    target: Target,
    text: str,
    dispatched: Dispatched,
) -> bytes | None:
    """The vector of a text as `target` makes it; None where it does not in PATIENCE_S, or in the call's time.
    The attempt is put into `dispatched`."""
    loop = asyncio.get_running_loop()
    patience_s = min(PATIENCE_S, left_s(call.deployment.timeout))
    total_s = 2 * patience_s  # of which an attempt that can be done without has half
    body = _encode({"model": target.upstream_model, "input": text, "encoding_format": "float"})
    parsed = EmbeddingsBody(model=target.upstream_model, input=text)
    sent, outgoing = embeddings_body(body, parsed, target)  # the configuration was checked: it takes them
    patience: list[asyncio.TimerHandle] = []

    def new_answer(_: Target) -> AnyAnswer:
        answer = EmbeddingsAnswer(target.provider)
        late = UpstreamTimeout(f"provider {target.provider!r} made no vector within {patience_s:g} s")
        patience.append(loop.call_later(patience_s, answer.fail, late))
        return answer

    route = Route(
        deployment=msgspec.structs.replace(
            call.deployment, timeout=Timeouts(total_s=total_s), retry=Retry(attempts=1), hedge=None
        ),
        operation="embeddings",
        stream=False,
        trace=call.trace,
        secret=serving.secret,
        cleaned=cleaned_by(serving, call.screen),
        asked=Asked(target=target, body=sent, new_answer=new_answer, outgoing=outgoing),
    )
    try:
        answer = await executor.aside(dispatched, route, deadline=time.perf_counter() + total_s)
        assert isinstance(answer, EmbeddingsAnswer)  # as was asked for
        return packed(_read(answer.content).data[0].embedding)
    except (ApiError, msgspec.DecodeError, IndexError):
        return None
    finally:
        dispatched.answer = None  # it is nobody's answer
        for each in patience:
            each.cancel()
        if is_counted(dispatched.tries) and not counts_ready():
            await asyncio.to_thread(load_counts)


def prepare() -> None:
    """Load what comparing needs, if it is there: for a thread, before a call needs it."""
    if find_spec("numpy") is not None:
        import numpy as np  # noqa: F401, PLC0415 - an extra, which only this needs


def packed(vector: Sequence[float]) -> bytes | None:
    """A vector as it is kept: each number a byte. None for one that points nowhere."""
    if not 0 < len(vector) <= NUMBERS_MAX or not all(map(math.isfinite, vector)):
        return None
    most = max(map(abs, vector))
    return array("b", [round(each / most * _STEPS) for each in vector]).tobytes() if most else None


def nearest(
    vector: bytes, kept: Sequence[tuple[bytes, bytes]], threshold: float, *, most: int
) -> list[tuple[float, bytes]]:
    """Those of `kept` (keys and vectors) that are as near as `threshold` or nearer, the nearest first, each
    with its cosine; so many at most."""
    import numpy as np  # noqa: PLC0415 - an extra, which only this needs

    kept = [each for each in kept if len(each[1]) == len(vector)]
    if not kept:
        return []
    these: Any = np.frombuffer(b"".join(each[1] for each in kept), np.int8).astype(np.float32)
    these = these.reshape(len(kept), -1)
    this: Any = np.frombuffer(vector, np.int8).astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", these, these)) * np.sqrt(this @ this)
    cosines = (these @ this) / lengths
    found = [(float(cosines[at]), kept[at][0]) for at in np.flatnonzero(cosines >= threshold)]
    return sorted(found, reverse=True)[:most]
