"""What the fake provider says when it answers well: a pure function of the request and its behaviour.

A token is a word with the blank before it, so that usage can be checked by counting.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections import Counter
from typing import Any, Literal, Protocol

import msgspec

from airboss.domain.errors import InvalidRequest, NotFound
from airboss.providers.fake_faults import FAULTS, MODEL_PREFIX, Behaviour

SENTENCE = "The air boss launches, watches and recovers every aircraft on the deck of the carrier."
COUNT = ", ".join(
    (
        *("sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
        *(
            f"twenty-{unit}"
            for unit in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
        ),
        "thirty",
    )
)
COUNT_BEGUN_CHARS = 16
"""So much of the count must have been begun for it to be gone on with, whatever else is to be said."""
CREATED = 1_700_000_000
DIMENSIONS = 64
CHOICES_MAX = 128

Kind = Literal["role", "content", "finish", "usage", "done"]
"""What an event of a stream is for."""

Json = dict[str, Any]
"""A JSON object on its way to the wire."""


class Event(msgspec.Struct, frozen=True):
    """One server-sent event's data."""

    data: bytes
    kind: Kind
    name: str | None = None
    """Its type, where that has a line of its own."""
    framed: bool = False
    """Whether `data` is all of it, as it goes over the wire."""


class _Message(msgspec.Struct, frozen=True):
    role: str = ""
    content: Any = None


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = False


class _Function(msgspec.Struct, frozen=True):
    name: str = "tool"


class _Tool(msgspec.Struct, frozen=True):
    function: _Function = _Function()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a request that the fake provider heeds, of all routes together."""

    model: str = ""
    messages: tuple[_Message, ...] = ()
    prompt: Any = ""
    input: Any = ""
    stream: bool = False
    stream_options: _StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    tools: tuple[_Tool, ...] = ()
    dimensions: int | None = None
    encoding_format: str | None = None
    logprobs: Any = None


_DECODER = msgspec.json.Decoder(Asked)
_ENCODER = msgspec.json.Encoder()


class Tongue(Protocol):
    """How another provider than OpenAI says the same."""

    stream_type: str
    """The content type of its streams."""
    framed: bool
    """Whether what is said inside of a stream is framed by itself."""

    def whole(self, call: Call, behaviour: Behaviour, *, finish: str | None = None) -> bytes:
        """The body of an answer that is not streamed; `finish` as OpenAI names it."""

    def events(self, call: Call, behaviour: Behaviour, *, finish: str | None = None) -> list[Event]:
        """The events of a streamed answer."""

    def tools(self, call: Call, behaviour: Behaviour, texts: list[str], size: int) -> bytes | list[Event]:
        """An answer that calls the first tool with these arguments, in pieces of `size` characters."""

    def error(self, status: int, message: str, *, inside: bool = False) -> bytes:
        """An error; `inside` of a stream, as an event's data."""


class Made(msgspec.Struct, frozen=True):
    """An answer that follows from the request alone (`fake_shelf`)."""

    content_type: str
    body: bytes


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request to be answered. `chat` tells /chat/completions from /completions. `tongue` None is
    OpenAI's; `raw` is the request's body, for what only a tongue reads."""

    path: str
    asked: Asked
    id: str
    authorization: str = ""
    tongue: Tongue | None = None
    raw: Json = {}
    made: Made | None = None

    @property
    def chat(self) -> bool:
        """Whether a chat route was called."""
        return self.tongue is not None or self.path.endswith("/chat/completions")

    @property
    def choices(self) -> int:
        """How many answers are wanted."""
        return max(1, self.asked.n or 1)

    @property
    def last_user_text(self) -> str:
        """The text that a person said last, on any route."""
        if self.path.endswith("/embeddings"):
            return flat(self.asked.input)
        if not self.chat:
            return flat(self.asked.prompt)
        return next((flat(m.content) for m in reversed(self.asked.messages) if m.role == "user"), "")

    @property
    def instructions(self) -> str:
        """The text of all system messages; of a raw prompt all there is."""
        if not self.chat:
            return self.last_user_text
        return "\n".join(flat(each.content) for each in self.asked.messages if each.role == "system")

    @property
    def all_text(self) -> str:
        """The text of all messages, or what `last_user_text` is on another route."""
        if not self.asked.messages:
            return self.last_user_text
        return "\n".join(flat(message.content) for message in self.asked.messages)

    @property
    def prefill(self) -> str | None:
        """The assistant's prefix to be gone on with, or None."""
        last = self.asked.messages[-1] if self.asked.messages else _Message()
        return flat(last.content) if last.role == "assistant" else None


