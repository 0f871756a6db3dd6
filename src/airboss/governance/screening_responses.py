"""Screening an answer in OpenAI's Responses as its provider says it: whole, or its events as they come.

Every text channel is screened or removed. Texts that grow (`*.delta`) go through a screen each, and go on as
that releases them; arguments of calls are held and go on whole, because they are JSON; and what repeats a
text (`*.done`, parts, items, the last response) is screened as the whole that it is, which comes to the same.
Log probabilities, which spell the text once more, are emptied. An event that is not known keeps what is no
text. Events are numbered anew: some are left out, and what a screen held back has one of its own.

Where something is blocked, what came before it is all of the answer: `incomplete`, by a `content_filter`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from airboss.domain.errors import UpstreamFailed
from airboss.domain.record import PolicyFinding
from airboss.governance.findings import Findings
from airboss.governance.responses_begun import CUT, Begun
from airboss.governance.screening import ScreeningPolicy, screen_text
from airboss.governance.screening_chat import Passed
from airboss.governance.screening_json import Names, emptied, identifier, restore_json, screen_json
from airboss.governance.screening_stream import (
    HELD_BYTES_MAX,
    NULL,
    REMOVED,
    Members,
    StreamedText,
    mute,
    read_list,
    read_object,
    read_text,
)
from airboss.governance.tokens import Tokens
from airboss.providers.lenient import without_halves

CHANNELS_MAX = 1024
"""Texts that grow at the same time."""
ITEMS_MAX = 4096
"""Items of one output whose findings are kept."""

_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "response.output_text": ("content", "text"),
    "response.refusal": ("content", "refusal"),
    "response.reasoning_text": ("content", "text"),
    "response.reasoning_summary_text": ("summary", "text"),
    "response.custom_tool_call_input": ("input",),
    "response.code_interpreter_call_code": ("code",),
    "response.audio.transcript": ("content", "transcript"),
}
"""Events of texts, and where in an item the text then stands."""
_ARGUMENTS: Final = frozenset({"response.function_call_arguments", "response.mcp_call_arguments"})
"""Events of JSON that grows."""
_WHOLE: Final = frozenset(
    {
        "response.created", "response.queued", "response.in_progress", "response.completed",
        "response.incomplete", "response.failed", "response.output_item.added", "response.output_item.done",
        "response.content_part.added", "response.content_part.done", "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done", "response.output_text.annotation.added",
        "response.image_generation_call.partial_image",
    }
    | {f"{name}.done" for name in (*_TEXTS, *_ARGUMENTS)}
)  # fmt: skip
"""Events whose texts are whole."""
_LAST: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_PARTS_DONE: Final = frozenset({"response.content_part.done", "response.reasoning_summary_part.done"})
_GROWN: Final = frozenset({"text", "refusal", "arguments", "input", "code", "transcript"})
"""Members of parts and items that have grown when those are done."""
_GROWING: Final = frozenset(
    {"message", "reasoning", "function_call", "custom_tool_call", "mcp_call", "code_interpreter_call"}
)
_ECHOED: Final = frozenset({"tools", "text", "tool_choice", "prompt", "reasoning", "metadata"})
"""What a response repeats of its request: names there are the client's own."""
_INDICES: Final = ("output_index", "content_index", "summary_index")
_PLACE: Final = ("item_id", *_INDICES)
_NAMES: Final = frozenset({"type", "item_id"})
"""Members of events that are no text."""

_SPARED: Final[frozenset[Names]] = frozenset(
    {
        ("user",), ("safety_identifier",), ("prompt_cache_key",), ("previous_response_id",),
        ("metadata", "user_id"), ("metadata", "session_id"),
    }
)  # fmt: skip
"""What the client said itself."""
_NAMED: Final[frozenset[Names]] = frozenset(
    {
        ("id",), ("object",), ("model",), ("service_tier",), ("output", "type"), ("output", "id"),
        ("output", "call_id"),
    }
)  # fmt: skip
"""What identifies an answer and what is in it, and is no text."""
_TYPE = re.compile(r"[a-z_.]{1,80}")
_NAME = re.compile(r"[a-z_]{1,40}(?:64)?")
_ID = re.compile(rb'"[A-Za-z0-9_.:/=+-]{0,512}"')
_INDEX = re.compile(rb"[0-9]{1,9}")
_WORD = re.compile(rb'"[a-z_]{1,40}"')
_EMPTY_LIST = msgspec.Raw(b"[]")
_encode = msgspec.json.Encoder().encode


class _Channel:
    """A text that grows. `last` is its last event, without the text; `arguments` is JSON that is held."""

    def __init__(self, text: StreamedText | None, index: bytes, at: tuple[str, ...]) -> None:
        self.text = text
        self.arguments: list[str] = []
        self.index = index
        self.at = at
        self.last: Members = {}


