"""A local engine's stream put together as the whole answer that the engine itself would have given. Pure.

llama.cpp finds out that a client has gone when it writes to it. A whole answer it writes once, at the end, so
Airboss asks it for a stream even where the caller wants the answer whole.
"""

from __future__ import annotations

from typing import Any

import msgspec

from airboss.domain.errors import UpstreamFailed
from airboss.domain.request import Operation
from airboss.providers.usage import Usage, UsageSum

Raw = msgspec.Raw
NULL = Raw(b"null")
CHOICES_MAX = 1024
"""Answers to one request: prompts times `n`."""
CALLS_MAX = 1024
"""Tool calls in one answer."""


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    id: str | None = None
    type: str = "function"
    function: _Function = msgspec.field(default_factory=_Function)


class _Delta(msgspec.Struct):
    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Logprobs(msgspec.Struct):
    content: list[Raw] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    text: str | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


VERBOSE = b'"__verbose":'
"""In an event that tells what the engine knows besides. Inside of a text the last quote would have a
backslash before it."""


class _Verbose(msgspec.Struct):
    stop_type: str = ""
    stopping_word: str = ""


class _Piece(msgspec.Struct):
    """One event. Members that pass through keep their bytes: a number written anew may look another."""

    choices: list[_Choice] | None = None
    created: Raw = NULL
    model: Raw = NULL
    system_fingerprint: Raw = NULL
    id: Raw = NULL
    usage: Raw = NULL
    prompt_progress: Raw = NULL
    timings: Raw = NULL
    error: Raw = NULL
    verbose: _Verbose | None = msgspec.field(default=None, name="__verbose")


_members = msgspec.json.Decoder(dict[str, Raw])
_choices = msgspec.json.Decoder(list[dict[str, Raw]])
_verbose = msgspec.json.Decoder(_Verbose)
_piece = msgspec.json.Decoder(_Piece)
_usage = msgspec.json.Decoder(Usage)
_encode = msgspec.json.Encoder().encode


