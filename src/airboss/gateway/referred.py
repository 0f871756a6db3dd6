"""Items of an input of Responses that are only named (`item_reference`): those of responses kept here, put in
their places. An item's id has its response's in it, so that nothing more needs to be kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from airboss.domain.errors import BodyTooLarge, InvalidRequest

RESPONSES_MAX: Final = 1024
"""Of responses whose items one input names."""
BYTES_MAX: Final = 64 * 1024 * 1024
"""Of an input with the items that it names in it."""
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


def items_named(body: bytes) -> dict[str, set[str]]:
    """The ids of the items that a request names, by the ids of their responses; none of a body that is no
    request. Raises InvalidRequest for more than may be looked up."""
    if _REFERENCE not in body:  # a pattern takes twenty times as long, where there are pictures
        return {}
    try:
        listed = _asked.decode(body).input
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    found: dict[str, set[str]] = {}
    for item in map(_named, listed) if isinstance(listed, list) else ():
        if item.response is not None:
            found.setdefault(item.response, set()).add(item.id)
    if len(found) > RESPONSES_MAX:
        raise InvalidRequest(
            f"'input' names items of {len(found)} responses; of {RESPONSES_MAX} at most, send the items or "
            "previous_response_id",
            param="input",
        )
    return found


def kept_items(response: str, wanted: Collection[str]) -> dict[str, msgspec.Raw]:
    """Those of a response, which is JSON, that have one of these ids."""
    named = ((_named(raw).id, raw) for raw in _output.decode(response).output)
    # A copy of its own: of a response with pictures nothing else is held.
    return {name: raw.copy() for name, raw in named if isinstance(name, str) and name in wanted}


def input_with(body: bytes, items: Mapping[str, msgspec.Raw]) -> tuple[list[msgspec.Raw], int]:
    """The request's input with these items, by their ids, in place of their names, and its bytes. Others stay
    as they are: who made them may know them. Raises BodyTooLarge: a name is short, and may stand there a
    thousand times."""
    listed = _asked.decode(body).input
    assert isinstance(listed, list)  # it names items
    said = [_in_place_of(raw, items) for raw in listed]
    size = sum(memoryview(raw).nbytes for raw in said)
    if size > BYTES_MAX:
        raise too_many(size)
    return said, size


def too_many(size: int) -> BodyTooLarge:
    """The error for items of so many bytes, or more."""
    return BodyTooLarge(
        f"'input' has {size} bytes with the items that it names, and may have {BYTES_MAX}; name each "
        "once, or send previous_response_id"
    )


def with_input(body: bytes, said: list[msgspec.Raw]) -> bytes:
    """The request with this input."""
    return _encode({**_members.decode(body), "input": said})


def _in_place_of(raw: msgspec.Raw, items: Mapping[str, msgspec.Raw]) -> msgspec.Raw:
    named = _named(raw)
    return raw if named.response is None else items.get(named.id, raw)


def _named(raw: msgspec.Raw) -> _Item:
    try:
        return _item.decode(raw)
    except msgspec.ValidationError:
        return _Item(type="")
