"""The ranges that a request's numbers have where the model is ours: those of OpenAI and Anthropic. Pure.

A hosted provider refuses what it does not take. An engine makes something of it without a word: with a
`temperature` of 9 gibberish, with a `top_p` of -3 what 0 gives, of 0 tokens one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec

from airboss.dialects.speech import CHATS, Ranges
from airboss.domain.errors import InvalidRequest
from airboss.gateway.wire import Body, check_range
from airboss.providers.cut import cut

WHOLE = ("max_tokens", "max_completion_tokens")
"""What is counted, from 1."""
DECIMALS: Mapping[str, tuple[float, float]] = {
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
ENGINES_OWN: Mapping[str, tuple[float, float]] = {
    "min_p": (0, 1),
    "typical_p": (0, 1),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 1),
    "mirostat": (0, 2),
}
"""llama.cpp's own."""
BIAS_MAX = 100
_TOKEN = re.compile(r"[0-9]{1,10}")


def refuse_out_of_range(body: Body, written: Mapping[str, msgspec.Raw], ranges: Ranges = CHATS) -> None:
    """Raise InvalidRequest for a number that is out of its range; `ranges` are of the client's dialect, and
    `written` is the request."""
    for name in WHOLE:
        count = getattr(body, name, None)
        if count is not None:
            check_range(name, count, 1)
    if body.temperature is not None:
        check_range("temperature", body.temperature, 0, ranges.temperature)
    for name, (least, most) in DECIMALS.items():
        value: float | None = getattr(body, name)
        if value is not None:
            check_range(name, value, least, most)
    _check_own(written, ranges)
    if isinstance(body.stop, list) and len(body.stop) > ranges.stops:
        raise InvalidRequest(
            f"'stop' has {len(body.stop)} texts; at most {ranges.stops} are taken",
            code="array_above_max_length",
            param="stop",
        )
    if body.logit_bias:
        _check_bias(body.logit_bias)


def _check_own(written: Mapping[str, msgspec.Raw], ranges: Ranges) -> None:
    own = ENGINES_OWN if ranges.top_k is None else {**ENGINES_OWN, "top_k": (ranges.top_k, math.inf)}
    for name in own.keys() & written.keys():
        value = msgspec.json.decode(written[name])
        if isinstance(value, int | float) and not isinstance(value, bool):
            check_range(name, value, *own[name])


def _check_bias(bias: Mapping[str, float]) -> None:
    for token, value in bias.items():
        if _TOKEN.fullmatch(token) is None:
            raise InvalidRequest(
                f"'logit_bias' has a key {cut(token, 40)!r}; keys are the numbers of tokens",
                param="logit_bias",
            )
        if not -BIAS_MAX <= value <= BIAS_MAX:
            raise InvalidRequest(
                f"'logit_bias' has {value:g} for token {token}; it must be -{BIAS_MAX} to {BIAS_MAX}",
                param="logit_bias",
            )
