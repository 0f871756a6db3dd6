"""Chat answers, whole and in pieces, read for saying them in another dialect. Pure.

Servers send oddly shaped answers. Whatever is JSON is read as far as it can be; nothing here raises for it.
Only the first choice is read: neither dialect has words for a second.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from airboss.dialects.speech import Counts, Json
from airboss.domain.errors import UpstreamFailed, UpstreamRefused
from airboss.providers.lenient import (
    CALLS_MAX,
    CallNumbers,
    any_json,
    arguments_of,
    unnumbered,
    whole_number,
    without_halves,
)

COUNT_MAX = 1_000_000_000
TOO_LARGE = "answer_too_large"
"""The code of an answer that has more than can be said in another dialect."""
CHARS_MAX = 64 * 1024 * 1024
"""Of one streamed answer that is put together here: as much as a whole answer may have."""
MODEL_LENGTH = "model_length"
"""How Mistral says that the model's own limit ended an answer."""
MARK = "airboss:"
"""How signatures begin that are none of Anthropic's."""
OPENAIS = f"{MARK}openai:"
"""Of thoughts that are OpenAI's own, encrypted (`responses_instead`)."""
GOOGLES = f"{MARK}google:"
"""Of a block without words, behind which a call stands that Google has signed so."""
REASONING = "reasoning_content"
"""The name under which DeepSeek, Moonshot and others say thoughts, and want them back with their calls."""
CALL_CHARS = 8
"""What a call counts for beside what it says; as JSON it is longer, so that no whole answer is too long."""


