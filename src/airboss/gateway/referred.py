"""Items of an input of Responses that are only named (`item_reference`): those of responses kept here, put in
their places. An item's id has its response's in it, so that nothing more needs to be kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from airboss.domain.errors import InvalidRequest

RESPONSES_MAX: Final = 1024
"""Of responses whose items one input names."""
_OURS: Final = re.compile(r"(?:msg|rs|fc|ctc|ig)_([0-9a-f]{32})(?:_\d{1,5})?")
_REFERENCE: Final = b'"item_reference"'
_encode = msgspec.json.Encoder().encode


class _Item(msgspec.Struct):
    type: Any = None
    id: Any = None

    @property
    def response(self) -> str | None:
        """The id of the response that this names an item of; None of what names none that was made here."""
        if self.type != "item_reference" or not isinstance(self.id, str):
            return None
        found = _OURS.fullmatch(self.id)
        return f"resp_{found[1]}" if found else None


class _Asked(msgspec.Struct):
    input: list[msgspec.Raw] | str | None = None


class _Output(msgspec.Struct):
    output: list[msgspec.Raw] = []


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_asked = msgspec.json.Decoder(_Asked)
_item = msgspec.json.Decoder(_Item)
_output = msgspec.json.Decoder(_Output)


def responses_named(body: bytes) -> list[str]:
    """The ids of the responses whose items a request names, each once; none of a body that is no request.
    Raises InvalidRequest for more than may be looked up."""
    if _REFERENCE not in body:  # a pattern takes twenty times as long, where there are pictures
        return []
    try:
        listed = _asked.decode(body).input
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    named = [_named(raw) for raw in listed] if isinstance(listed, list) else []
    found = list(dict.fromkeys(each.response for each in named if each.response is not None))
    if len(found) > RESPONSES_MAX:
        raise InvalidRequest(
            f"'input' names items of {len(found)} responses; of {RESPONSES_MAX} at most, send the items or "
            "previous_response_id",
            param="input",
        )
    return [each for each in found if each is not None]


def with_items(body: bytes, kept: Mapping[str, str]) -> bytes:
    """The request with the items of these responses, JSON by their ids, in place of their names. Others stay
    as they are: who made them may know them."""
    items: dict[str, msgspec.Raw] = {}
    for response in kept.values():
        for raw in _output.decode(response).output:
            named = _named(raw)
            if isinstance(named.id, str):
                items[named.id] = raw
    members = _members.decode(body)
    listed = _asked.decode(body).input
    assert isinstance(listed, list)  # it names items
    return _encode({**members, "input": [_in_place_of(raw, items) for raw in listed]})


def _in_place_of(raw: msgspec.Raw, items: Mapping[str, msgspec.Raw]) -> msgspec.Raw:
    named = _named(raw)
    return raw if named.response is None else items.get(named.id, raw)


def _named(raw: msgspec.Raw) -> _Item:
    try:
        return _item.decode(raw)
    except msgspec.ValidationError:
        return _Item(type="")
