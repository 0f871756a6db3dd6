"""One choice of a streamed answer, screened as its pieces come.

Texts go on as soon as their screens release them. Tool calls are put together and go on whole, at the
choice's end, because their arguments are JSON: escapes may hide a value, and its beginning is of no use.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from airboss.governance.findings import Findings
from airboss.governance.screening import Screen, ScreeningPolicy
from airboss.governance.screening_json import restore_json, screen_json
from airboss.governance.tokens import Restorer, Tokens
from airboss.providers.lenient import CallNumbers, Pieces

HELD_BYTES_MAX = 4 << 20
"""Of one choice's tool calls; a choice with more is blocked."""

THOUGHTS = ("reasoning_content", "reasoning")
TEXTS = ("content", *THOUGHTS, "refusal")
"""The texts of a message."""

REMOVED = frozenset(
    {
        "logprobs", "prompt_logprobs", "top_logprobs", "completion_probabilities", "probs",
        "token_ids", "prompt_token_ids", "tokens",
    }
)  # fmt: skip
"""Members of an answer that spell its text once more; they become null."""

NULL = msgspec.Raw(b"null")
BLOCKED = msgspec.Raw(b'"content_filter"')
Members = dict[str, msgspec.Raw]
"""The members of a JSON object, unread."""
Pairs = list[tuple[Members, Members]]
"""Choices as an event has them, each as it is recorded and as the client is given it."""

CALLS = ("tool_calls", "function_call")
_OURS = REMOVED | {"delta", "message", "text"}
_IDENTIFIERS = ("id", "type")
_DEPTH_MAX = 8
_WORD = re.compile(rb'"[A-Za-z_]{1,32}"')
_NAME = re.compile(r"[A-Za-z_.-]{1,64}[0-9]{0,3}")
_IMAGE = (
    rb'\{"type":"image_url",(?:"index":\d{1,9},)?"image_url":'
    rb'\{"url":"data:image/[a-z.+-]{1,32};base64,[A-Za-z0-9+/=]*+"\}(?:,"index":\d{1,9})?\}'
)
_IMAGES = re.compile(rb"\[%s(?:,%s)*\]" % (_IMAGE, _IMAGE))
_members = msgspec.json.Decoder(Members)
_several = msgspec.json.Decoder(list[Members])
_int = msgspec.json.Decoder(int)
_text = msgspec.json.Decoder(str | None)
_encode = msgspec.json.Encoder(enc_hook=str).encode


class StreamedText:
    """One text, as it comes. `screen` knows what was found."""

    __slots__ = ("_restorer", "screen")

    def __init__(self, policy: ScreeningPolicy, tokens: Tokens | None) -> None:
        self.screen = Screen(policy, tokens)
        self._restorer = Restorer(tokens) if tokens is not None and tokens.originals else None

    def feed(self, text: str) -> tuple[str, str]:
        """What may be recorded, and what the client may have."""
        out = self.screen.feed(text)
        return out, out if self._restorer is None else self._restorer.feed(out)

    def finish(self) -> tuple[str, str]:
        """The rest of both."""
        out = self.screen.finish()
        if self._restorer is None:
            return out, out
        return out, self._restorer.feed(out) + self._restorer.finish()

    def ahead(self) -> tuple[str, str] | None:
        """What `finish` would give now, None if that would block; the text may go on."""
        other = copy.copy(self)
        other.screen, other._restorer = self.screen.copied(), copy.copy(self._restorer)
        rest = other.finish()
        return None if other.screen.blocked else rest


