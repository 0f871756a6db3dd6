"""A text completion asked of an upstream that knows conversations only: the prompt is the user's one message,
and what the assistant says is the text. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from airboss.domain.errors import InvalidRequest, UpstreamRefused
from airboss.providers.dialect import DONE, Reader, Unsaid

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode
_ASKS_NOTHING = {
    "echo": frozenset({b"null", b"false"}),
    "suffix": frozenset({b"null", b'""'}),
    "logprobs": frozenset({b"null"}),  # 0 asks for those of what was said
    "best_of": frozenset({b"null", b"1"}),
}


def as_chat(body: bytes, unsaid: Unsaid) -> bytes:
    """The request, as a chat's. Raises InvalidRequest for more than one prompt and for tokens."""
    members = _members.decode(body)
    prompt = msgspec.json.decode(members.pop("prompt", b"null"))
    if isinstance(prompt, list) and len(prompt) == 1:
        (prompt,) = prompt
    if not isinstance(prompt, str):
        raise InvalidRequest(
            "'prompt' is not one text, and the provider of this deployment takes one; send a text",
            code="unsupported_by_provider",
            param="prompt",
        )
    for name, nothing in _ASKS_NOTHING.items():
        if bytes(members.pop(name, msgspec.Raw(b"null"))) not in nothing:
            unsaid.add(name)
    return _encode({**members, "messages": [{"role": "user", "content": prompt}]})


class TextReader:
    """Reads a chat answer, which `inner` makes, as a text completion."""

    def __init__(self, inner: Reader) -> None:
        self._inner = inner

    def whole(self, body: bytes) -> bytes:
        """A whole answer."""
        return _text(self._inner.whole(body))

    def event(self, data: bytes) -> list[bytes]:
        """One event."""
        return [_text(each) for each in self._inner.event(data)]

    def end(self) -> list[bytes]:
        """The end of the body."""
        return [_text(each) for each in self._inner.end()]

    def told(self) -> dict[str, Any] | None:
        """The usage so far."""
        return self._inner.told()

    def error(self, status: int, body: bytes) -> bytes:
        """An error."""
        return self._inner.error(status, body)


def _text(data: bytes) -> bytes:
    """A chat answer or chunk as a text completion; errors and the end as they are."""
    if data == DONE:
        return data
    value: dict[str, Any] = msgspec.json.decode(data)
    if "choices" not in value:
        return data
    value["object"] = "text_completion"
    value["choices"] = [
        {
            "index": choice["index"],
            "text": _said(choice.get("message") or choice.get("delta") or {}),
            "logprobs": None,
            "finish_reason": choice["finish_reason"],
        }
        for choice in value["choices"]
    ]
    return _encode(value)


def _said(message: dict[str, Any]) -> str:
    """The text of a message. Raises UpstreamRefused for one with pictures."""
    if message.get("images"):
        raise UpstreamRefused(
            "the model answered with an image, which a text completion has no words for; ask "
            "/v1/chat/completions or /v1/responses",
            upstream_status=400,
            code="content_unsupported",
        )
    return message.get("content") or ""
