"""What of a streamed response has gone out, to be said again where a policy blocks what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from airboss.governance.screening_stream import NULL, Members, read_number, read_object, read_text

KEPT_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of items and texts; what is more went out all the same, and is not said again."""
CUT: Final[Members] = {
    "status": msgspec.Raw(b'"incomplete"'),
    "incomplete_details": msgspec.Raw(b'{"reason":"content_filter"}'),
}
"""What a response says of itself of which something was blocked."""

_BEGIN: Final = frozenset({"response.created", "response.queued", "response.in_progress"})
_ITEMS: Final = frozenset({"response.output_item.added", "response.output_item.done"})
_PARTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "response.output_text.delta": ("content", "output_text", "text"),
    "response.refusal.delta": ("content", "refusal", "refusal"),
    "response.reasoning_text.delta": ("content", "reasoning_text", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_text", "text"),
    "response.audio.transcript.delta": ("content", "output_audio", "transcript"),
}
"""Events of texts in parts: the list of parts, their type, and the member that grows."""
_FLAT: Final[Mapping[str, str]] = {
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
}
"""Events of texts that are members of their items."""
_encode = msgspec.json.Encoder().encode


class Begun:
    """Is told every event that goes out, as it may be recorded."""

    def __init__(self) -> None:
        self._head: Members = {}
        self._items: dict[int, Members] = {}
        self._texts: dict[int, dict[tuple[str, int], list[str]]] = {}
        """Those of items that have not ended, by the kind of their events and their part's number."""
        self._kept = 0

    def add(self, event: Members) -> None:
        """An event has gone out."""
        type_ = read_text(event.get("type")) or ""
        if type_ in _BEGIN:
            self._head = read_object(event.get("response")) or {}
        index = read_number(event.get("output_index"), -1)
        if index < 0 or self._kept > KEPT_BYTES_MAX:
            return
        if type_ in _ITEMS:
            self._kept += len(bytes(event.get("item", NULL)))
            self._items[index] = read_object(event.get("item")) or {}
            self._texts.pop(index, None)
        elif type_ in _PARTS or type_ in _FLAT:
            text = read_text(event.get("delta")) or ""
            part = event.get("summary_index" if "summary" in type_ else "content_index")
            self._kept += len(text)
            self._texts.setdefault(index, {}).setdefault((type_, read_number(part)), []).append(text)

    def cut(self, *, numbered: bool) -> Members:
        """The event that ends it."""
        output = [self._item(index) for index in sorted(self._items.keys() | self._texts.keys())]
        response = self._head | CUT | {"output": msgspec.Raw(_encode(output))}
        event = {"type": msgspec.Raw(b'"response.incomplete"'), "response": msgspec.Raw(_encode(response))}
        return event | ({"sequence_number": NULL} if numbered else {})

    def _item(self, index: int) -> Members:
        item, parts = self._items.get(index, {}), dict[str, dict[int, object]]()
        if index not in self._texts and read_text(item.get("status")) != "in_progress":
            return item
        for (type_, number), pieces in self._texts.get(index, {}).items():
            text = "".join(pieces)
            if type_ in _FLAT:
                item[_FLAT[type_]] = msgspec.Raw(_encode(text))
                continue
            where, kind, grows = _PARTS[type_]
            parts.setdefault(where, {})[number] = {"type": kind, grows: text} | (
                {"annotations": []} if kind == "output_text" else {}
            )
        for where, numbered in parts.items():
            item[where] = msgspec.Raw(_encode([numbered[number] for number in sorted(numbered)]))
        return item | {"status": CUT["status"]}
