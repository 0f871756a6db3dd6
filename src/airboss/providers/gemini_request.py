"""A chat request in Gemini's words: `generateContent` and `streamGenerateContent`. Pure.

What differs, and what becomes of it:

- The system's words stand apart; those that come later in a conversation are moved there too.
- A tool's result names the function, not the call: the name is looked up in the conversation, and results are
  sent in the order of the calls.
- Schemas go as `responseJsonSchema` and `parametersJsonSchema`, which take JSON Schema as it is; the older
  `responseSchema` knows a part of it only, and refuses the rest.
- Before Gemini 3 a schema beside tools is refused: there it is one more tool, whose input is the answer
  (`gemini_answer` turns it back), and one of them must be called.
- `reasoning_effort` becomes a budget, or, from Gemini 3 on, a level.
- From Gemini 3 on a call has an id, by which its result is known too, and comes signed, and is wanted back
  so. The signature travels where Google's own OpenAI endpoint has it:
  `tool_calls[].extra_content.google.thought_signature`. A call that was made elsewhere has none; UNSIGNED is
  what Google documents for it.
"""

from __future__ import annotations

import mimetypes
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.providers.chat_request import (
    ANSWER_TOOL,
    ChatRequest,
    Json,
    Message,
    Part,
    Said,
    ToolCall,
    arguments_of,
    data_url,
    no_effort,
    no_turns,
    offered,
    plain_text,
    purpose,
    read_request,
    tier_of,
)
from airboss.providers.cut import cut
from airboss.providers.dialect import Unsaid

BUDGETS: Mapping[str, int] = {
    "none": 0,
    "minimal": 512,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 24576,
    "max": 24576,
}
"""Tokens of thinking by effort; `medium` and `high` as Google's own OpenAI endpoint has them, and that is the
most that all of its models take."""
LEVELS: Mapping[str, str] = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
"""The same from Gemini 3 on. Its largest models always think: LOW and LEAST_BUDGET are their least."""
LEAST_BUDGET = 128
UNSIGNED = "skip_thought_signature_validator"
_SAID = frozenset(
    {
        "n",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "stop",
        "logprobs",
        "top_logprobs",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "modalities",
        "service_tier",
    }
)
OWN = frozenset({"safetySettings", "cachedContent", "labels"})
"""Members of Gemini's own, which go on as they came."""
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MODALITIES = frozenset({"text", "image"})
_NUMBERS: Mapping[str, str] = {
    "n": "candidateCount",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "seed": "seed",
}
_LEVELLED = re.compile(r"gemini-([3-9]|\d\d)")
_SEEN = frozenset({"image_url", "file", "input_audio"})
"""Parts of a tool's result that are no words."""
_AUDIO: Mapping[str, str] = {"wav": "audio/wav", "mp3": "audio/mp3"}


def generate_request(raw: bytes, unsaid: Unsaid) -> Said:
    """The request. Raises InvalidRequest for what cannot be said, and msgspec.ValidationError."""
    request = read_request(raw, said=_SAID | OWN, unsaid=unsaid)
    system, contents = _conversation(request, unsaid)
    own = {name: each for name, each in _members.decode(raw).items() if name in OWN}
    value: Json = {**own, "contents": contents}
    if system:
        value["systemInstruction"] = {"parts": [{"text": text} for text in system]}
    shape = request.schema
    answer_tool = None
    if declared := _declared(request, unsaid):
        chosen = _choice(request, unsaid)
        if shape is not None and _LEVELLED.search(request.model) is None:
            shape = None
            answer_tool = _answer_tool(request, unsaid)
        if answer_tool is not None:
            declared.append(answer_tool)
            only: Json = {"allowedFunctionNames": [ANSWER_TOOL]} if request.tool_choice == "none" else {}
            chosen = {"mode": "ANY", **only}
        value["tools"] = [{"functionDeclarations": declared}]
        if chosen is not None:
            value["toolConfig"] = {"functionCallingConfig": chosen}
    if (tier := tier_of(request.service_tier, unsaid)) is not None:
        value["serviceTier"] = tier
    if config := _config(request, unsaid) | _shape(request, shape):
        value["generationConfig"] = config
    return Said(body=msgspec.json.encode(value), answer_tool=ANSWER_TOOL if answer_tool else None)


def _declared(request: ChatRequest, unsaid: Unsaid) -> list[Json]:
    declared: list[Json] = []
    for _, function in offered(request, unsaid):
        made: Json = {"name": function.name}
        if function.description:
            made["description"] = function.description
        if function.parameters:
            made["parametersJsonSchema"] = function.parameters
        declared.append(made)
    if request.parallel_tool_calls is False and declared and request.forced_function is None:
        # Some agents say so in every call; it decides itself how many it makes.
        unsaid.note("parallel_tool_calls")
    return declared


