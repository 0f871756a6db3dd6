"""Credentials of others that a request carries in members made for them, which no record has. Pure.

A tool of type `mcp` says in `authorization` and `headers` how its server is asked, an entry of Anthropic's
`mcp_servers` in `authorization_token`, and clients of other gateways send a provider's `api_key`. They go on
to the provider, whose they are.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from airboss.gateway.splice import join_members, members
from airboss.gateway.wire import Body, ChatBody
from airboss.governance.redact import MARK

_MAY: Final = re.compile(rb'"(?:authorization|authorization_token|headers|api_key)"').search
_LISTS: Final = ("tools", "mcp_servers")
_SECRETS: Final = ("authorization", "authorization_token")


def may_carry(body: Body) -> bool:
    """Whether a body has members in which one may be, of a client that speaks chat or embeddings."""
    return body.api_key is not None or (isinstance(body, ChatBody) and bool(body.tools))


def without_credentials(body: bytes) -> bytes:
    """The JSON object as a record has it; the same bytes where it carries none."""
    if _MAY(body) is None:
        return body
    found = members(body)
    changed = {name: value for name in _LISTS if (value := _without(found.get(name, b"null"))) is not None}
    if "api_key" in found:
        changed["api_key"] = msgspec.json.encode(MARK)
    return join_members(found | changed) if changed else body


def _without(listed: bytes) -> bytes | None:
    """A list of tools or servers without them; None where it has none, or is no such list."""
    try:
        entries = msgspec.json.decode(listed, type=list[dict[str, msgspec.Raw]])
    except msgspec.ValidationError:
        return None
    if not any(name in each for each in entries for name in (*_SECRETS, "headers")):
        return None
    return msgspec.json.encode([_marked(each) for each in entries])


def _marked(entry: dict[str, msgspec.Raw]) -> dict[str, Any]:
    marked: dict[str, Any] = entry | {name: MARK for name in _SECRETS if name in entry}
    if "headers" in entry:
        headers = msgspec.json.decode(entry["headers"])
        marked["headers"] = dict.fromkeys(headers, MARK) if isinstance(headers, dict) else MARK
    return marked
