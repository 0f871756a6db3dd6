"""W3C trace context: the caller's trace goes on through us. Pure.

Source: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from airboss.domain.request import InferenceRequest

STATE_CHARS_MAX: Final = 512
"""Of a tracestate: as much as everybody must pass on."""

_PARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


class Trace(msgspec.Struct, frozen=True):
    """Where a call stands in its caller's trace; ids and flags in hex."""

    trace_id: str
    parent_id: str
    flags: str

    @property
    def parent(self) -> str:
        """The caller's span and the trace's flags, as `OpenedCall.trace_parent` has them."""
        return f"{self.parent_id}-{self.flags}"


def read_trace(headers: Mapping[bytes, bytes]) -> Trace | None:
    """The trace of a valid traceparent, else None. Only version 00 must end after its flags."""
    given = headers.get(b"traceparent")
    found = _PARENT.fullmatch(given.strip(b" \t")) if given is not None else None
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    return Trace(found[2].decode(), found[3].decode(), found[4].decode())


def trace_headers(headers: Mapping[bytes, bytes], request: InferenceRequest) -> dict[str, str] | None:
    """What goes upstream: the caller's trace with our span in it, whose id is the end of the record's id, and
    the state of other systems as it came. None where the call came without a trace."""
    if request.trace_id is None or request.trace_parent is None:
        return None
    sampled = int(request.trace_parent[-2:], 16) & 1  # flags that we do not know are not ours to pass on
    found = {"traceparent": f"00-{request.trace_id}-{request.id.replace('-', '')[16:]}-{sampled:02x}"}
    state = headers.get(b"tracestate", b"").strip()
    if 0 < len(state) <= STATE_CHARS_MAX and all(32 <= each < 127 for each in state):
        found["tracestate"] = state.decode()
    return found