def _is_any(request: ChatRequest) -> bool:
    """Whether any JSON will do for the answer."""
    wanted = request.response_format
    return wanted is None or wanted.json_schema is None or wanted.json_schema.schema is None


def _shape(request: ChatRequest, shape: Json | None) -> Json:
    if shape is None:
        return {}
    said: Json = {"responseMimeType": "application/json"}
    return said if _is_any(request) else {**said, "responseJsonSchema": shape}


def _answer_tool(request: ChatRequest, unsaid: Unsaid) -> Json | None:
    """The tool whose input is the answer; None where a call is all that may come, or any object will do."""
    if request.must_call:
        return None
    if _is_any(request):
        unsaid.note("response_format")  # the words ask for JSON too, as OpenAI wants
        return None
    return {"name": ANSWER_TOOL, "description": purpose(request), "parametersJsonSchema": request.schema}


def _conversation(request: ChatRequest, unsaid: Unsaid) -> tuple[list[str], list[Json]]:
    system: list[str] = []
    contents: list[Json] = []
    signed = _LEVELLED.search(request.model) is not None
    ids = _ids_of(request.messages) if signed else None
    for number, message, called in _in_order(request.messages):
        where = f"messages[{number}]"
        if message.role in {"system", "developer"}:
            if text := plain_text(message, where, unsaid):
                system.append(text)
            continue
        role, parts = _turn(message, where, called, unsaid, ids=ids)
        if not parts:
            continue
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})
    if not contents:
        raise no_turns(unsaid)
    return system, contents


def _ids_of(messages: Sequence[Message]) -> frozenset[str]:
    """The ids that tell one call from all others of a conversation; some servers give several the same."""
    times = Counter(call.id for message in messages for call in message.tool_calls or ())
    return frozenset(id_ for id_, many in times.items() if many == 1 and id_)


def _in_order(messages: Sequence[Message]) -> Iterator[tuple[int, Message, str | None]]:
    """The messages with their numbers, and for a tool's result the function that was called. Results have no
    ids there: they are told apart by their order, which is that of the calls."""
    calls: list[ToolCall] = []
    known: dict[str, str] = {}
    answers: list[tuple[int, int, Message, str | None]] = []
    waiting: dict[str, deque[int]] = {}
    for number, message in enumerate(messages):
        if message.role == "tool":
            id_ = message.tool_call_id or ""
            if places := waiting.get(id_):
                place = places.popleft()
                answers.append((place, number, message, calls[place].function.name))
            else:
                answers.append((len(calls), number, message, known.get(id_)))
            continue
        yield from _by_call(answers)
        answers = []
        if message.tool_calls:
            calls = message.tool_calls
            waiting = {}
            for place, call in enumerate(calls):
                waiting.setdefault(call.id, deque()).append(place)
            known |= {call.id: call.function.name for call in calls}
        yield number, message, None
    yield from _by_call(answers)


def _by_call(
    answers: Sequence[tuple[int, int, Message, str | None]],
) -> list[tuple[int, Message, str | None]]:
    return [answer[1:] for answer in sorted(answers, key=itemgetter(0, 1))]


def _turn(
    message: Message, where: str, called: str | None, unsaid: Unsaid, *, ids: frozenset[str] | None
) -> tuple[str, list[Json]]:
    """What a message says. `ids` are those of calls, where these have any and are signed."""
    if message.role == "tool":
        # A result is words; what else a tool gave back stands behind it.
        seen = [(at, part) for at, part in enumerate(message.parts()) if part.type in _SEEN]
        return "user", [_result(message, where, called, unsaid, ids), *_parts(seen, where, unsaid)]
    parts = _parts(enumerate(message.parts()), where, unsaid)
    if message.role == "assistant":
        if message.refusal:
            parts.append({"text": message.refusal})
        pictures = _parts(enumerate(message.images or ()), where, unsaid)
        # As with calls: those of other models, and ours without signatures, have the mark for it.
        parts += [{**part, "thoughtSignature": UNSIGNED} if ids is not None else part for part in pictures]
        for number, call in enumerate(message.tool_calls or ()):
            # In a turn of several calls the first carries the signature.
            made = _call(call, f"{where}.tool_calls[{number}]", need=ids is not None and number == 0)
            made["functionCall"] |= _id(call.id, ids)
            parts.append(made)
        return "model", parts
    if message.role != "user":
        unsaid.add(where, f"its role is {cut(message.role, 40)!r}")
        return "user", []
    return "user", parts


