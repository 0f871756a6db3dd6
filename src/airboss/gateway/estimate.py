"""What a call may use, guessed before it is made; reserved then, settled with what it used. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from airboss.dialects.reckoning import CHARS_PER_TOKEN
from airboss.domain.plan import Target
from airboss.domain.release import Release
from airboss.gateway import wire

DEFAULT_OUTPUT_TOKENS = 256
"""Of an answer that nobody bounds."""
OUTPUT_TOKENS_MAX = 10**9
"""Whatever a request asks for: no answer is longer, and every counter can hold the sum."""
PART_TOKENS = 1000
"""Of a picture or a sound, whose bytes say nothing of its tokens."""
BESIDE_PARTS_TOKENS_MAX = 8000
"""The most that is reckoned for the text beside such parts."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens in and out. `bounded`: the request or the release says that `output` is the most."""

    input: int
    output: int
    bounded: bool

    def tokens(self, limit: int) -> int:
        """What to reserve of `limit` tokens a minute: an answer without a bound takes a quarter of it at
        most, and no call more than all of it. Else a small limit would let nobody in."""
        output = self.output if self.bounded else min(self.output, limit // 4)
        return min(self.input + output, limit)


def estimate(body: wire.Body, size: int, release: Release, target: Target) -> Estimate:
    """The estimate for a request of `size` bytes."""
    if isinstance(body, wire.RelayedBody):
        return Estimate(input=0, output=0, bounded=True)
    tokens = size // CHARS_PER_TOKEN
    parts = _parts(body)
    if parts:
        tokens = min(tokens, parts * PART_TOKENS + BESIDE_PARTS_TOKENS_MAX)
    if isinstance(body, wire.EmbeddingsBody):
        return Estimate(input=tokens, output=0, bounded=True)
    bound = _bound(body, release)
    output = DEFAULT_OUTPUT_TOKENS if bound is None else bound
    if target.slot_tokens is not None:
        output = min(output, target.slot_tokens)
    several = max(body.n or 1, getattr(body, "best_of", None) or 1)
    return Estimate(input=tokens, output=min(output * several, OUTPUT_TOKENS_MAX), bounded=bound is not None)


def _parts(body: wire.Body) -> int:
    """Parts of messages that are no text."""
    if not isinstance(body, wire.ChatBody):
        return 0
    several = [message.content for message in body.messages if isinstance(message.content, list)]
    return sum(part.type != "text" for content in several for part in content) if several else 0


def _bound(body: wire.Body, release: Release) -> int | None:
    """What bounds the answer: what the release forces, what the request says, what the release fills in."""
    asked = getattr(body, "max_completion_tokens", None)
    if asked is None:
        asked = body.max_tokens
    forced = _of(release.params_force)
    if forced is not None:
        return forced
    return asked if asked is not None else _of(release.params)


def _of(params: Any) -> int | None:
    for name in ("max_completion_tokens", "max_tokens") if params else ():
        bound = params.get(name)
        if isinstance(bound, int):
            return bound
    return None
