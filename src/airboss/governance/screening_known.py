"""Events of a screened stream that differ in one text alone, as nearly all of them do: what goes on of them.

An event that has been read says how the next of its kind is read, and what goes on of it.
"""

from __future__ import annotations

import msgspec

from airboss.governance.screening_stream import (
    CALLS,
    TEXTS,
    ChoiceScreen,
    Members,
    StreamedText,
    read_list,
    read_number,
    read_object,
    read_text,
)
from airboss.providers.known_text import MARK, MARKED, KnownText, around

_KNOWN = frozenset({"content", "reasoning_content", "text"})
_encode = msgspec.json.Encoder().encode


class KnownEvent(KnownText, frozen=True, kw_only=True):
    """`goes` are the bytes before and behind that text as they go on; `rest` are the members beside the
    choices that do, and `head` those of them that any event has. `silent`: they go on without text, too:
    one with an empty text is read anew, as its name is left out then."""

    choice: ChoiceScreen
    text: StreamedText
    head: Members
    rest: Members
    goes: tuple[bytes, bytes]
    silent: bool

    @property
    def over(self) -> bool:
        """Whether nothing more is read so: its choice has ended, or that text has."""
        return self.choice.ended or self.choice.text(self.name) is not self.text

    def saying(self, text: str) -> bytes:
        """The event that says this text."""
        return _encode(text).join(self.goes)


def learn(
    data: bytes, top: Members, choice: ChoiceScreen, *, head: Members, rest: Members
) -> KnownEvent | None:
    """What the event `data`, of the members `top`, tells of those like it. None where it says anything but
    one text of its only choice."""
    members = read_list(top.get("choices"))
    if len(members) != 1 or not _none(top.get("usage")):
        return None
    name = _only_text(members[0])
    comes = around(data, name) if name is not None else None
    text = choice.text(name) if name is not None else None
    if name is None or comes is None or text is None:
        return None
    said, silent = choice.saying(members[0], name, MARK)
    goes = _encode({**rest, "choices": [said]}).split(MARKED)
    if len(goes) != 2:
        return None
    return KnownEvent(
        choice=choice,
        text=text,
        index=read_number(members[0].get("index")),
        name=name,
        head=head,
        rest=rest,
        before=comes[0],
        behind=comes[1],
        goes=(goes[0], goes[1]),
        silent=silent,
    )


def _only_text(member: Members) -> str | None:
    """The name of the text that is all that a choice says; None where there is more to it."""
    delta = read_object(member.get("delta")) or {}
    if "message" in member or not _none(member.get("finish_reason")) or any(name in delta for name in CALLS):
        return None
    said = [(name, raw) for name, raw in delta.items() if name in TEXTS and not _none(raw)]
    said += [("text", raw) for name, raw in member.items() if name == "text" and not _none(raw)]
    if len(said) != 1 or said[0][0] not in _KNOWN or not read_text(said[0][1]):
        return None
    return said[0][0]


def _none(raw: msgspec.Raw | None) -> bool:
    return raw is None or bytes(raw) == b"null"
