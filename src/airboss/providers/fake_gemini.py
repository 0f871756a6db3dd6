"""The fake provider as Gemini: `generateContent` and `streamGenerateContent`, as strict as the real one.

Its names and rules are written down here once more, and not taken from the translation that they test.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

import msgspec

from airboss.domain.errors import InvalidRequest
from airboss.providers import fake_answers as answers
from airboss.providers.fake_answers import Asked, Call, Event, Json
from airboss.providers.fake_anthropic import as_input
from airboss.providers.fake_faults import Behaviour

THOUGHT = "Let me think about it."
SIGNATURE = "c2lnbmVkIGJ5IHRoZSBmYWtl"
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY", "tool_calls": "STOP"}


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    pass


class _Blob(_Struct, frozen=True):
    mime_type: str
    data: str


class _File(_Struct, frozen=True):
    mime_type: str
    file_uri: str


class _CallPart(_Struct, frozen=True):
    name: str
    args: dict[str, Any] = {}
    id: str | None = None


class _ResultPart(_Struct, frozen=True):
    name: str
    response: dict[str, Any]
    id: str | None = None


class _Part(_Struct, frozen=True):
    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    inline_data: _Blob | None = None
    file_data: _File | None = None
    function_call: _CallPart | None = None
    function_response: _ResultPart | None = None


class _Content(_Struct, frozen=True):
    parts: list[_Part]
    role: Literal["user", "model"] = "user"


class _Declaration(_Struct, frozen=True):
    name: str
    description: str | None = None
    parameters_json_schema: dict[str, Any] | None = None


class _Tool(_Struct, frozen=True):
    function_declarations: list[_Declaration]


class _Calling(_Struct, frozen=True):
    mode: Literal["AUTO", "ANY", "NONE"]
    allowed_function_names: list[str] | None = None


class _ToolConfig(_Struct, frozen=True):
    function_calling_config: _Calling


class _Thinking(_Struct, frozen=True):
    include_thoughts: bool = False
    thinking_budget: int | None = None
    thinking_level: Literal["MINIMAL", "LOW", "MEDIUM", "HIGH"] | None = None


class _Config(_Struct, frozen=True):
    candidate_count: int | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop_sequences: list[str] | None = None
    response_mime_type: str | None = None
    response_json_schema: dict[str, Any] | None = None
    response_logprobs: bool = False
    logprobs: int | None = None
    thinking_config: _Thinking | None = None


class _Request(_Struct, frozen=True):
    contents: list[_Content]
    system_instruction: _Content | None = None
    tools: list[_Tool] | None = None
    tool_config: _ToolConfig | None = None
    generation_config: _Config = _Config()
    service_tier: Literal["flex", "standard", "priority"] | None = None
    safety_settings: list[dict[str, str]] | None = None
    cached_content: str | None = None
    labels: dict[str, str] | None = None


_request = msgspec.json.Decoder(_Request)


def read_generate(path: str, body: bytes, authorization: str, *, model: str, stream: bool) -> Call:
    """Read a request. Raises InvalidRequest where the real one would."""
    try:
        request = _request.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"Invalid JSON payload received. {error}") from error
    check(request, model)
    raw: Json = json.loads(body)
    system = raw.get("systemInstruction", {"parts": []})
    said = [{"role": "system", "content": system["parts"]}]
    said += [
        {"role": "assistant" if turn["role"] == "model" else "user", "content": turn["parts"]}
        for turn in raw["contents"]
    ]
    tools = [each for tool in request.tools or () for each in tool.function_declarations]
    asked = msgspec.convert(
        {
            "model": model,
            "messages": said,
            "stream": stream,
            "n": request.generation_config.candidate_count,
            "max_tokens": request.generation_config.max_output_tokens,
            "tools": [{"function": {"name": tool.name}} for tool in tools],
        },
        Asked,
    )
    digest = hashlib.blake2b(body, digest_size=12).hexdigest()
    return Call(path=path, asked=asked, id=digest, authorization=authorization, tongue=Gemini(), raw=raw)


def _check_ids(before: list[_Part], parts: list[_Part]) -> None:
    called = [part.function_call.id for part in before if part.function_call is not None]
    answered = [part.function_response.id for part in parts if part.function_response is not None]
    if called != answered:
        raise InvalidRequest(f"The ids of function calls and of their responses differ: {called}, {answered}")


def check(request: _Request, model: str) -> None:
    """The rules that types cannot say."""
    if not request.contents:
        raise InvalidRequest("* GenerateContentRequest.contents: contents is not specified")
    before: list[_Part] = []
    for content in request.contents:
        if not content.parts:
            raise InvalidRequest("* GenerateContentRequest.contents: parts must not be empty")
        called = [part.function_call.name for part in before if part.function_call is not None]
        said = [part.function_response.name for part in content.parts if part.function_response is not None]
        if called != said:
            raise InvalidRequest(
                "Please ensure that the number of function response parts is equal to the number of function "
                f"call parts of the function call turn: {called}, {said}"
            )
        _check_ids(before, content.parts)
        calls = [part for part in content.parts if part.function_call is not None]
        if model.startswith("gemini-3") and calls and calls[0].thought_signature is None:
            raise InvalidRequest("Function call is missing a thought_signature in functionCall parts.")
        before = content.parts
    shaped = request.generation_config.response_mime_type == "application/json"
    if shaped and request.tools and not model.startswith("gemini-3"):
        raise InvalidRequest("Function calling with a response mime type: 'application/json' is unsupported")
    thinking = request.generation_config.thinking_config
    if thinking is not None and None not in {thinking.thinking_budget, thinking.thinking_level}:
        raise InvalidRequest("thinking_budget and thinking_level are not supported together")


class Gemini:
    """How Gemini says it."""

    stream_type = "text/event-stream"
    framed = False

    def whole(self, call: Call, behaviour: Behaviour, *, finish: str | None = None) -> bytes:
        """A response."""
        if "PROHIBITED" in call.last_user_text:
            return json.dumps(_blocked(call, behaviour)).encode()
        parts, reason = self._parts(call, behaviour)
        return self._response(call, behaviour, parts, _REASONS[finish or reason])

    @staticmethod
    def _response(call: Call, behaviour: Behaviour, parts: list[Json], reason: str) -> bytes:
        candidates = [
            {
                "content": {"role": "model", "parts": _numbered(parts, index)},
                "finishReason": reason,
                "index": index,
                **_logprobs(call, parts),
            }
            for index in range(call.choices)
        ]
        body = {"candidates": candidates, **_head(call), "usageMetadata": _usage(call, behaviour, parts)}
        return json.dumps(body).encode()

    @staticmethod
    def _parts(call: Call, behaviour: Behaviour) -> tuple[list[Json], str]:
        text, reason = answers.answer(call, behaviour)
        config = call.raw.get("generationConfig", {})
        parts: list[Json] = []
        if config.get("thinkingConfig", {}).get("includeThoughts"):
            parts.append({"text": THOUGHT, "thought": True})
        calling = call.raw.get("toolConfig", {}).get("functionCallingConfig", {})
        if calling.get("mode") == "ANY":
            named = calling.get("allowedFunctionNames") or [call.asked.tools[-1].function.name]
            made = {"functionCall": {"name": named[0], "args": as_input(text)}, "thoughtSignature": SIGNATURE}
            return [*parts, made], "tool_calls"
        if config.get("responseMimeType") == "application/json" and not text.startswith("{"):
            text = json.dumps({"text": text})
        return [*parts, {"text": text}], reason

    def events(self, call: Call, behaviour: Behaviour, *, finish: str | None = None) -> list[Event]:
        """A response in pieces."""
        if "PROHIBITED" in call.last_user_text:
            return [Event(json.dumps(_blocked(call, behaviour)).encode(), "finish")]
        parts, reason = self._parts(call, behaviour)
        return self._events(call, behaviour, parts, _REASONS[finish or reason])

    @staticmethod
    def _events(call: Call, behaviour: Behaviour, parts: list[Json], reason: str) -> list[Event]:
        pieces = [{**part, "text": piece} for part in parts if "text" in part for piece in _cut(part["text"])]
        pieces += [part for part in parts if "functionCall" in part]
        usage = _usage(call, behaviour, parts)
        early = {name: count for name, count in usage.items() if name != "candidatesTokenCount"}
        found = []
        for index in range(call.choices):
            for piece in _numbered(pieces, index):
                content = {"role": "model", "parts": [piece]}
                body = {"candidates": [{"content": content, "index": index}], **_head(call)}
                found.append(Event(json.dumps({**body, "usageMetadata": early}).encode(), "content"))
        for index in range(call.choices):
            last = {
                "content": {"role": "model", "parts": [{"text": ""}]},
                "finishReason": reason,
                "index": index,
            }
            body = {"candidates": [last], **_head(call), "usageMetadata": usage}
            found.append(Event(json.dumps(body).encode(), "finish"))
        return found

    def tools(self, call: Call, behaviour: Behaviour, texts: list[str], size: int) -> bytes | list[Event]:  # noqa: ARG002 - calls come whole
        """Calls of the first tool, whole: Gemini cuts no arguments."""
        name = call.asked.tools[0].function.name if call.asked.tools else "tool"
        parts: list[Json] = [{"functionCall": {"name": name, "args": json.loads(text)}} for text in texts]
        parts[0]["thoughtSignature"] = SIGNATURE
        if not call.asked.stream:
            return self._response(call, behaviour, parts, "STOP")
        return self._events(call, behaviour, parts, "STOP")

    def error(self, status: int, message: str, *, inside: bool = False) -> bytes:  # noqa: ARG002 - the same
        """An error object."""
        error: Json = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN")}
        if status == 429:
            kind = "type.googleapis.com/google.rpc.RetryInfo"
            error["details"] = [{"@type": kind, "retryDelay": "1.5s"}]
        return json.dumps({"error": error}).encode()


def _head(call: Call) -> Json:
    return {"modelVersion": call.asked.model, "responseId": call.id}


def _blocked(call: Call, behaviour: Behaviour) -> Json:
    usage = {"promptTokenCount": _usage(call, behaviour, [])["promptTokenCount"]}
    return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **_head(call), "usageMetadata": usage}


def _cut(text: str) -> list[str]:
    """Gemini's pieces are several words long."""
    words = answers.pieces(text)
    return ["".join(words[at : at + 3]) for at in range(0, len(words), 3)]


