"""What a row may hold of a span's attributes and events, and what is cut of longer ones. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

VALUE_CHARS_MAX: Final = 8_192
BEGINNING_CHARS: Final = 256
ATTRIBUTES_CHARS_MAX: Final = 32_768
EVENTS_CHARS_MAX: Final = 8_192
_MARK_CHARS: Final = 64
"""Of what says how much is missing."""

_encode = msgspec.json.Encoder().encode


def bounded(attributes: Mapping[str, Any], kept: Callable[[str, int], str]) -> dict[str, Any]:
    """Attributes that are no trouble to screen, however long they were: the beginnings of long texts, as
    `kept` has them, and no long lists or objects. What `fitting` cuts of these was screened before."""
    return {name: _bounded(value, kept) for name, value in attributes.items()}


def _bounded(value: Any, kept: Callable[[str, int], str]) -> Any:
    if not isinstance(value, str):
        return _short(value, VALUE_CHARS_MAX)
    if len(value) <= 2 * VALUE_CHARS_MAX:
        return value
    begun = kept(value, VALUE_CHARS_MAX - _MARK_CHARS)
    return f"{begun}[cut: {len(value) - len(begun)} more characters]"


def fitting(attributes: Mapping[str, Any], chars_max: int) -> dict[str, Any]:
    """Attributes cut to what a row may hold: long values to their beginnings, the longest ones to shorter
    ones, and then the last attributes are left out."""
    found = {name: _short(value, VALUE_CHARS_MAX) for name, value in attributes.items()}
    sizes = {name: _size(value) + len(name) + 8 for name, value in found.items()}
    total = sum(sizes.values())
    for name in sorted(sizes, key=lambda each: -sizes[each]):
        if total <= chars_max:
            return found
        found[name] = _short(found[name], BEGINNING_CHARS)
        total += _size(found[name]) + len(name) + 8 - sizes[name]
        sizes[name] = _size(found[name]) + len(name) + 8
    left_out = 0
    for name in reversed(list(attributes)):
        if total <= chars_max:
            break
        del found[name]
        total -= sizes[name]
        left_out += 1
    return {**found, "airboss.left_out": left_out} if left_out else found


def _short(value: Any, chars_max: int) -> Any:
    size = _size(value)
    if size <= chars_max:
        return value
    if isinstance(value, str):
        kept = chars_max * len(value) // size
        return f"{value[:kept]}[cut: {len(value) - kept} more characters]"
    return f"[cut: {size} characters]"


def _size(value: Any) -> int:
    """How long it is as it is kept: as JSON, where a control character is six."""
    if isinstance(value, str):
        return len(_encode(value).decode()) - 2
    return len(_encode(value)) if isinstance(value, list | dict) else 8


def fitting_events(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events cut to what a row may hold; the last ones are left out first."""
    kept: list[dict[str, Any]] = []
    total = 0
    for event in events:
        fitted = {**event, "attributes": fitting(event["attributes"], EVENTS_CHARS_MAX // 2)}
        total += len(_encode(fitted))
        if total > EVENTS_CHARS_MAX:
            return [*kept, {"at_ms": event["at_ms"], "name": f"[cut: {len(events) - len(kept)} more events]"}]
        kept.append(fitted)
    return kept