class _Blocked(Exception):
    """What comes next holds what the policy blocks. Never leaves this module."""

    def __init__(self, found: Findings | None = None) -> None:
        super().__init__()
        self.found = found
        """What was found, where nothing else keeps it."""


class ResponsesScreen:
    """Screens one attempt's answer: `whole` once, or `event` for each event and `end` after the last. Raises
    UpstreamFailed for more than can be held.

    `blocked` says that the answer was cut for what it held: nothing more is to come.
    """

    def __init__(self, policy: ScreeningPolicy, tokens: Tokens | None = None) -> None:
        self._policy = policy
        self._tokens = tokens
        self._restores = bool(tokens is not None and tokens.originals)
        self._open: dict[tuple[bytes, ...], _Channel] = {}
        self._held = 0
        self._number = 0
        self._said: dict[bytes, Findings] = {}
        """What was found in texts that have grown, by the place of their item."""
        self._done: dict[bytes, Findings] = {}
        """What was found in items, which have those texts once more."""
        self._all: Findings | None = None
        """What was found in all of the output."""
        self._cut_by: Findings | None = None
        """What was found where the answer was cut."""
        self._begun = Begun() if "block" in policy.actions.values() else None
        self.blocked = False

    @property
    def findings(self) -> tuple[PolicyFinding, ...]:
        """What was found up to now, each value once."""
        found = Findings(self._policy)
        parts = [self._all] if self._all is not None else list(self._done.values())
        if self._all is None:
            parts += [each for index, each in self._said.items() if index not in self._done]
            for channel in self._open.values():
                if channel.text is not None and channel.index not in self._done:
                    found.add(channel.text.screen.findings, ("response", "output", *channel.at))
        if self._cut_by is not None and all(each is not self._cut_by for each in parts):
            parts.append(self._cut_by)
        for each in parts:
            found.merge(each)
        return found.listed()

    def whole(self, body: bytes) -> Passed:
        """A whole response, valid JSON but for halves of characters."""
        if b"\\u" in body:
            body = without_halves(body)
        try:
            return self._passed(bytes(self._response(msgspec.Raw(body))))
        except _Blocked as cut:
            self.blocked, self._cut_by = True, cut.found
            return self._passed(_encode(self._prefix(_clean(msgspec.Raw(body)) or {})))

    def _prefix(self, members: Members) -> Members:
        """A whole response of which something is blocked: its output up to that."""
        output, _ = self._up_to_blocked("output", read_list(members.pop("output", None)), self._item_prefix)
        try:
            head = self._object(members, Findings(self._policy))
        except _Blocked:
            named = {name: members.get(name, NULL) for name in ("id", "object", "model")}
            head = {name: self._id(raw) for name, raw in named.items() if _ID.fullmatch(bytes(raw))}
        return head | CUT | {"output": msgspec.Raw(_encode(output))}

    def _up_to_blocked(
        self, name: str, values: list[Members], prefix: Callable[[Members], list[msgspec.Raw]]
    ) -> tuple[list[msgspec.Raw], bool]:
        """Items or parts, screened as `name`, up to the first that is blocked, and of that its `prefix`."""
        passed: list[msgspec.Raw] = []
        for each in values:
            try:
                passed.append(self._member(name, msgspec.Raw(_encode(each)), Findings(self._policy)))
            except _Blocked:
                return [*passed, *prefix(each)], True
        return passed, False

    def _id(self, raw: msgspec.Raw) -> msgspec.Raw:
        return msgspec.Raw(identifier(self._policy, bytes(raw)))

    def _item_prefix(self, item: Members) -> list[msgspec.Raw]:
        """What of an item comes before what is blocked: of calls nothing, whose beginning is of no use."""
        kept = {name: item[name] for name in ("type", "role") if _WORD.fullmatch(bytes(item.get(name, NULL)))}
        if read_text(kept.get("type")) not in {"message", "reasoning"}:
            return []
        if _ID.fullmatch(bytes(item.get("id", NULL))):
            kept["id"] = self._id(item["id"])
        for name in ("summary", "content"):
            if name not in item:
                continue
            # Not as "output": what identifies an item is no text, but what a part calls so may be.
            parts, blocked = self._up_to_blocked("part", read_list(item[name]), self._part_prefix)
            kept[name] = msgspec.Raw(_encode(parts))
            if blocked:
                break
        return [msgspec.Raw(_encode(kept | {"status": CUT["status"]}))]

    def _part_prefix(self, part: Members) -> list[msgspec.Raw]:
        texts = {name: text for name in _GROWN if (text := read_text(part.get(name))) is not None}
        if not texts or not _WORD.fullmatch(bytes(part.get("type", NULL))):
            return []
        begun = {name: screen_text(self._policy, text, self._tokens).text for name, text in texts.items()}
        listed = {"annotations": _EMPTY_LIST} if "annotations" in part else {}
        return [msgspec.Raw(_encode({"type": part["type"], **begun, **listed}))]

    def _passed(self, data: bytes) -> Passed:
        if self._tokens is None or not self._restores:
            return Passed(data, data)
        return Passed(data, restore_json(self._tokens, data))

    # -- a stream

    def event(self, data: bytes) -> list[Passed]:
        """The data of an event: the data of the events that take its place."""
        return self._until_blocked(self._in_place_of(without_halves(data) if b"\\u" in data else data))

    def end(self) -> list[Passed]:
        """The stream is over without a last word: what is still held."""
        return self._until_blocked(each for key in list(self._open) for each in self._flush(key))

    def _until_blocked(self, passed: Iterator[Passed]) -> list[Passed]:
        out: list[Passed] = []
        if self.blocked:
            return out
        try:
            out.extend(passed)  # as far as it comes
        except _Blocked as cut:
            assert self._begun is not None  # of a policy that blocks
            self.blocked, self._cut_by = True, cut.found
            out.append(self._event(self._begun.cut(numbered=self._number > 0)))
        return out

    def _in_place_of(self, data: bytes) -> Iterator[Passed]:
        members = read_object(msgspec.Raw(data))
        type_ = read_text(members.get("type")) if members is not None else None
        if members is None or type_ is None or _TYPE.fullmatch(type_) is None:
            return
        # What fills up the text's length is told of another one's.
        members = {n: raw for n, raw in members.items() if _NAME.fullmatch(n) and n != "obfuscation"}
        if _ID.fullmatch(bytes(members.get("item_id", b""))) is None:
            members.pop("item_id", None)  # it would pass unread
        else:
            members["item_id"] = self._id(members["item_id"])
        for name in _INDICES:
            if name in members and _INDEX.fullmatch(bytes(members[name])) is None:
                del members[name]
        if read_text(members.get("delta")) is not None:
            yield from self._delta(type_.removesuffix(".delta"), members)
            return
        for key in self._ended(type_, members):
            yield from self._flush(key)
        if type_ in _WHOLE:
            members = self._screened(type_, members)
        else:
            members = {
                n: raw for n, raw in members.items() if n in _NAMES or (n not in REMOVED and mute(raw))
            }
        yield self._event(members)

    def _event(self, members: Members, given: Members | None = None) -> Passed:
        """An event, numbered; `given` is what the client gets, where that is known already."""
        if "sequence_number" in members:
            number = msgspec.Raw(b"%d" % self._number)
            self._number += 1
            members = members | {"sequence_number": number}
            given = None if given is None else given | {"sequence_number": number}
        if self._begun is not None:
            self._begun.add(members)
        recorded = _encode(members)
        return self._passed(recorded) if given is None else Passed(recorded, _encode(given))

    def _delta(self, kind: str, members: Members) -> Iterator[Passed]:
        """A piece of a text; nothing of one that is not known."""
        at = _TEXTS.get(kind)
        if at is None and kind not in _ARGUMENTS:
            return
        key = _key(kind, members)
        channel = self._open.get(key)
        if channel is None:
            if len(self._open) >= CHANNELS_MAX:
                raise UpstreamFailed(f"the upstream says more than {CHANNELS_MAX} texts at the same time")
            text = None if at is None else StreamedText(self._policy, self._tokens)
            channel = self._open[key] = _Channel(text, key[2], at or ())
        piece = read_text(members.pop("delta")) or ""
        channel.last = {
            name: _EMPTY_LIST if name in REMOVED else raw
            for name, raw in members.items()
            if name in _NAMES or name in REMOVED or mute(raw)
        }
        if channel.text is not None:
            yield from self._piece(channel, channel.text.feed(piece))
            return
        self._held += len(piece)
        if self._held > HELD_BYTES_MAX:
            raise UpstreamFailed(
                f"the arguments of the upstream's calls are longer than {HELD_BYTES_MAX} characters, which a "
                "policy has to read whole"
            )
        channel.arguments.append(piece)

    def _piece(self, channel: _Channel, said: tuple[str, str]) -> Iterator[Passed]:
        if any(said):
            both = [channel.last | {"delta": msgspec.Raw(_encode(text))} for text in said]
            yield self._event(both[0], both[1])
        if channel.text is not None and channel.text.screen.blocked:
            raise _Blocked

    def _ended(self, type_: str, members: Members) -> list[tuple[bytes, ...]]:
        """The keys of the texts that an event ends."""
        if type_ in _LAST:
            return list(self._open)
        if type_ in _PARTS_DONE or type_ == "response.output_item.done":
            index = bytes(members.get("output_index", b""))
            return [key for key in self._open if key[2] == index]
        key = _key(type_.removesuffix(".done"), members)
        return [key] if type_.endswith(".done") and key in self._open else []

    def _flush(self, key: tuple[bytes, ...]) -> Iterator[Passed]:
        """The rest of a text that has ended."""
        channel = self._open.pop(key)
        found = self._of_item(self._said, channel.index)
        if channel.text is not None:
            said = channel.text.finish()
            found.add(channel.text.screen.findings, ("response", "output", *channel.at))
            yield from self._piece(channel, said)
            return
        joined = "".join(channel.arguments)
        self._held -= len(joined)
        item = msgspec.Raw(_encode({"arguments": joined}))
        passed = self._passed(bytes(self._member("output", item, found)))
        recorded, given = (msgspec.json.decode(each)["arguments"] for each in (passed.recorded, passed.given))
        yield from self._piece(channel, (recorded, given))

    def _screened(self, type_: str, members: Members) -> Members:
        """An event whose texts are whole."""
        screened: Members = {}
        for name, raw in members.items():
            if name in REMOVED:
                screened[name] = _EMPTY_LIST
            elif name in _NAMES or mute(raw):
                screened[name] = raw
            elif name == "response":
                screened[name] = self._response(raw, begun=type_ not in _LAST)
            else:
                found = Findings(self._policy)
                if type_ == "response.output_item.done" and name == "item":
                    found = self._of_item(self._done, bytes(members.get("output_index", b"")), anew=True)
                value = _without(raw, added=type_.endswith(".added"))
                # Under its name, as it stands in its item: what is done about a text depends on that.
                under = "output" if name == "item" else name
                screened[name] = self._member(under, value, found)
        return screened

    def _of_item(self, items: dict[bytes, Findings], index: bytes, *, anew: bool = False) -> Findings:
        """The findings of an item, by its place; `anew`: not with those of before."""
        if index not in items and len(items) >= ITEMS_MAX:
            raise UpstreamFailed(f"the upstream says more than {ITEMS_MAX} items in one answer")
        if anew or index not in items:
            items[index] = Findings(self._policy)
        return items[index]

    def _member(self, name: str, raw: msgspec.Raw, found: Findings) -> msgspec.Raw:
        """The value of a member, screened."""
        return next(iter(self._object({name: raw}, found).values()))

    def _object(self, members: Members, found: Findings) -> Members:
        screened = screen_json(
            self._policy,
            _encode(members),
            where="response",
            findings=found,
            tokens=self._tokens,
            spared=_SPARED,
            opaque=_NAMED,
        )
        if screened.blocked:
            raise _Blocked(found)
        return read_object(msgspec.Raw(screened.data)) or {}

    def _response(self, raw: msgspec.Raw, *, begun: bool = False) -> msgspec.Raw:
        """A response, screened; one that has only `begun` has no texts yet, and counts for nothing."""
        members = _clean(raw)
        if members is None:
            return NULL
        found, output = Findings(self._policy), members.pop("output", _EMPTY_LIST)
        if begun:
            output = msgspec.Raw(emptied(bytes(output), _GROWN, by=b'""'))
        elif read_list(output) or not (self._done or self._said):
            self._all = found
        screened = self._member("output", output, found)
        return msgspec.Raw(_encode(self._object(members, Findings(self._policy)) | {"output": screened}))


