"""How many tokens a request is reckoned at where nobody counts them. Pure."""

from __future__ import annotations

import msgspec

CHARS_PER_TOKEN = 4
IMAGE_TOKENS = 1_600
"""What an image is taken for where nobody counts it: the most that Anthropic's models see in one."""


class _Part(msgspec.Struct):
    type: str
    text: msgspec.Raw = msgspec.Raw(b"")


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    tool_calls: list[msgspec.Raw] | None = None


class _Asked(msgspec.Struct):
    """A chat request, as far as it is estimated: what is odd in it is not looked at."""

    messages: list[_Message]
    tools: list[msgspec.Raw] | None = None


_asked = msgspec.json.Decoder(_Asked).decode


def reckoned(chat: bytes) -> int:
    """Tokens by the length of the texts and the number of the images of a chat request."""
    asked = _asked(chat)
    chars = sum(len(bytes(tool)) for tool in asked.tools or ())
    images = 0
    for message in asked.messages:
        chars += sum(len(bytes(call)) for call in message.tool_calls or ())
        if isinstance(message.content, str):
            chars += len(message.content)
            continue
        for part in message.content or ():
            chars += max(0, len(bytes(part.text)) - len('""'))
            images += part.type != "text"
    return max(1, -(-chars // CHARS_PER_TOKEN)) + images * IMAGE_TOKENS