class _Answered:
    """One answer as far as it has come."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.role = "assistant"
        self.calls: dict[int, tuple[_Call, list[str]]] = {}
        self.logprobs: list[Raw] = []
        self.finish_reason: str | None = None
        self.stopped_at = ""
        """The stop sequence that ended it."""


class EngineAnswer:
    """Takes the events of a stream in order; `whole` is the answer once the engine has said `[DONE]`.

    `n` is the number of answers that were asked for of each prompt.
    """

    def __init__(self, operation: Operation, *, n: int) -> None:
        self.chat = operation == "chat"
        self._answered: dict[int, _Answered] = {}
        self._first: _Piece | None = None
        self._usage_as_sent = self._timings = NULL
        self._usage = UsageSum(n)
        self.says_something = False
        """Whether any answer has begun: its first token is there."""
        self.progress = b""
        """What the engine has told of the prompt, last."""

    def add(self, payload: bytes) -> bytes | None:
        """Add an event's data. Returns the error object's event if it is one, else None. Raises
        UpstreamFailed for what no engine of ours sends."""
        try:
            piece = _piece.decode(payload)
            if piece.usage != NULL:
                self._usage.add(_usage.decode(piece.usage))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UpstreamFailed(f"the engine's stream has an event that cannot be read: {error}") from None
        if piece.error != NULL:
            return payload
        if piece.prompt_progress != NULL:
            self.progress = payload
        if self._first is None:
            # What is kept of it must not keep the piece that it was cut from.
            self._first = _Piece(
                created=_own(piece.created),
                model=_own(piece.model),
                system_fingerprint=_own(piece.system_fingerprint),
                id=_own(piece.id),
            )
        if piece.usage != NULL and self._usage.reports == 1:
            # Of several answers the engine's own whole answer has one's timings, the first's.
            self._usage_as_sent, self._timings = _own(piece.usage), _own(piece.timings)
        for choice in piece.choices or ():
            self._add_choice(choice)
            if piece.verbose is not None and piece.verbose.stop_type == "word":
                self._answered[choice.index].stopped_at = piece.verbose.stopping_word
        return None

    def _add_choice(self, choice: _Choice) -> None:
        into = self._answered.get(choice.index)
        if into is None:
            if len(self._answered) >= CHOICES_MAX:
                raise UpstreamFailed(f"the engine sent more than {CHOICES_MAX} answers to one request")
            into = self._answered[choice.index] = _Answered()
        if choice.finish_reason is not None:
            into.finish_reason = choice.finish_reason
        if choice.text:
            self.says_something = True
            into.text.append(choice.text)
        if choice.logprobs is not None and choice.logprobs.content:
            into.logprobs += map(_own, choice.logprobs.content)
        if choice.delta is not None:
            self._add_delta(into, choice.delta)

    def _add_delta(self, into: _Answered, said: _Delta) -> None:
        into.role = said.role or into.role
        if said.content or said.reasoning_content or said.refusal or said.tool_calls:
            self.says_something = True
        if said.content:
            into.text.append(said.content)
        if said.reasoning_content:
            into.reasoning.append(said.reasoning_content)
        if said.refusal:
            into.refusal.append(said.refusal)
        for call in said.tool_calls or ():
            if call.index not in into.calls:
                if len(into.calls) >= CALLS_MAX:
                    raise UpstreamFailed(f"the engine sent more than {CALLS_MAX} tool calls in one answer")
                into.calls[call.index] = (call, [])
            kept, arguments = into.calls[call.index]
            kept.id = kept.id or call.id
            kept.function.name = kept.function.name or call.function.name
            if call.function.arguments:
                arguments.append(call.function.arguments)

    @property
    def open(self) -> list[tuple[int, int]]:
        """The answers that have not ended: their numbers, and in how many pieces they have come, which are as
        many tokens."""
        return [
            (index, len(each.text) + len(each.reasoning) + sum(len(call) for _, call in each.calls.values()))
            for index, each in self._answered.items()
            if each.finish_reason is None
        ]

    @property
    def unfinished(self) -> str | None:
        """What is missing of a whole answer, in words; None if nothing is."""
        if not self._answered:
            return "before its first token"
        if all(each.finish_reason for each in self._answered.values()):
            return None
        chars = sum(len(part) for each in self._answered.values() for part in each.text)
        return f"after {chars} characters"

    def produced(self) -> tuple[str, str]:
        """What has been said and what has been thought so far."""
        said = [part for each in self._answered.values() for part in (*each.text, *each.refusal)]
        said += [part for each in self._answered.values() for _, call in each.calls.values() for part in call]
        return "".join(said), "".join(part for each in self._answered.values() for part in each.reasoning)

    @property
    def usage_short(self) -> bool:
        """Whether fewer answers reported their usage than there are answers."""
        return self._usage.reports < len(self._answered)

    def whole(self) -> bytes:
        """The answer as JSON, its members in the engine's order."""
        first = self._first or _Piece()
        make = self._message if self.chat else self._text
        value: dict[str, Any] = {
            "choices": [make(index, each) for index, each in sorted(self._answered.items())],
            "created": first.created,
            "model": first.model,
        }
        if first.system_fingerprint != NULL:
            value["system_fingerprint"] = first.system_fingerprint
        value["object"] = "chat.completion" if self.chat else "text_completion"
        if self._usage.reports == 1:
            value["usage"] = self._usage_as_sent
        elif self._usage.reports:
            value["usage"] = self._summed()
        value["id"] = first.id
        if self._timings != NULL:
            value["timings"] = self._timings
        return _encode(value)

    def _summed(self) -> dict[str, Any]:
        total = self._usage.total() or Usage(prompt_tokens=0)
        output = total.completion_tokens or 0
        return {
            "completion_tokens": output,
            "prompt_tokens": total.prompt_tokens,
            "total_tokens": (total.prompt_tokens or 0) + output,
            "prompt_tokens_details": {"cached_tokens": total.cached},
        }

    @staticmethod
    def _message(index: int, answered: _Answered) -> dict[str, Any]:
        text = "".join(answered.text)
        message: dict[str, Any] = {"role": answered.role, "content": text}
        if answered.reasoning:
            message["reasoning_content"] = "".join(answered.reasoning)
        if answered.refusal:
            message["refusal"] = "".join(answered.refusal)
        if answered.calls:
            message["tool_calls"] = [
                {
                    "type": call.type,
                    "function": {"name": call.function.name or "", "arguments": "".join(arguments)},
                    "id": call.id or "",
                }
                for _, (call, arguments) in sorted(answered.calls.items())
            ]
        choice = {"finish_reason": answered.finish_reason, "index": index, "message": message}
        if answered.stopped_at:
            choice["stop_reason"] = answered.stopped_at
        if answered.logprobs:
            choice["logprobs"] = {"content": answered.logprobs}
        return choice

    @staticmethod
    def _text(index: int, answered: _Answered) -> dict[str, Any]:
        return {
            "text": "".join(answered.text),
            "index": index,
            "logprobs": {"content": answered.logprobs} if answered.logprobs else None,
            "finish_reason": answered.finish_reason,
        }


def told(payload: bytes) -> bytes:
    """The data of an event that has VERBOSE without it: of all that it tells, which is the whole prompt too,
    the stop sequence that ended the answer, in the word that vLLM has for it."""
    try:
        members = _members.decode(payload)
        said = _verbose.decode(members.pop("__verbose"))
        choices = _choices.decode(members.get("choices", Raw(b"[]")))
    except (msgspec.DecodeError, RecursionError, KeyError):
        return payload
    if said.stop_type == "word":
        word = Raw(_encode(said.stopping_word))
        members["choices"] = Raw(_encode([{**choice, "stop_reason": word} for choice in choices]))
    return _encode(members)


def _own(raw: Raw) -> Raw:
    """The same bytes, copied: a `Raw` from a decoder keeps all that was decoded with it."""
    return Raw(bytes(raw))
