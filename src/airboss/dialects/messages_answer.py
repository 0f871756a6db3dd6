"""Chat answers said as Anthropic's Messages: whole, as a stream of events, and errors. Pure.

The events of a stream: https://docs.anthropic.com/en/docs/build-with-claude/streaming. Blocks come one after
another there, while chat may interleave the arguments of several tool calls, and words with them: what comes
waits until the call before it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from weakref import proxy

import msgspec

from airboss.dialects.chat_said import (
    CHARS_MAX,
    GOOGLES,
    TOO_LARGE,
    CallJoin,
    CallPiece,
    JoinedCall,
    Said,
    google_signed,
    no_pictures,
    read_error_said,
    read_said,
)
from airboss.dialects.heard import heard_in
from airboss.dialects.messages_passing import pass_on, said_as_heard
from airboss.dialects.messages_request import NO_THREADS, AsChat
from airboss.dialects.plain import (
    calls_unthinking,
    is_claude,
    may_be_left_to,
    never_thinks,
    plain_chat,
    without_effort,
)
from airboss.dialects.reckoning import reckoned
from airboss.dialects.responses_instead import instead
from airboss.dialects.responses_passing import speaks
from airboss.dialects.speech import Counts, Json, Passing, Ranges, encode, in_own_words, sse
from airboss.domain.errors import ApiError, UpstreamFailed
from airboss.domain.plan import Target
from airboss.domain.release import Release
from airboss.providers.dialect import Outgoing

STOP_REASONS: Mapping[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
ERROR_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's types of errors by status; other 4xx are `invalid_request_error`, other 5xx `api_error`."""
_NAMES: Mapping[str, str] = {
    "messages": "messages",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "reasoning_effort": "thinking",
    "response_format": "output_config.format",
    "stop": "stop_sequences",
}
"""What was said in other words to chat."""
HELD_CHARS = 100
"""What a piece that waits for the end of a call counts for beside what it says: about what it takes."""
PING = sse("ping", {"type": "ping"})
STOP = sse("message_stop", {"type": "message_stop"})


