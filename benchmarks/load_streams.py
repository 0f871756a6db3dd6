"""Many streams at once, and the gaps between their tokens."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import httptools
from benchmarks.stats import quantile

STALL_S = 0.25


class Stream(asyncio.Protocol):
    """One stream; gaps are between tokens, those that come in one read are 0 apart."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.parser = httptools.HttpResponseParser(self)
        self.gaps: list[float] = []
        self.first_token_s = float("nan")
        self.began = self.last = 0.0
        self.tokens = 0
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport = cast("asyncio.Transport", transport)
        self.began = time.perf_counter()
        self.transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        """Some events."""
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Count the tokens in it: only they have a word in their delta. Servers send an event a chunk."""
        self.tail = (self.tail + body)[-64:]
        count = body.count(b'"content":"') + body.count(b'"content": "') - body.count(b'"content":""')
        count -= body.count(b'"content": ""')
        if count <= 0:
            return
        now = time.perf_counter()
        if self.tokens:
            self.gaps += [now - self.last] + [0.0] * (count - 1)
        else:
            self.first_token_s = now - self.began
        self.tokens += count
        self.last = now

    def on_message_complete(self) -> None:
        """The end, good if it is the end of a stream."""
        if not self.done.done():
            self.done.set_result(b"[DONE]" in self.tail)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Broken off, unless it was over."""
        if not self.done.done():
            self.done.set_result(False)


async def streams(
    host: str, port: int, message: bytes, *, count: int, tokens: int, rate: float
) -> dict[str, Any]:
    """Open `count` streams, spread over one second, and watch them all to their end."""
    loop = asyncio.get_running_loop()
    made: list[Stream] = []
    began = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / count - time.perf_counter()))
        _, stream = await loop.create_connection(lambda: Stream(message), host, port)
        made.append(stream)
    done, _ = await asyncio.wait([one.done for one in made], timeout=3 * tokens / rate + 30)
    whole = sum(one.result() for one in done)
    gaps = sorted(gap for one in made for gap in one.gaps)
    firsts = sorted(one.first_token_s for one in made if one.tokens)
    return {
        "streams": count,
        "whole": whole,
        "tokens": sum(one.tokens for one in made),
        "tokens_wanted": count * tokens,
        "first_token_p50_ms": quantile(firsts, 0.5) * 1e3,
        "first_token_p99_ms": quantile(firsts, 0.99) * 1e3,
        "gap_p50_ms": quantile(gaps, 0.5) * 1e3,
        "gap_p99_ms": quantile(gaps, 0.99) * 1e3,
        "gap_max_ms": gaps[-1] * 1e3 if gaps else float("nan"),
        "stalls": sum(gap > STALL_S for gap in gaps) + count - len(firsts),
    }