def read_call(path: str, body: bytes, authorization: str = "") -> Call:
    """Read a request; raises InvalidRequest when the body is not what the route takes."""
    try:
        asked = _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the body is not a request: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest("the body is not UTF-8") from error
    if not 0 <= (asked.n or 1) <= CHOICES_MAX:
        raise InvalidRequest(f"n is {asked.n}; ask for at most {CHOICES_MAX}", param="n")
    digest = hashlib.blake2b(body, digest_size=12).hexdigest()
    return Call(path=path, asked=asked, id=digest, authorization=authorization)


def flat(content: Any) -> str:
    """The text in a message's content, a prompt or an input, whatever its form."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return flat(content.get("text", ""))
    if isinstance(content, list):
        return "\n".join(filter(None, map(flat, content)))
    return ""


def tokens(text: str) -> int:
    """How many tokens a text has: as many as `pieces`, without cutting it."""
    return text.count(" ") + (not text.startswith(" ")) if text else 0


def pieces(text: str) -> list[str]:
    """Cut a text into tokens; joined they are the text."""
    first, *rest = text.split(" ")
    return [piece for piece in (first, *(f" {word}" for word in rest)) if piece]


def answer(call: Call, behaviour: Behaviour) -> tuple[str, str]:
    """The text of the first choice, and its finish reason."""
    prefill = call.prefill
    if prefill and len(prefill) >= COUNT_BEGUN_CHARS and COUNT.startswith(prefill):
        text = COUNT
    elif behaviour.text is not None and (behaviour.when is None or behaviour.when in call.instructions):
        text = behaviour.text
    elif behaviour.texts is not None:
        texts = behaviour.texts.split("|")
        text = texts[int(call.id, 16) % len(texts)]
    elif behaviour.words is not None:
        text = " ".join(f"word{number}" for number in range(behaviour.words))
    else:
        text = call.last_user_text if behaviour.echo else SENTENCE
    if prefill and text.startswith(prefill):
        text = text.removeprefix(prefill)
    said = pieces(text)
    limit = call.asked.max_completion_tokens or call.asked.max_tokens
    if limit is not None and len(said) > limit:
        return "".join(said[:limit]), "length"
    return text, "stop"


def choice_text(text: str, index: int) -> str:
    """Choice `index` differs from the first by its number, so that a mix-up shows."""
    return text if index == 0 else f"{text} #{index}"


def usage(call: Call, behaviour: Behaviour, completion_tokens: int) -> Json:
    """Usage in OpenAI's form. Prompt tokens are those of all messages; reasoning is part of completion."""
    if call.chat:
        prompt = sum(tokens(flat(message.content)) for message in call.asked.messages)
    else:
        prompt = tokens(call.last_user_text)
    completion = completion_tokens + behaviour.reasoning_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": behaviour.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": behaviour.reasoning_tokens},
    }


def _base(call: Call, *, stream: bool) -> Json:
    kind = ("chat.completion.chunk" if stream else "chat.completion") if call.chat else "text_completion"
    prefix = "chatcmpl" if call.chat else "cmpl"
    model = call.asked.model or "fake"
    return {"id": f"{prefix}-{call.id}", "object": kind, "created": CREATED, "model": model}


def whole(call: Call, behaviour: Behaviour, *, with_usage: bool = True, finish: str | None = None) -> bytes:
    """The body of an answer that is not streamed."""
    if call.tongue is not None:
        return call.tongue.whole(call, behaviour, finish=finish)
    text, reason = answer(call, behaviour)
    choices: list[Json] = []
    for index in range(call.choices):
        said = choice_text(text, index)
        choice: Json = {"index": index, "finish_reason": finish or reason, "logprobs": None}
        if call.chat and call.asked.logprobs is True and behaviour.texts is not None:
            choice["logprobs"] = {"content": [_first_token(text, behaviour.texts.split("|"))]}
        if call.chat:
            choice["message"] = {"role": "assistant", "content": said, "refusal": None}
        else:
            choice["text"] = said
        choices.append(choice)
    count = sum(tokens(choice_text(text, index)) for index in range(call.choices))
    body = {**_base(call, stream=False), "choices": choices}
    if with_usage:
        body["usage"] = usage(call, behaviour, count)
    return _ENCODER.encode(body)