def error_body(status: int, body: bytes) -> bytes:
    """OpenAI's error in Anthropic's shape."""
    body = in_own_words(body, _NAMES)
    return encode(
        _error(ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error"), body)
    )


def _error(type_: str, body: bytes) -> Json:
    said = read_error_said(body)
    inside: Json = {"type": type_, "message": said.message, "code": said.code, "param": said.param}
    if said.code == NO_THREADS:  # read there by Anthropic's tool runners, which then send all messages
        inside["details"] = {"error_code": said.code, "unsupported": [said.param]}
    return {"type": "error", "error": inside}


_IN_STREAM: Mapping[str, str] = {
    "rate_limit_error": "rate_limit_error",
    "overloaded_error": "overloaded_error",
    "invalid_request_error": "invalid_request_error",
    "upstream_unavailable": "overloaded_error",
    "timeout_total": "timeout_error",
    "timeout_idle": "timeout_error",
}
"""What an error within a stream is called, by OpenAI's type or our code; else `api_error`."""


_RANGES = Ranges(temperature=1, stops=256, top_k=0)
"""Anthropic says nothing of how many texts may stop an answer."""


class MessagesSpeech:
    """`dialects.speech.Speech` for one call of `/v1/messages`; `headers` are Anthropic's own of its request
    (`messages_passing.OWN_HEADERS`)."""

    ranges = _RANGES
    shows = False

    def __init__(self, asked: AsChat, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.record_id = ""
        self.estimate: Counts | None = None
        self.beyond = self.over = False
        self.unsaid: Sequence[ApiError] = asked.unsaid
        self._asked = asked
        self._headers = tuple(headers)
        self._passing = False
        self._last_heard: list[bytes] = []
        self._left_out: tuple[str, ...] = ()
        self.passes = False
        self.screens = False
        self._stream: _Stream | None = None
        self._choice: int | None = None
        """Which of the stream's choices is told: the first that came."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """As `Speech.dropped`."""
        if self._passing:
            return ()
        unsaid = (each.param for each in self.unsaid if each.param is not None)
        return (*self._asked.dropped, *unsaid, *self._left_out)

    def passing(
        self, written: bytes, target: Target, release: Release, lead: Sequence[Mapping[str, str]]
    ) -> Passing | None:
        """As `Speech.passing`."""
        passing = pass_on(written, target, release, lead, self._headers)
        self._passing = passing is not None
        return passing

    @property
    def native(self) -> bool:
        """As `Speech.native`."""
        return self._passing

    def screened(self, written: bytes, chat: bytes) -> None:
        """As `Speech.screened`: it says nothing of its request."""

    def translated(self) -> None:
        """As `Speech.translated`."""
        self._passing = False
        self._left_out = ()  # by who was asked before

    def elsewhere(self, target: Target) -> Callable[[bytes], Outgoing] | None:
        """As `Speech.elsewhere`: in Responses, where models think and call tools."""
        if not (self._asked.calls and calls_unthinking(target) and speaks(target)):
            return None
        self._left_out = ()
        return partial(instead, target=target)

    def plain(self, chat: bytes, target: Target) -> bytes:
        """As `Speech.plain`."""
        never = never_thinks(target) or self._is_left(target)
        quiet = never or (self._asked.calls and calls_unthinking(target))
        self._left_out = ("reasoning_effort",) if quiet and self._asked.thinks else ()
        return plain_chat(chat, target, rich=self._asked.rich, most=self._asked.most, thinks=not never)

    def told(self, chat: bytes, target: Target) -> bytes:
        """As `Speech.told`: a model that is left to decide how much it thinks, and has no words for that, is
        not asked for it."""
        quiet = self._is_left(target)
        self._left_out = ("reasoning_effort",) if quiet else ()
        return without_effort(chat) if quiet else chat

    def _is_left(self, target: Target) -> bool:
        asked = self._asked
        left = asked.decides or (asked.usual and not is_claude(target))
        return left and not may_be_left_to(target)

    def whole(self, chat: bytes) -> bytes:
        """As `Speech.whole`."""
        if self._passing and (heard := heard_in(chat)) is not None:
            return heard[0].encode()
        said = read_said(chat, over=self.over)
        joined = CallJoin()
        for piece in said.calls:
            joined.add(piece)
        text = said.text
        if self._asked.begun:
            # Some servers begin a continued answer with what it continues; Anthropic does not.
            text = text.removeprefix(self._asked.begun)
        content: list[Json] = list(said.thoughts)
        if not content and said.reasoning:
            signature = said.thought_as  # by which it finds its way back (`messages_turns`)
            content.append({"type": "thinking", "thinking": said.reasoning, "signature": signature})
        content += [{"type": "text", "text": each} for each in (text, said.refusal) if each]
        for call in joined.calls.values():
            content += [*signed_by_google(call), self._use(call)]
        reason, at = _stopped(said, calls=bool(joined.calls))
        return encode(
            {
                **self._message(said.model),
                "content": content,
                "stop_reason": reason,
                "stop_sequence": at,
                "usage": usage_of(said.counts or self.estimate or Counts()),
            }
        )

    def _use(self, call: JoinedCall) -> Json:
        block = self.use_of(call)
        try:
            given = msgspec.json.decode(call.text or "{}")
        except (msgspec.DecodeError, RecursionError):
            given = None
        # What is no object is shown as it came: an empty one would look like a call without arguments.
        block["input"] = given if isinstance(given, dict) else {"arguments": call.text}
        return block

    def use_of(self, call: JoinedCall) -> Json:
        """The block that calls a tool, without its arguments."""
        made = call.id or f"toolu_{self.record_id.replace('-', '')}_{call.index}"
        name = self._asked.names.get(call.name, call.name)
        return {"type": "tool_use", "id": made, "name": name, "input": {}}

    def _message(self, model: str) -> Json:
        return {
            "id": f"msg_{self.record_id.replace('-', '')}",
            "type": "message",
            "role": "assistant",
            "model": model or self._asked.model,
        }

    def event(self, data: bytes) -> bytes:
        """As `Speech.event`."""
        if self._passing and (heard := heard_in(data)) is not None:
            self.passes = True
            events = [said_as_heard(each) for each in heard]
            self._last_heard += [event for event, last in events if last]
            return b"".join([event for event, last in events if not last])
        if self.passes:
            return b""
        said = read_said(data, self._choice)
        self._choice = said.choice if self._choice is None else self._choice
        if said.images:
            raise no_pictures()
        if self._stream is not None:
            return b"".join(self._stream.add(said))
        self._stream = _Stream(self)
        start = {
            **self._message(said.model),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # What was really used stands at the end, where the upstream tells it.
            "usage": usage_of(said.counts or self._reckoned()),
        }
        head = sse("message_start", {"type": "message_start", "message": start}) + PING
        return head + b"".join(self._stream.add(said))

    def _reckoned(self) -> Counts:
        """What is told at a stream's beginning, as Anthropic does, before anybody has counted."""
        try:
            return Counts(input=reckoned(self._asked.body))
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return Counts()

    def keep_alive(self) -> bytes:
        """As `Speech.keep_alive`."""
        return PING

    def end(self) -> bytes:
        """As `Speech.end`."""
        if self.passes:
            heard = b"".join(self._last_heard)
            # The last word may have been lost, which is no part of the answer.
            return heard if b"event: message_stop\n" in heard else heard + STOP
        begun = b"" if self._stream is not None else self.event(b"{}")
        assert self._stream is not None  # begun just now, if not before
        return begun + b"".join(self._stream.end(self.estimate))

    def error(self, status: int, body: bytes) -> bytes:
        """As `Speech.error`."""
        return error_body(status, body)

    def error_event(self, body: bytes) -> bytes:
        """As `Speech.error_event`."""
        said = read_error_said(body)
        type_ = _IN_STREAM.get(said.code or "") or _IN_STREAM.get(said.type, "api_error")
        return sse("error", _error(type_, body))


class _Stream:
    """The content of a stream, block by block."""

    def __init__(self, speech: MessagesSpeech) -> None:
        self._speech: MessagesSpeech = proxy(speech)  # which owns this: no cycle that waits to be freed
        self._index = -1
        self._open: str | None = None
        self._calls = CallJoin()
        self._waiting: list[JoinedCall] = []
        """Calls that have begun, in order; the first is the open block, if one is."""
        self._sent = 0
        """Pieces of its arguments that are sent."""
        self._held: list[tuple[str, str] | Json] = []
        """What came while arguments did: words of a kind, and whole blocks of thoughts."""
        self._held_chars = 0
        self._closed: set[int] = set()
        self._thought_as = ""
        """What stands for a signature of the thoughts that are open."""
        self._last: Said = Said()
        self._counts: Counts | None = None

    def add(self, said: Said) -> list[bytes]:
        """The events that one piece makes."""
        out: list[bytes] = []
        if said.counts is not None:
            self._counts = said.counts
        if said.reasoning:
            self._thought_as = said.thought_as
            self._text(out, "thinking", said.reasoning)
        for block in said.thoughts:
            self._sign(out, block)
        for text in (said.text, said.refusal):
            if text:
                self._text(out, "text", text)
        for piece in said.calls:
            self._add_call(piece)
        self._flow(out, over=False)
        if self._held and not self._amid_arguments:
            self._release(out)
        if said.finish is not None:
            self._last = said
        return out

    def _add_call(self, piece: CallPiece) -> None:
        call = self._calls.add(piece)
        if call.index in self._closed:
            if piece.arguments.strip():
                raise UpstreamFailed(
                    "the upstream went on with a tool call that had ended", code="stream_cut"
                )
            return
        if call not in self._waiting:
            self._waiting.append(call)

    @property
    def _amid_arguments(self) -> bool:
        # A call without arguments may have none at all: words must not wait for what may never come.
        return any(call.arguments and not call.whole for call in self._waiting)

    def _release(self, out: list[bytes]) -> None:
        held, self._held, self._held_chars = self._held, [], 0
        for each in held:
            if isinstance(each, dict):
                self._sign(out, each)
            else:
                self._text(out, *each)

    def _hold(self, what: tuple[str, str] | Json, chars: int) -> None:
        self._held.append(what)
        self._held_chars += chars + HELD_CHARS
        if self._held_chars > CHARS_MAX:
            raise UpstreamFailed(
                f"the upstream said more than {CHARS_MAX} characters amid a tool call", code=TOO_LARGE
            )

    def _text(self, out: list[bytes], kind: str, text: str) -> None:
        if self._amid_arguments:
            self._hold((kind, text), len(text))
            return
        if self._open != kind:
            self._flow(out, over=True)
            self._begin(
                out, kind, {"type": kind, kind: ""} | ({"signature": ""} if kind == "thinking" else {})
            )
        self._delta(out, {"type": f"{kind}_delta", kind: text})

    def _sign(self, out: list[bytes], block: Json) -> None:
        """An upstream's own block of thoughts, which comes after what it says was streamed."""
        if self._amid_arguments:
            self._hold(block, len(encode(block)))
            return
        if block.get("type") == "thinking" and isinstance(block.get("signature"), str):
            if self._open != "thinking":
                self._flow(out, over=True)
                self._text(out, "thinking", str(block.get("thinking") or ""))
            self._delta(out, {"type": "signature_delta", "signature": block["signature"]})
            self._thought_as = ""
            self._close(out)
        elif block.get("type") == "redacted_thinking":
            self._flow(out, over=True)
            self._begin(out, "redacted_thinking", block)
            self._close(out)

    def _flow(self, out: list[bytes], *, over: bool, ended: bool = False) -> None:
        """Send what can be sent of the calls. `over`: nothing more comes of arguments that have begun;
        `ended`: nor of anything else."""
        while self._waiting:
            call = self._waiting[0]
            if self._open != "tool_use":
                if not (ended or (call.arguments and call.name)):
                    return  # its name may not be whole yet
                for block in signed_by_google(call):
                    self._begin(out, "signature", {**block, "signature": ""})
                    self._delta(out, {"type": "signature_delta", "signature": block["signature"]})
                self._begin(out, "tool_use", self._speech.use_of(call))
                self._sent = 0
            for piece in call.arguments[self._sent :]:
                self._delta(out, {"type": "input_json_delta", "partial_json": piece})
            self._sent = len(call.arguments)
            if not (over or (len(self._waiting) > 1 and call.whole)):
                return
            self._closed.add(self._waiting.pop(0).index)
            self._close(out)

    def _begin(self, out: list[bytes], kind: str, block: Json) -> None:
        self._close(out)
        self._index += 1
        self._open = kind
        out.append(
            sse(
                "content_block_start",
                {"type": "content_block_start", "index": self._index, "content_block": block},
            )
        )

    def _delta(self, out: list[bytes], delta: Json) -> None:
        out.append(
            sse("content_block_delta", {"type": "content_block_delta", "index": self._index, "delta": delta})
        )

    def _close(self, out: list[bytes]) -> None:
        if self._open is not None:
            if self._open == "thinking" and self._thought_as:
                self._delta(out, {"type": "signature_delta", "signature": self._thought_as})
            self._open = None
            out.append(sse("content_block_stop", {"type": "content_block_stop", "index": self._index}))

    def end(self, estimate: Counts | None) -> list[bytes]:
        """The last events."""
        out: list[bytes] = []
        self._flow(out, over=True, ended=True)
        self._release(out)
        self._close(out)
        reason, at = _stopped(self._last, calls=bool(self._calls.calls))
        out.append(
            sse(
                "message_delta",
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": reason, "stop_sequence": at},
                    "usage": usage_of(self._counts or estimate or Counts()),
                },
            )
        )
        out.append(STOP)
        return out


def signed_by_google(call: JoinedCall) -> list[Json]:
    """The block that brings Google's signature of a call, which it wants back, to the client and back here
    (`messages_turns`); none where there is none."""
    signature = google_signed(call.extra)
    return [{"type": "thinking", "thinking": "", "signature": GOOGLES + signature}] if signature else []


def _stopped(said: Said, *, calls: bool) -> tuple[str | None, str | None]:
    """Why an answer ended, and the stop sequence that ended it where that is known."""
    if said.finish is None:
        return None, None
    if said.finish == "stop" and calls:
        return "tool_use", None  # some servers say so of a call that they were made to make
    if said.finish == "stop" and said.stopped_at:
        return "stop_sequence", said.stopped_at
    return STOP_REASONS.get(said.finish, "end_turn"), None


def usage_of(counts: Counts) -> Json:
    """Usage in Anthropic's parts, which do not overlap."""
    return {
        "input_tokens": max(0, counts.input - counts.cached - counts.written),
        "cache_creation_input_tokens": counts.written,
        "cache_read_input_tokens": counts.cached,
        "output_tokens": counts.output,
    } | ({"output_tokens_details": {"thinking_tokens": counts.reasoning}} if counts.reasoning else {})
