"""Which translation a call needs, by its release's form and its target's kind; none where both match."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from airboss.config.rules import is_reference
from airboss.domain.plan import Target
from airboss.domain.release import ProviderKind, Release
from airboss.domain.request import Operation
from airboss.gateway.raw_prompt import raw_outgoing
from airboss.gateway.wire import Body, ChatBody, invalid, upstream_body
from airboss.providers import dialect
from airboss.providers.compatible import request_head
from airboss.providers.dialect import Outgoing
from airboss.providers.dialects import NAMES, azure, foreign
from airboss.providers.outbox import Pieces, behind

if TYPE_CHECKING:
    from airboss.gateway.asked import Secret
    from airboss.gateway.places import Place

DROPPED_MAX = 32
"""Names in one header; the client wrote them, and may have written thousands."""
_ODD = re.compile(r"[^A-Za-z0-9_.\[\]-]")

Translate = Callable[[bytes, Body, Release, Target], Outgoing]
"""A call's body, as the client sent it, made what goes upstream. Raises ApiError, and msgspec.ValidationError
where a member has not OpenAI's shape."""


def translation(release: Release, target: Target) -> Translate | None:
    """How calls of a release are said at a target; None where OpenAI's own bytes go there."""
    if release.form == "completion":
        return raw_outgoing
    return _TRANSLATE.get(target.kind)


def _azure(raw: bytes, parsed: Body, release: Release, target: Target) -> Outgoing:
    body = upstream_body(raw, parsed, model=target.upstream_model, release=release)
    return azure(body, target, _operation(parsed))


def _foreign(raw: bytes, parsed: Body, release: Release, target: Target) -> Outgoing:
    body = upstream_body(raw, parsed, model=target.upstream_model, release=release)
    return foreign(body, target, _operation(parsed))


def _operation(parsed: Body) -> Operation:
    return "chat" if isinstance(parsed, ChatBody) else "text_completion"


_TRANSLATE: Mapping[ProviderKind, Translate] = {"azure": _azure, **dict.fromkeys(NAMES, _foreign)}


def outgoing(translate: Translate, raw: bytes, parsed: Body, release: Release, target: Target) -> Outgoing:
    """What goes upstream. Raises ApiError."""
    try:
        return translate(raw, parsed, release, target)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None


def dropped_line(dropped: Sequence[str]) -> bytes:
    """The line of an answer that names what was left out of a request; nothing where nothing was."""
    if not dropped:
        return b""
    names = [_ODD.sub("_", name)[:64] for name in dropped[:DROPPED_MAX]]
    more = [f"and-{len(dropped) - DROPPED_MAX}-more"] if len(dropped) > DROPPED_MAX else []
    return f"x-airboss-dropped: {', '.join(names + more)}\r\n".encode()


def _with(
    headers: Sequence[tuple[str, str]], secret: Secret, trace: Mapping[str, str] | None
) -> dict[str, str]:
    """What a provider's configuration sends along, and the trace. Raises Unavailable where one is missing."""
    said = {name: (secret(value) or "") if is_reference(value) else value for name, value in headers}
    return said | dict(trace or {})


def request_of(  # noqa: PLR0917 - what is known of a call, in the order it is
    target: Target,
    place: Place,
    secret: Secret,
    operation: Operation,
    body: bytes | Pieces,
    outgoing: Outgoing | None,
    trace: Mapping[str, str] | None,
) -> bytes | Pieces:
    """One attempt's request, head and body. Raises Unavailable where its key is missing."""
    key, origin = secret(place.key_ref), place.pool.origin
    if target.headers:
        trace = _with(target.headers, secret, trace)
    if outgoing is None:
        head = request_head(
            host=origin.host_header,
            base_path=origin.base_path,
            operation=operation,
            secret=key,
            trace=trace,
            length=len(body),
        )
    else:
        head = dialect.request_head(
            outgoing,
            host=origin.host_header,
            base_path=origin.base_path,
            secret=key,
            trace=trace,
            at=time.time(),
        )
    return behind(head, body)