def _first_token(text: str, texts: list[str]) -> Json:
    """The probabilities of an answer's first token, where it is one of these texts by chance."""
    firsts = Counter(next(iter(pieces(each)), "") for each in texts)
    said = next(iter(pieces(text)), "")
    odds = [
        {"token": token, "logprob": math.log(count / len(texts)), "bytes": None}
        for token, count in firsts.most_common()
    ]
    own = next((each for each in odds if each["token"] == said), odds[0])
    return {**own, "top_logprobs": odds}


def events(call: Call, behaviour: Behaviour, *, interleaved: bool = False) -> list[Event]:
    """The events of a streamed answer, in order, with `[DONE]`."""
    if call.tongue is not None:
        return call.tongue.events(call, behaviour)
    text, reason = answer(call, behaviour)
    said = [pieces(choice_text(text, index)) for index in range(call.choices)]
    found: list[Event] = []
    if call.chat:
        opening = {"role": "assistant", "content": "", "refusal": None}
        found += [Event(chunk(call, index, opening, None), "role") for index in range(call.choices)]
    order = [(index, piece) for index, words in enumerate(said) for piece in words]
    if interleaved:
        longest = max(map(len, said))
        turns = ((at, index) for at in range(longest) for index in reversed(range(call.choices)))
        order = [(index, said[index][at]) for at, index in turns if at < len(said[index])]
    found += [Event(chunk(call, index, {"content": piece}, None), "content") for index, piece in order]
    found += [Event(chunk(call, index, {}, reason), "finish") for index in range(call.choices)]
    return found + endings(call, behaviour, sum(map(len, said)))


def endings(call: Call, behaviour: Behaviour, completion_tokens: int) -> list[Event]:
    """What follows the finish reasons: usage when asked for, and `[DONE]`."""
    done = [Event(b"[DONE]", "done")]
    if not _wants_usage(call):
        return done
    body = {**_base(call, stream=True), "choices": [], "usage": usage(call, behaviour, completion_tokens)}
    return [Event(_ENCODER.encode(body), "usage"), *done]


def chunk(call: Call, index: int, delta: Json, finish: str | None) -> bytes:
    """One event of choice `index`."""
    choice: Json = {"index": index, "finish_reason": finish, "logprobs": None}
    if call.chat:
        choice["delta"] = delta
    else:
        choice["text"] = delta.get("content", "")
    body = {**_base(call, stream=True), "choices": [choice]}
    if _wants_usage(call):
        body["usage"] = None
    return _ENCODER.encode(body)


def _wants_usage(call: Call) -> bool:
    options = call.asked.stream_options
    return options is not None and options.include_usage


def embeddings(call: Call) -> bytes:
    """Unit vectors that depend on the text alone, one for each input."""
    given = call.asked.input
    inputs = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    size = call.asked.dimensions or DIMENSIONS
    if not 1 <= size <= 4096:
        raise InvalidRequest(f"dimensions is {size}; ask for 1 to 4096", param="dimensions")
    data: list[Json] = []
    for index, item in enumerate(inputs):
        vector = _vector(repr(item), size)
        packed = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        value: Any = packed if call.asked.encoding_format == "base64" else vector
        data.append({"object": "embedding", "index": index, "embedding": value})
    count = sum(tokens(flat(item)) or (len(item) if isinstance(item, list) else 1) for item in inputs)
    counted = {"prompt_tokens": count, "total_tokens": count}
    return _ENCODER.encode({"object": "list", "data": data, "model": call.asked.model, "usage": counted})


def _vector(text: str, size: int) -> list[float]:
    raw = hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(size)
    centred = [byte - 127.5 for byte in raw]
    length = math.sqrt(sum(value * value for value in centred))
    return [value / length for value in centred]


def models(name: str | None) -> bytes:
    """The list of models, or one by name; raises NotFound. Any model name is answered, these are listed."""
    listed = [
        {"id": MODEL_PREFIX + fault, "object": "model", "created": CREATED, "owned_by": "fake"}
        for fault in FAULTS
    ]
    if name is None:
        return _ENCODER.encode({"object": "list", "data": listed})
    for model in listed:
        if model["id"] == name:
            return _ENCODER.encode(model)
    raise NotFound(f"no model is called {name!r}; see /v1/models", code="model_not_found", param="model")


def error_for(call: Call, status: int, message: str, *, type: str, code: str | None) -> bytes:
    """The body of an error, as the caller's kind of provider says it."""
    if call.tongue is not None and not call.path.endswith("/responses"):
        return call.tongue.error(status, message)
    return error_body(message, type=type, code=code)


def error_body(message: str, *, type: str, code: str | None, param: str | None = None) -> bytes:
    """OpenAI's error shape."""
    return _ENCODER.encode({"error": {"message": message, "type": type, "code": code, "param": param}})
