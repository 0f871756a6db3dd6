"""W3C trace context: the caller's trace goes on through us. Pure."""

from __future__ import annotations

from airboss.domain.request import InferenceRequest


def trace_id(traceparent: bytes | None) -> str | None:
    """The trace id of a valid W3C traceparent (https://www.w3.org/TR/trace-context/), else None."""
    if traceparent is None or len(traceparent) < 55:
        return None
    parts = traceparent.decode("latin-1").split("-")
    if len(parts) < 4 or [len(p) for p in parts[:4]] != [2, 32, 16, 2] or parts[0] == "ff":
        return None
    try:
        valid = int(parts[1], 16) > 0 and int(parts[2], 16) > 0
    except ValueError:
        return None
    return parts[1] if valid else None


def child_traceparent(traceparent: bytes | None, request: InferenceRequest) -> str | None:
    """The caller's trace with our span in it: the span id is the end of the record's id."""
    if traceparent is None or request.trace_id is None:
        return None
    flags = traceparent.decode("latin-1").split("-")[3]
    return f"00-{request.trace_id}-{request.id.replace('-', '')[16:]}-{flags}"
