"""Items of a response's output, while they grow. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from airboss.dialects.speech import Counts, Json
from airboss.domain.errors import UpstreamFailed
from airboss.providers.cut import cut


class Item:
    """One item of the output, as it stands. `item` is its JSON value."""

    def __init__(self, item: Json, index: int) -> None:
        self.item = item
        self.index = index
        self.ended = False

    def finish(self, status: str) -> None:
        """It ends so."""
        self.ended = True
        self.item["status"] = status


def picture(item_id: str, url: str, index: int) -> Item:
    """A picture that is still to be shown. Raises UpstreamFailed for one that is not there, but elsewhere."""
    kind, comma, _ = url.removeprefix("data:image/").partition(";base64,")
    if not (comma and url.startswith("data:image/")):
        raise UpstreamFailed(
            f"the upstream's image is no base64 but {cut(url, 60)!r}", code="content_unsupported"
        )
    item = {"id": item_id, "type": "image_generation_call", "status": "in_progress", "result": None}
    return Item(item | {"output_format": kind}, index)


class Text(Item):
    """A message or a reasoning: parts, of which the last one grows."""

    def __init__(self, item: Json, index: int) -> None:
        super().__init__(item, index)
        self.pieces: list[str] = []
        self.logprobs: list[Json] = []
        self.parts: list[Json] = []

    def open_part(self, part: Json) -> None:
        """A new part grows."""
        self.parts = self.item["summary" if part["type"] == "summary_text" else "content"]
        self.parts.append(part)

    def close_part(self) -> Json:
        """The part that grew, whole."""
        part = self.parts[-1]
        part["refusal" if part["type"] == "refusal" else "text"] = "".join(self.pieces)
        if part["type"] == "output_text":
            part["logprobs"] = self.logprobs
        self.pieces, self.logprobs = [], []
        return part


PARTS: Mapping[str, tuple[str, Json]] = {
    "text": ("message", {"type": "output_text", "text": "", "annotations": [], "logprobs": []}),
    "refusal": ("message", {"type": "refusal", "refusal": ""}),
    "reasoning": ("reasoning", {"type": "reasoning_text", "text": ""}),
    "summary": ("reasoning", {"type": "summary_text", "text": ""}),
}
"""The item that a channel's text goes into, and its part there."""
PREFIX: Mapping[str, str] = {"message": "msg", "reasoning": "rs"}
"""How the ids of items begin."""


class CallKind(msgspec.Struct, frozen=True):
    """A type of item that calls a tool: how its ids begin, and the member that has what it is called with."""

    type: str
    id: str
    holds: str


FUNCTION_CALL = CallKind("function_call", "fc", "arguments")
CUSTOM_CALL = CallKind("custom_tool_call", "ctc", "input")
SEARCH_CALL = CallKind("tool_search_call", "tsc", "arguments")
CALL_KINDS: Mapping[str, CallKind] = {each.type: each for each in (FUNCTION_CALL, CUSTOM_CALL, SEARCH_CALL)}


def usage_of(counts: Counts) -> Json:
    """Usage in Responses' words."""
    return {
        "input_tokens": counts.input,
        "input_tokens_details": {"cached_tokens": counts.cached, "cache_write_tokens": counts.written},
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.input + counts.output,
    }
