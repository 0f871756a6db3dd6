"""A recorded call as a shell command that makes it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airboss.console.text import escaped_json
from airboss.dialects.recorded import PATHS, dialect_of
from airboss.domain.record import InferenceRecord
from airboss.domain.request import Operation

ROUTES: Mapping[Operation, str] = {
    "text_completion": "/completions",
    "embeddings": "/embeddings",
}
OWN = "release_variant"
"""The member of a request that only Airboss's own calls may have."""
INLINE_MAX = 64 * 1024
"""Longest body written into the command: Linux takes at most 128 KiB in one argument."""


def body_text(body: Any, *, indent: int | None = 2) -> str:
    """A JSON value as text that is safe to show and to copy; lone surrogates stay escaped."""
    try:
        return escaped_json(json.dumps(body, ensure_ascii=False, indent=indent, default=str))
    except (RecursionError, ValueError):  # deeper, or with a longer integer, than Python writes
        return '"[a value too deep or too long to be shown]"'


def quoted(text: str) -> str:
    """`text` as one word for any POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def sendable(request: Any) -> Any:
    """A request as anybody's key may send it."""
    return {k: v for k, v in request.items() if k != OWN} if isinstance(request, dict) else request


def curl(record: InferenceRecord, *, base_url: str) -> str | None:
    """The command, with the key left to the environment; None where no body was kept, and of
    calls that are only passed on, whose files no record has. What only Airboss may send (`OWN`) is left out.

    A body over `INLINE_MAX` bytes is read from `request.json`, which the page offers beside the command.
    """
    if record.request is None or not (record.operation == "chat" or record.operation in ROUTES):
        return None
    text = body_text(sendable(record.request))
    long = len(text.encode()) > INLINE_MAX
    data = "--data-binary @request.json" if long else f"--data-raw {quoted(text)}"
    flags = "-sSN" if record.stream else "-sS"
    route = ROUTES[record.operation] if record.operation != "chat" else PATHS[dialect_of(record)]
    return (
        f"curl {flags} {quoted(base_url.rstrip('/') + route)} \\\n"
        '  -H "Authorization: Bearer $OPENAI_API_KEY" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  {data}"
    )