def _clean(raw: msgspec.Raw) -> Members | None:
    """The members of a response without what spells its texts once more; None of what is no object."""
    members = read_object(raw)
    if members is None:
        return None
    for name, each in members.items():
        if name in REMOVED:
            # A number is how many of them were asked for.
            members[name] = each if bytes(each).isdigit() else _EMPTY_LIST
        elif name not in _ECHOED:
            members[name] = msgspec.Raw(emptied(bytes(each), REMOVED, by=b"[]"))
    return members


def _key(kind: str, members: Members) -> tuple[bytes, ...]:
    """What tells a text from others: its kind, and its place in the output. The item's id tells where nothing
    else does: some servers have another with each event."""
    item, *place = (bytes(members.get(name, b"")) for name in _PLACE)
    return (kind.encode(), b"" if place[0] else item, *place)


def _without(raw: msgspec.Raw, *, added: bool) -> msgspec.Raw:
    """A part or an item without what spells its text once more; of one that is only `added`, without the
    beginning of its text, which nobody could screen alone."""
    data = emptied(bytes(raw), REMOVED, by=b"[]")
    members = read_object(raw) or {}
    if added and (read_text(members.get("type")) in _GROWING or _GROWN & members.keys()):
        data = emptied(data, _GROWN, by=b'""')
    return msgspec.Raw(data)