class CallPiece(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call, or a piece of one: `index` tells which, where its server does. `extra` is what Google says
    of it besides (`extra_content`), and wants back."""

    index: int | None
    id: str = ""
    name: str = ""
    arguments: str = ""
    extra: Json | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One choice of an answer, or of an event of a stream; `choice` is its index, None where there is none.

    `images` are URLs of pictures, `thoughts` Anthropic's thinking blocks as they were signed; `thought_as` is
    REASONING where the reasoning came by that name; `stopped_at` is the stop sequence where the server tells
    which; `counts` None where no usage was told.
    """

    model: str = ""
    choice: int | None = None
    text: str = ""
    refusal: str = ""
    reasoning: str = ""
    thought_as: str = ""
    thoughts: tuple[Json, ...] = ()
    calls: tuple[CallPiece, ...] = ()
    images: tuple[str, ...] = ()
    logprobs: tuple[Json, ...] = ()
    finish: str | None = None
    stopped_at: str | None = None
    counts: Counts | None = None


def read_said(data: bytes, choice: int | None = None, *, over: bool = False) -> Said:
    """What an answer or an event of a stream says in this choice, or in its first; nothing, where it is no
    JSON object. Not every server counts from 0, nor tells why an answer that is `over` has ended."""
    said = _read_said(data, choice)
    if not over or said.finish is not None:
        return said
    return msgspec.structs.replace(said, finish="tool_calls" if said.calls else "stop")


def _read_said(data: bytes, choice: int | None) -> Said:
    try:
        value = any_json(data)
    except UnicodeDecodeError:  # in a member that nobody has read yet
        return _read_said(data.decode("utf-8", "replace").encode(), choice)
    except (msgspec.DecodeError, RecursionError):
        mended = without_halves(data)
        return Said() if mended == data else _read_said(mended, choice)
    if not isinstance(value, dict):
        return Said()
    head = Said(model=text_of(value.get("model")), counts=_counts(value.get("usage")))
    choices: dict[int, Json] = {}
    for number, each in enumerate(list_of(value.get("choices"))):
        if isinstance(each, dict):
            index = each.get("index")
            choices.setdefault(index if isinstance(index, int) else number, each)
    if choice is None:
        choice = min(choices, default=None)
    return head if choice is None or choice not in choices else _choice(head, choice, choices[choice])


def _choice(head: Said, index: int, choice: Json) -> Said:
    said = choice.get("delta")
    streamed = isinstance(said, dict)
    if not isinstance(said, dict):
        said = choice.get("message")
    if not isinstance(said, dict):
        said = {}
    logprobs = choice.get("logprobs")
    reasoning = said.get(REASONING)
    thought_as = REASONING if text_of(reasoning) else ""
    if reasoning is None:
        reasoning = said.get("reasoning")
    finish = text_of(choice.get("finish_reason"))
    return Said(
        model=head.model,
        choice=index,
        counts=head.counts,
        text=_flat(said.get("content")),
        refusal=text_of(said.get("refusal")),
        reasoning=text_of(reasoning) or _thoughts(said.get("content")),
        thought_as=thought_as,
        thoughts=tuple(
            unnumbered(each) for each in list_of(said.get("thinking_blocks")) if isinstance(each, dict)
        ),
        calls=tuple(
            _call(None if streamed else number, each)
            for number, each in enumerate(list_of(said.get("tool_calls")))
            if isinstance(each, dict)
        ),
        images=_images(said.get("images")),
        logprobs=tuple(
            each
            for each in list_of(logprobs.get("content") if isinstance(logprobs, dict) else None)
            if isinstance(each, dict)
        ),
        finish="length" if finish == MODEL_LENGTH else finish or None,
        stopped_at=text_of(choice.get("stop_reason")) or text_of(choice.get("matched_stop")) or None,
    )


def _call(number: int | None, call: Json) -> CallPiece:
    index = call.get("index") if number is None else number
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    return CallPiece(
        index=index if isinstance(index, int) else None,
        id=text_of(call.get("id")),
        name=text_of(function.get("name")),
        arguments=arguments_of(function.get("arguments")),
        extra=extra if isinstance(extra := call.get("extra_content"), dict) else None,
    )


def _counts(usage: Any) -> Counts | None:
    if not isinstance(usage, dict):
        return None
    output, total = _count(usage.get("completion_tokens")), _count(usage.get("total_tokens"))
    prompt = _count(usage.get("prompt_tokens"))
    if usage.get("prompt_tokens") is None:
        prompt = max(0, (total or 0) - (output or 0))
    if prompt is None or output is None:
        return None  # a count that cannot be true is none, as for the record
    spent = usage.get("prompt_tokens_details")
    spent = spent if isinstance(spent, dict) else {}
    made = usage.get("completion_tokens_details")
    made = made if isinstance(made, dict) else {}
    # Parts never come to more than the whole, whatever was said: clients subtract them from it. The second
    # and third names are Moonshot's and DeepSeek's.
    told = (spent.get("cached_tokens"), usage.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"))
    cached = min(next((count for each in told if (count := _count(each))), 0), prompt)
    return Counts(
        input=prompt,
        output=output,
        cached=cached,
        written=min(_count(spent.get("cache_write_tokens")) or 0, prompt - cached),
        reasoning=min(_count(made.get("reasoning_tokens")) or 0, output),
    )


def _count(value: Any) -> int | None:
    value = whole_number(value)
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= COUNT_MAX
    return value if known else None


def _images(said: Any) -> tuple[str, ...]:
    """The URLs of pictures."""
    shown = [part.get("image_url") for part in list_of(said) if isinstance(part, dict)]
    urls = [text_of(each.get("url") if isinstance(each, dict) else each) for each in shown]
    return tuple(url for url in urls if url)


def _flat(content: Any) -> str:
    """A text, or the texts of parts."""
    if isinstance(content, str):
        return content
    return "".join(text_of(part.get("text")) for part in list_of(content) if isinstance(part, dict))


def _thoughts(content: Any) -> str:
    """The thoughts among the parts of a content, as Mistral has them."""
    parts = [part for part in list_of(content) if isinstance(part, dict) and part.get("type") == "thinking"]
    return "".join(_flat(part.get("thinking")) for part in parts)


def text_of(value: Any) -> str:
    """A text; "" for anything else."""
    return value if isinstance(value, str) else ""


def list_of(value: Any) -> list[Any]:
    """A list; an empty one for anything else."""
    return value if isinstance(value, list) else []


def google_signed(extra: Json | None) -> str:
    """Google's signature in what it says of a call besides; "" where there is none."""
    said = (extra or {}).get("google")
    return text_of(said.get("thought_signature")) if isinstance(said, dict) else ""


class ErrorSaid(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's error, read."""

    message: str = "no message"
    type: str = "api_error"
    code: str | None = None
    param: str | None = None


def read_error_said(body: bytes) -> ErrorSaid:
    """Our own error body, `{"error": {…}}`."""
    try:
        return msgspec.json.decode(body, type=_Envelope).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ErrorSaid()


class _Envelope(msgspec.Struct):
    error: ErrorSaid


def too_many_calls() -> UpstreamFailed:
    """The error for an answer of more tool calls than are put together."""
    return UpstreamFailed(f"the upstream's answer has more than {CALLS_MAX} tool calls", code=TOO_LARGE)


def no_pictures() -> UpstreamRefused:
    """The error for an answer with pictures that a client's dialect has no words for."""
    return UpstreamRefused(
        "the model answered with an image, which Anthropic's Messages have no words for; ask "
        "/v1/chat/completions or /v1/responses",
        upstream_status=400,
        code="content_unsupported",
    )


class CallJoin:
    """Puts the pieces of a stream's tool calls together, in the order in which the calls began."""

    def __init__(self) -> None:
        self.calls: dict[int, JoinedCall] = {}
        self._numbers = CallNumbers()
        self._ids: set[str] = set()
        self._chars = 0

    def add(self, piece: CallPiece) -> JoinedCall:
        """Add a piece; the call as it is now. Raises UpstreamFailed for more calls, or text, than anybody
        asks for."""
        index = self._numbers.of(piece.index, piece.id, piece.name, piece.arguments)
        if index is None:
            raise too_many_calls()
        call = self.calls.get(index)
        self._chars += len(piece.arguments) + len(piece.name) + CALL_CHARS
        if self._chars > CHARS_MAX:
            raise UpstreamFailed(
                f"the upstream's tool calls are longer than {CHARS_MAX} characters", code=TOO_LARGE
            )
        if call is None:
            call = self.calls[index] = JoinedCall(index)
        if piece.id and not call.id and piece.id not in self._ids:
            # Of an id that two calls have the second gets one of ours: results could not be told apart.
            self._ids.add(piece.id)
            call.id = piece.id
        call.extra = piece.extra or call.extra
        call.name = self._numbers.name(index)
        if piece.arguments:
            call.arguments.append(piece.arguments)
        return call


_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'\\.?|"', re.DOTALL)
"""What matters of JSON outside its strings, and inside."""


class JoinedCall:
    """One tool call as far as it has come."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.extra: Json | None = None
        self.arguments: list[str] = []
        self._read = self._depth = 0
        """How many pieces of them have been looked through, and how deep in them the last of those ends."""
        self._quoted = self._escaped = self._closed = False
        self._whole = True

    @property
    def text(self) -> str:
        """The arguments up to now."""
        return "".join(self.arguments)

    @property
    def whole(self) -> bool:
        """Whether the arguments are a JSON object, so that no more is to come."""
        # To be read as JSON after each piece would take the square of their length.
        before = self._closed
        for piece in self.arguments[self._read :]:
            self._look_through(piece)
        self._read = len(self.arguments)
        if self._closed and not before and self._whole:
            self._whole = is_object(self.text)
        return self._closed and self._whole

    def _look_through(self, piece: str) -> None:
        """Look for where the first value ends."""
        if self._closed:
            self._whole = self._whole and not piece.strip()
            return
        at, self._escaped = int(self._escaped), False
        while (found := (_INSIDE if self._quoted else _OUTSIDE).search(piece, at)) is not None:
            mark, at = found[0], found.end()
            if mark == '"':
                self._quoted = not self._quoted
            elif mark[0] == "\\":
                self._escaped = len(mark) == 1
            else:
                self._depth += 1 if mark in "{[" else -1
                if self._depth <= 0:
                    self._closed, self._whole = True, not piece[at:].strip()
                    return


def is_object(text: str) -> bool:
    """Whether a text is a JSON object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False