def _parts(said: Iterable[tuple[int, Part]], where: str, unsaid: Unsaid) -> list[Json]:
    made = (_part(part, f"{where}.content[{number}]", unsaid) for number, part in said)
    return [part for part in made if part is not None]


def _call(call: ToolCall, where: str, *, need: bool) -> Json:
    made: Json = {"functionCall": {"name": call.function.name, "args": arguments_of(call, where)}}
    google = (call.extra_content or {}).get("google")
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    if signature is not None or need:
        made["thoughtSignature"] = signature if signature is not None else UNSIGNED
    return made


def _id(written: str | None, ids: frozenset[str] | None) -> Json:
    return {"id": written} if ids and written in ids else {}


def _result(
    message: Message, where: str, name: str | None, unsaid: Unsaid, ids: frozenset[str] | None
) -> Json:
    if name is None:
        raise InvalidRequest(
            f"{where} answers tool call {message.tool_call_id!r}, and no message before it has that call",
            param=where,
        )
    text = plain_text(message, where, unsaid, _SEEN)
    told = {"name": name, "response": _as_object(text), **_id(message.tool_call_id, ids)}
    return {"functionResponse": told}


def _as_object(text: str) -> Any:
    """A result as the object that is wanted; one that is none is put into one."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        value = text
    return value if isinstance(value, dict) else {"result": value}


def _part(part: Part, where: str, unsaid: Unsaid) -> Json | None:
    text = part.refusal if part.type == "refusal" else part.text
    if part.type in {"text", "refusal"}:
        return {"text": text} if text else None
    if part.type == "image_url" and part.image_url is not None:
        return _media(part.image_url.url, "image/jpeg")
    if part.type == "file" and part.file is not None and part.file.file_data is not None:
        return _media(part.file.file_data, "application/pdf")
    if part.type == "input_audio" and part.input_audio is not None:
        kind = _AUDIO.get(part.input_audio.format, f"audio/{part.input_audio.format}")
        return {"inlineData": {"mimeType": kind, "data": part.input_audio.data}}
    unsaid.add(where, f"its type is {cut(part.type, 40)!r}")
    return None


def _media(url: str, usual: str) -> Json:
    data = data_url(url)
    if data is not None:
        return {"inlineData": {"mimeType": data[0], "data": data[1]}}
    kind = mimetypes.guess_type(url.partition("?")[0])[0] or usual
    return {"fileData": {"mimeType": kind, "fileUri": url}}


def _choice(request: ChatRequest, unsaid: Unsaid) -> Json | None:
    wanted = request.tool_choice
    if wanted is None:
        return None
    if isinstance(wanted, str):
        modes = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
        if wanted not in modes:
            unsaid.add("tool_choice", f"it is {cut(wanted, 40)!r}")
            return None
        return {"mode": modes[wanted]}
    if request.forced_function is None:
        unsaid.add("tool_choice", "it names no function")
        return None
    return {"mode": "ANY", "allowedFunctionNames": [request.forced_function]}


def _config(request: ChatRequest, unsaid: Unsaid) -> Json:
    config: Json = {
        theirs: number
        for ours, theirs in _NUMBERS.items()
        if (number := getattr(request, ours)) is not None and not (ours == "n" and number == 1)
    }
    if request.answer_tokens is not None:
        config["maxOutputTokens"] = request.answer_tokens
    if request.stops:
        config["stopSequences"] = request.stops
    if request.logprobs:
        config["responseLogprobs"] = True
        if request.top_logprobs:
            config["logprobs"] = request.top_logprobs
    if odd := [each for each in request.modalities or () if each not in _MODALITIES]:
        unsaid.add("modalities", f"{cut(odd[0], 40)!r} is among them")
    elif request.modalities and request.modalities != ["text"]:
        config["responseModalities"] = [each.upper() for each in request.modalities]
    if request.reasoning_effort is not None:
        config["thinkingConfig"] = _thinking(request.model, request.reasoning_effort)
    return config


def _thinking(model: str, effort: str) -> Json:
    if effort not in BUDGETS:
        raise no_effort(effort, BUDGETS)
    thinking: Json = {"includeThoughts": effort != "none"}
    always = "pro" in model
    if _LEVELLED.search(model) is not None:
        level = LEVELS[effort]
        thinking["thinkingLevel"] = "LOW" if always and level == "MINIMAL" else level
    else:
        thinking["thinkingBudget"] = max(BUDGETS[effort], LEAST_BUDGET if always else 0)
    return thinking