def _numbered(parts: list[Json], index: int) -> list[Json]:
    """Candidate `index` differs from the first by its number."""
    if not index or not parts or "text" not in parts[-1]:
        return parts
    return [*parts[:-1], {**parts[-1], "text": answers.choice_text(parts[-1]["text"], index)}]


def _logprobs(call: Call, parts: list[Json]) -> Json:
    config = call.raw.get("generationConfig", {})
    if not config.get("responseLogprobs"):
        return {}
    said = [piece for part in parts for piece in answers.pieces(part.get("text", ""))]
    chosen = [{"token": piece, "tokenId": at, "logProbability": -0.5} for at, piece in enumerate(said)]
    tops = [{"candidates": [each] * (config.get("logprobs") or 0)} for each in chosen]
    return {"logprobsResult": {"chosenCandidates": chosen, "topCandidates": tops}}


def _usage(call: Call, behaviour: Behaviour, parts: list[Json]) -> Json:
    """The prompt's count includes what came from the cache; thoughts are counted beside the answer."""
    prompt = sum(answers.tokens(answers.flat(message.content)) for message in call.asked.messages)
    said = "".join(part.get("text") or json.dumps(part.get("functionCall")) for part in parts)
    output = answers.tokens(said) * call.choices
    usage = {
        "promptTokenCount": prompt + behaviour.cached_tokens,
        "cachedContentTokenCount": behaviour.cached_tokens,
        "candidatesTokenCount": output,
        "thoughtsTokenCount": behaviour.reasoning_tokens,
        "totalTokenCount": prompt + behaviour.cached_tokens + output + behaviour.reasoning_tokens,
    }
    return {name: count for name, count in usage.items() if count or name == "promptTokenCount"}