class ChoiceScreen:
    """Screens one choice. Not for several threads.

    `ended`: nothing of it is to come any more. `blocked`: because of what it held.
    """

    def __init__(
        self, index: int, policy: ScreeningPolicy, tokens: Tokens | None, *, in_turn: bool = False
    ) -> None:
        self._index = msgspec.Raw(b"%d" % index)
        self._policy = policy
        self._tokens = tokens
        self._texts: dict[str, StreamedText] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._numbers = CallNumbers()
        self._legacy: dict[str, Any] = {}
        self._held = 0
        self._found = Findings(policy)
        self._chat = True
        self._thinks = in_turn
        """Whether the end of the thoughts goes out before the first words, which have not come yet."""
        self._early: dict[str, tuple[str, str]] = {}
        """What went out so, of it and of what is screened since."""
        self.ended = False
        self.blocked = False

    def tell(self, findings: Findings) -> None:
        """Add what was found up to now."""
        findings.merge(self._found)
        for name, text in self._texts.items():
            at = ("text",) if name == "text" else ("message", name)
            findings.add(text.screen.findings, ("response", "choices", *at))

    def take(self, member: Members) -> tuple[Pairs, Pairs]:
        """The choice as one event has it: what goes out before that event, and what in its place."""
        delta = read_object(member.get("delta", member.get("message"))) or {}
        said: dict[str, tuple[str, str]] = {}
        if "text" in member:
            self._chat = False
            self._feed("text", member["text"], said)
        for name in TEXTS:
            if name in delta:
                self._feed(name, delta[name], said)
        if self._thinks and any(name in said for name in ("content", "refusal")):
            self._end_thoughts(said)
        self._hold_calls(delta)
        if self.blocked:
            return self.cut(said)
        kept, kept_delta = _kept(member, delta)
        if not read_text(member.get("finish_reason")):
            speaks = bool(kept_delta) or any(text for text, _ in said.values())
            return [], self._given(said, kept, kept_delta) if speaks else []
        rest = self.rest(said)
        if self.blocked:
            return rest, self._given({}, {"finish_reason": BLOCKED})
        reason = member["finish_reason"]
        kept["finish_reason"] = reason if _WORD.fullmatch(bytes(reason)) else msgspec.Raw(b'"stop"')
        return rest, self._given({}, kept)

    def text(self, name: str) -> StreamedText | None:
        """One of its texts, of which something has come, and nothing early."""
        return None if name in self._early else self._texts.get(name)

    def saying(self, member: Members, name: str, text: str) -> tuple[Members, bool]:
        """The choice as an event that says this text, and is `member` otherwise, goes on; whether it does
        with an empty one."""
        delta = read_object(member.get("delta")) or {}
        kept, kept_delta = _kept(member, delta)
        (given, _), *_ = self._given({name: (text, text)}, kept, kept_delta)
        return given, bool(kept_delta)

    def rest(self, said: dict[str, tuple[str, str]] | None = None) -> Pairs:
        """The choice is complete: what is still held of it, behind what is `said` already."""
        self.ended = True
        said = {} if said is None else said
        for name, text in self._texts.items():
            self._finish(name, text, said)
        calls = ({}, {}) if self.blocked else self._screened_calls()
        return self._given(said, {}, calls=calls) if any(map(any, said.values())) or calls[0] else []

    def cut(self, said: dict[str, tuple[str, str]]) -> tuple[Pairs, Pairs]:
        """The choice as it ends where it was blocked, as by `take`."""
        self.ended = True
        begun = self._given(said, {}) if any(map(any, said.values())) else []
        return begun, self._given({}, {"finish_reason": BLOCKED})

    def _end_thoughts(self, said: dict[str, tuple[str, str]]) -> None:
        """Words have begun: what is held of the thoughts goes before them, as if these were over, and as they
        are but for servers that have both take turns. Held back to the choice's end it would come behind the
        words, and dialects in which they come in turn would make two answers of one. What comes of such
        thoughts still is read on as the same text; of a value that begins in what has gone out, its rest is
        replaced."""
        self._thinks = False
        for name in THOUGHTS:
            if (text := self._texts.get(name)) is None:
                continue
            ahead = text.ahead()
            if ahead is None:
                self._finish(name, text, said)
                continue
            _add(said, name, ahead)
            self._early[name] = ahead

    def _finish(self, name: str, text: StreamedText, said: dict[str, tuple[str, str]]) -> None:
        """Add the rest of a text to what is `said` of it."""
        _add(said, name, self._new(name, text.finish()))
        self.blocked = self.blocked or text.screen.blocked

    def _new(self, name: str, out: tuple[str, str]) -> tuple[str, str]:
        """What of the next of a text has not gone out early."""
        early = self._early.get(name)
        if early is None:
            return out
        (left, new), (left_for_client, new_for_client) = map(_beyond, early, out)
        self._early[name] = (left, left_for_client)
        return new, new_for_client

    def _feed(self, name: str, raw: msgspec.Raw, said: dict[str, tuple[str, str]]) -> None:
        text = read_text(raw)
        if text is None:  # in parts, as some servers send it
            text = "".join([read_text(part.get("text")) or "" for part in read_list(raw)])
        if not text or self.blocked:
            return
        stream = self._texts.get(name)
        if stream is None:
            stream = self._texts[name] = StreamedText(self._policy, self._tokens)
        said[name] = self._new(name, stream.feed(text))
        self.blocked = stream.screen.blocked

    def _hold_calls(self, delta: Members) -> None:
        self._held += sum(len(bytes(delta[name])) for name in CALLS if name in delta)
        if self._held > HELD_BYTES_MAX:
            self._calls, self._legacy = {}, {}
            self.blocked = bool(self._policy.acting)
            return
        for piece in read_list(delta.get("tool_calls")):
            number = read_number(piece.get("index"), -1)
            function = read_object(piece.get("function")) or {}
            index = self._numbers.of(
                number if number >= 0 else None,
                read_text(piece.get("id")),
                read_text(function.get("name")),
                read_text(function.get("arguments")),
            )
            if index is None:  # more calls than are told apart
                self.blocked = bool(self._policy.acting)
                continue
            call = self._calls.setdefault(index, {"index": index})
            _join(call, piece, _DEPTH_MAX)
            said = call.get("function")
            if isinstance(said, dict) and (named := self._numbers.name(index)):
                said["name"] = named
        legacy = read_object(delta.get("function_call"))
        if legacy:
            _join(self._legacy, legacy, _DEPTH_MAX)

    def _screened_calls(self) -> tuple[Members, Members]:
        """The members of a delta that hold the tool calls, screened: for the record and for the client."""
        held: dict[str, Any] = {}
        if self._calls:
            held["tool_calls"] = [call for _, call in sorted(self._calls.items())]
        if self._legacy:
            held["function_call"] = self._legacy
        self._calls, self._legacy = {}, {}
        if not held:
            return {}, {}
        screened = screen_json(
            self._policy,
            _encode(held),
            where="response.choices.message",
            findings=self._found,
            tokens=self._tokens,
        )
        if screened.blocked:
            self.blocked = True
            return {}, {}
        recorded = _members.decode(screened.data)
        if self._tokens is None:
            return recorded, recorded
        return recorded, _members.decode(restore_json(self._tokens, screened.data))

    def _given(
        self,
        said: Mapping[str, tuple[str, str]],
        kept: Members,
        delta: Members | None = None,
        *,
        calls: tuple[Members, Members] = ({}, {}),
    ) -> Pairs:
        both = []
        delta = delta or {}
        for which in (0, 1):
            texts = {
                name: msgspec.Raw(_encode(text[which])) for name, text in said.items() if text[which] or delta
            }
            choice: Members = {"index": self._index}
            if self._chat:
                choice["delta"] = msgspec.Raw(_encode({**delta, **texts, **calls[which]}))
            else:
                choice["text"] = texts.get("text", msgspec.Raw(b'""'))
            both.append({**choice, "finish_reason": NULL, **kept, "index": self._index})
        return [(both[0], both[1])]


