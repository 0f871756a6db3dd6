"""What a leaf of the audit log says beside its action, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

VALUE_CHARS_MAX: Final = 100
"""Characters of a value; half a digest ends in `…`, so that it does not look like a whole one."""
FIELDS_MAX: Final = 12
ALL_WITHOUT: Final = "deployments"
"""What a key may call: everything, where none are named."""


def fields(detail: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A name and a text for each value, at most FIELDS_MAX and a last one that counts the others. What lies
    deeper has all names on the way: `served > support > stable`. Texts are as they came, control characters
    too."""
    found = list(_flat(detail))
    if len(found) > FIELDS_MAX:
        found = [*found[:FIELDS_MAX], ("…", f"{len(found) - FIELDS_MAX} more")]
    return [(_cut(name), _cut(text)) for name, text in found]


def _flat(detail: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in detail.items():
        name = f"{above} > {key}" if above else key.replace("_", " ")
        if isinstance(value, Mapping) and value:
            yield from _flat(value, name)
        elif isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value):
            yield from _flat({str(at): each for at, each in enumerate(value, 1)}, name)
        elif value is None and key == ALL_WITHOUT:
            yield name, "all"  # of a key that may call nothing it is an empty list
        else:
            yield name, _said(value)


def _said(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list() | dict():
            return ", ".join(map(_said, value)) or "none"
        case _:
            return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARS_MAX else text[: VALUE_CHARS_MAX - 1] + "…"
