"""Labels that a client sends with its calls in a header: who it is for, the session, tags. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.gateway.wire import check_labels

HEADER: Final = b"x-airboss-metadata"
"""As a client's library sends it with every request: a JSON object, as Anthropic's `metadata` is one."""

Labels = tuple[str | None, str | None, dict[str, str]]
"""The user of a call, its session and its tags."""


def labelled(header: bytes, user: str | None, session: str | None, tags: Mapping[str, str]) -> Labels:
    """What a call's body says of these, and for what it leaves open the header. Raises InvalidRequest."""
    said = read(header)
    user, session = user or said.get("user_id"), session or said.get("session_id")
    tags = {name: text for name, text in said.items() if name not in {"user_id", "session_id"}} | dict(tags)
    check_labels(user, tags | ({"session_id": session} if session else {}))
    return user, session, tags


@lru_cache(maxsize=64)  # a program sends the same with each of its calls
def read(header: bytes) -> Mapping[str, str]:
    """The header's members. Raises InvalidRequest."""
    try:
        # What browsers' `fetch` and Node's send of a text beyond ASCII is Latin-1.
        text = header.decode("utf-8") if _is_utf8(header) else header.decode("latin-1")
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise InvalidRequest(
            f"the header x-airboss-metadata is no JSON object of texts, such as {_EXAMPLE}: {error}",
            param="x-airboss-metadata",
        ) from None


_EXAMPLE: Final = '{"user_id": "ann", "session_id": "s-1", "project": "apollo"}'


def _is_utf8(header: bytes) -> bool:
    try:
        header.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