def _add(said: dict[str, tuple[str, str]], name: str, rest: tuple[str, str]) -> None:
    before = said.get(name, ("", ""))
    said[name] = (before[0] + rest[0], before[1] + rest[1])


def _beyond(early: str, text: str) -> tuple[str, str]:
    """What is left of what went out early, and what of the text after it was not in it."""
    pairs = zip(early, text, strict=False)
    same = next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(early), len(text)))
    return (early[same:], "") if same == len(text) else ("", text[same:])


def _kept(member: Members, delta: Members) -> tuple[Members, Members]:
    """What goes on of a choice and of its delta besides its texts and calls."""
    kept = {name: raw for name, raw in member.items() if name not in _OURS and mute(raw) and harmless(name)}
    return kept, {name: raw for name, raw in delta.items() if _passes(name, raw)}


def _passes(name: str, raw: msgspec.Raw) -> bool:
    """Whether a member of a delta that is no text of ours may pass."""
    if name == "role":
        return _WORD.fullmatch(bytes(raw)) is not None
    if name == "images":  # pictures, which hold no text that is read
        return _IMAGES.fullmatch(bytes(raw).translate(None, b" ")) is not None
    return name not in TEXTS and name not in CALLS and name not in REMOVED and mute(raw) and harmless(name)


def _join(into: dict[str, Any], piece: Members, depth: int) -> None:
    """Add a piece of a tool call: texts are joined, identifiers come once."""
    for name, raw in piece.items():
        first = bytes(raw)[:1]
        if first == b'"':
            text = read_text(raw) or ""
            before = into.get(name)
            if name in _IDENTIFIERS:
                into[name] = before or text
            elif isinstance(before, Pieces):
                before.pieces.append(text)
            else:
                into[name] = Pieces(text)
        elif first == b"{" and depth > 0:
            inner = into.setdefault(name, {})
            if isinstance(inner, dict):
                _join(inner, read_object(raw) or {}, depth - 1)
        elif name != "index" and mute(raw):
            into.setdefault(name, msgspec.Raw(raw))


# -- reading what may be anything


def read_object(raw: msgspec.Raw | None) -> Members | None:
    """The members of an object; None of anything else."""
    try:
        return None if raw is None else _members.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def read_list(raw: msgspec.Raw | None) -> list[Members]:
    """The objects of a list of objects; none of anything else."""
    try:
        return [] if raw is None else _several.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return []


def read_text(raw: msgspec.Raw | None) -> str | None:
    """The text of a string; None of anything else."""
    try:
        return None if raw is None else _text.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def read_number(raw: msgspec.Raw | None, otherwise: int = 0) -> int:
    """A whole number; `otherwise` for anything else."""
    try:
        return otherwise if raw is None else _int.decode(raw)
    except msgspec.DecodeError:
        return otherwise


def harmless(name: str) -> bool:
    """Whether a member may go by a name that we do not know."""
    return _NAME.fullmatch(name) is not None


def mute(raw: msgspec.Raw) -> bool:
    """Whether a value holds no text."""
    return b'"' not in bytes(raw)
