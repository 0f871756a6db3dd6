"""Words of upstreams and of callers, cut off so that one can see it. Pure."""

from __future__ import annotations

from typing import Final

CUT: Final = "…"
MESSAGE_CHARS_MAX: Final = 2_500
"""Of an error's message, which may say again what was sent."""
NAME_CHARS_MAX: Final = 256
"""Of the name of a model that does not exist, and of a parameter that an error names."""


def cut(text: str, most: int) -> str:
    """The text, or so many of its characters with CUT behind them: what ends there may be half of a value."""
    return text if len(text) <= most else text[:most] + CUT


def brief(message: str) -> str:
    """An error's message; of a long one the middle is left out, since the next step stands at its end."""
    return message if len(message) <= MESSAGE_CHARS_MAX else message[:1000] + CUT + message[-500:]


def beginning(body: bytes, most: int) -> str:
    """How a body begins, as `cut` has it."""
    return cut(body[: 4 * most + 4].decode("utf-8", "replace"), most)
