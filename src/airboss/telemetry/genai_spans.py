"""What a span says of a model call, in whichever conventions it was written. Pure.

Read are OpenTelemetry's GenAI conventions from 1.27 to those of today, OpenInference, OpenLLMetry
(Traceloop) in its older and its present form, and what SDKs write in words of their own (`genai_sdks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from airboss.config.tiers import tier_named
from airboss.domain.record import AttemptUsage
from airboss.domain.request import Operation
from airboss.store.span_messages import parameters as asked_with
from airboss.store.usage import LABEL_CHARS_MAX
from airboss.telemetry.genai_kinds import SpanKind
from airboss.telemetry.genai_messages import (
    DETAILS,
    Message,
    from_json,
    numbered,
    of_events,
    of_parts,
    system,
    text_of,
    tools,
)
from airboss.telemetry.genai_sdks import LANGFUSE, finish_reason, known
from airboss.telemetry.otlp_read import RawSpan

NAME_CHARS_MAX: Final = 256
TOKENS_MAX: Final = 2**53
TAGS_MAX: Final = 32

Kept = Callable[[str, int], str]
"""Makes of a text what may be kept of it, of so many characters at most. A half of a secret looks like none:
what cuts a text has to look for them first."""

_PROPERTIES: Final = "traceloop.association.properties."
_TAGGED: Final = (
    _PROPERTIES,
    "ai.telemetry.metadata.",
    "ai.settings.context.",
    "langfuse.trace.metadata.",
    "mlflow.traceTag.",
)
"""What begins names that apps make up."""
_LISTED: Final = ("langfuse.trace.tags", "tag.tags", "ai.telemetry.metadata.tags", "ai.settings.context.tags")
"""Tags that are words alone."""
_USER: Final = (
    *("user.id", "enduser.id", "gen_ai.user", "llm.user", "langfuse.user.id", "mlflow.trace.user"),
    *(f"{begins}{name}" for begins in _TAGGED[:3] for name in ("user_id", "userId")),
)
_SESSION: Final = (
    *("gen_ai.conversation.id", "session.id", "langfuse.session.id", "mlflow.trace.session"),
    *(
        f"{begins}{name}"
        for begins in _TAGGED[:3]
        for name in ("session_id", "sessionId", "conversation_id", "thread_id", "threadId")
    ),
)
_MODELS: Final = (
    *("gen_ai.request.model", "gen_ai.response.model", "llm.request.model_name", "llm.response.model_name"),
    *("llm.model_name", "embedding.model_name", "llm.request.model"),
)
_INPUT: Final = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
    "llm.usage.prompt_tokens",
    "ai.usage.inputTokens",
    "ai.usage.promptTokens",
    "ai.usage.tokens",
)
_OUTPUT: Final = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
    "llm.usage.completion_tokens",
    "ai.usage.outputTokens",
    "ai.usage.completionTokens",
)
_CACHED: Final = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "llm.token_count.prompt_details.cache_read",
    "ai.usage.inputTokenDetails.cacheReadTokens",
    "ai.usage.cachedInputTokens",
)
_WRITTEN: Final = (
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "llm.token_count.prompt_details.cache_write",
    "ai.usage.inputTokenDetails.cacheWriteTokens",
)
_REASONING: Final = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
    "ai.usage.outputTokenDetails.reasoningTokens",
    "ai.usage.reasoningTokens",
)
_TIERS: Final = ("openai.response.service_tier", "gen_ai.openai.response.service_tier")
_ENDED: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Why an answer of Anthropic's ended, in OpenAI's words."""
CHUNKS: Final = (
    *("First Token Stream Event", "gen_ai.content.completion.chunk", "llm.content.completion.chunk"),
    *("mlflow.chunk.item.", "ai.stream.firstChunk"),
)
"""How events begin that say no more than that a piece of a stream came, the first or each."""


class ModelCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a model, as far as its span tells. `input_tokens` includes those of the cache.

    `models` are the names that a price may stand under, the likeliest first; `request` and `response` are as
    OpenAI's dialect has them. `address` is where it went, as host and port, and `answer_id` what
    its provider has called the answer, if that is told; `tier` is of service, "" for the usual one.
    """

    operation: Operation
    models: tuple[str, ...]
    provider: str
    stream: bool
    error_type: str | None
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cached_input_tokens: int | None
    written_input_tokens: int
    reasoning_tokens: int | None
    cost_usd: float | None
    ttft_ms: float | None
    output_chars: int
    address: str | None
    answer_id: str | None
    tier: str
    request: bytes | None
    response: bytes | None

    @property
    def silent(self) -> bool:
        """Whether a chat's span says nothing of what was said."""
        return self.operation == "chat" and self.request is None and self.response is None

    def usage(self) -> AttemptUsage | None:
        """What it used; None where that is not told."""
        if self.input_tokens is None and self.output_tokens is None:
            return None
        return AttemptUsage(
            input_tokens=self.input_tokens or 0,
            output_tokens=self.output_tokens or 0,
            cached_input_tokens=self.cached_input_tokens or 0,
            cache_write_tokens=self.written_input_tokens,
            reasoning_tokens=self.reasoning_tokens or 0,
        )


def beginning(text: str, most: int) -> str:
    """Where all may be kept: so many characters of a text."""
    return text[:most]


def user_of(attributes: Mapping[str, Any]) -> str | None:
    """The user that a span names."""
    return _first_name(attributes, _USER)


def session_of(attributes: Mapping[str, Any]) -> str | None:
    """The session or conversation that a span names."""
    return _first_name(attributes, _SESSION)


def tags_of(attributes: Mapping[str, Any], kept: Kept = beginning) -> dict[str, str]:
    """What a span is tagged with, by an SDK's names for what apps make up, and OpenInference's metadata; a
    tag that is a word alone has the value `true`."""
    words = [each for name in _LISTED for each in _words(attributes.get(name))]
    given = dict.fromkeys(words, "true")
    apart = {*_LISTED, *_USER, *_SESSION}
    for name, value in attributes.items():
        begins = next((each for each in _TAGGED if name.startswith(each)), None)
        if begins is not None and (name not in apart or begins == _PROPERTIES):
            given[name.removeprefix(begins)] = value if begins == _PROPERTIES else from_json(value)
    metadata = from_json(attributes.get("metadata"))
    if isinstance(metadata, Mapping):
        given |= metadata
    tags = list(given.items())[:TAGS_MAX]
    return {kept(str(name), 64): kept(text_of(value), NAME_CHARS_MAX) for name, value in tags}


def _words(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str) and each] if isinstance(value, list) else []


def error_of(span: RawSpan, kept: Kept = beginning) -> str | None:
    """What kind of error a span ended with; None if it did not."""
    named = span.attributes.get("error.type") or None
    failed = span.status == 2 or span.attributes.get(f"{LANGFUSE}level") == "ERROR"
    if not failed and named is None:
        return None
    if named is None:
        thrown = [each.attributes.get("exception.type") for each in span.events if each.name == "exception"]
        named = next((each for each in thrown if each), "error")
    return kept(text_of(named), NAME_CHARS_MAX)


def call_of(span: RawSpan, kind: SpanKind, kept: Kept = beginning) -> ModelCall:
    """The call that a span of kind `llm` or `embedding` tells of; its names are as `kept` has them."""
    given = known(span)
    parameters = from_json(
        given.get("llm.invocation_parameters", given.get("embedding.invocation_parameters"))
    )
    parameters = dict(parameters) if isinstance(parameters, Mapping) else {}
    models = dict.fromkeys(kept(text_of(given[name]), NAME_CHARS_MAX) for name in _MODELS if given.get(name))
    asked, said = _whole(given.get("input.value")), _whole(given.get("output.value"))
    operation = _operation(given, kind, asked)
    request, response = _content(span, given, operation, next(iter(models), ""), parameters)
    if not models and isinstance(asked.get("model"), str) and asked["model"]:
        models = {kept(asked["model"], NAME_CHARS_MAX): None}  # all that some say of a call that failed
    answered = [text_of(each.get("content")) for each in response]
    input_tokens, cached = _tokens(given, _INPUT), _tokens(given, _CACHED)
    if cached is not None and input_tokens is not None and cached > input_tokens:
        input_tokens += cached  # written by one who leaves the cache out of the input
    ttft_ms = _ttft_ms(span, given)
    stream = given.get(
        "gen_ai.request.stream", given.get("gen_ai.is_streaming", given.get("llm.is_streaming"))
    )
    stream = parameters.get("stream", ttft_ms is not None) if stream is None else stream
    return ModelCall(
        operation=operation,
        models=tuple(models) or ("unknown",),
        provider=_provider(given, kept),
        stream=text_of(stream).lower() in {"true", "1"},
        error_type=error_of(span, kept),
        finish_reason=_finish(given, response, said, kept),
        input_tokens=input_tokens,
        output_tokens=_tokens(given, _OUTPUT),
        cached_input_tokens=cached,
        written_input_tokens=_tokens(given, _WRITTEN) or 0,
        reasoning_tokens=_tokens(given, _REASONING),
        cost_usd=_cost(given),
        ttft_ms=ttft_ms,
        output_chars=sum(map(len, answered)),
        address=_address(given),
        answer_id=_answer_id(given, said),
        tier=tier_named(*(given.get(name) for name in _TIERS)),
        request=request,
        response=_written_answer(given, operation, response, said),
    )


def _whole(value: Any) -> Mapping[str, Any]:
    """A request or an answer that was written whole, as its provider has it; empty where it was not."""
    read = from_json(value) if isinstance(value, str) and value.lstrip()[:1] == "{" else None
    return read if isinstance(read, Mapping) else {}


def _operation(given: Mapping[str, Any], kind: SpanKind, asked: Mapping[str, Any]) -> Operation:
    if kind == "embedding":
        return "embeddings"
    if (
        given.get("gen_ai.operation.name") == "text_completion"
        or given.get("llm.request.type") == "completion"
        or ("prompt" in asked and "messages" not in asked and "input" not in asked)
    ):
        return "text_completion"
    return "chat"


def _content(
    span: RawSpan, given: Mapping[str, Any], operation: Operation, model: str, parameters: dict[str, Any]
) -> tuple[bytes | None, list[Message]]:
    """The request as JSON, None where nothing of it was written; and the messages of the answer."""
    asked_in_events, answered = of_events([(each.name, each.attributes) for each in span.events])
    for each in span.events:
        if each.name == DETAILS:
            given = {**each.attributes, **given}
    asked = (
        [
            *system(given.get("gen_ai.system_instructions")),
            *of_parts(given.get("gen_ai.input.messages")),
        ]
        or numbered(given, "gen_ai.prompt.")
        or numbered(given, "llm.input_messages.")
        or asked_in_events
    )
    answered = (
        of_parts(given.get("gen_ai.output.messages"))
        or numbered(given, "gen_ai.completion.")
        or numbered(given, "llm.output_messages.")
        or answered
    )
    whole = given.get("input.value")
    answered = answered or _said_in(_whole(given.get("output.value")))
    if "model" in _whole(whole):
        return text_of(whole).encode(), answered
    if not asked and isinstance(whole, str):
        asked = [{"role": "user", "content": whole}]
    if not answered and isinstance(given.get("output.value"), str):
        answered = [{"role": "assistant", "content": given["output.value"]}]
    if not asked:
        return None, answered
    request: dict[str, Any] = {"model": model, **asked_with(given), **parameters}
    if operation == "embeddings":
        request["input"] = [text_of(each.get("content")) for each in asked]
    elif operation == "text_completion":
        request["prompt"] = "\n".join(text_of(each.get("content")) for each in asked)
    else:
        request["messages"] = asked
    offered = tools(given.get("gen_ai.tool.definitions")) or [
        from_json(given[f"llm.tools.{number}.tool.json_schema"])
        for number in range(TAGS_MAX)
        if f"llm.tools.{number}.tool.json_schema" in given
    ]
    return msgspec.json.encode(request | ({"tools": offered} if offered else {})), answered


def _said_in(said: Mapping[str, Any]) -> list[Message]:
    """The messages of an answer that was written whole, as far as they say something."""
    if isinstance(said.get("choices"), list):
        choices = [each for each in said["choices"] if isinstance(each, Mapping)]
        return [
            {**each["message"], "finish_reason": each.get("finish_reason")}
            for each in choices
            if isinstance(each.get("message"), Mapping)
        ]
    is_message = said.get("type") == "message"
    parts = said.get("content") if is_message else None
    if said.get("object") == "response":
        items = [each for each in _listed(said.get("output")) if isinstance(each, Mapping)]
        parts = [part for each in items for part in _listed(each.get("content"))]
    texts = [text_of(each.get("text")) for each in _listed(parts) if isinstance(each, Mapping)]
    finish = _ENDED.get(text_of(said.get("stop_reason")))
    return [{"content": "".join(texts), "finish_reason": finish}] if texts or is_message else []


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _written_answer(
    given: Mapping[str, Any], operation: Operation, answered: list[Message], said: Mapping[str, Any]
) -> bytes | None:
    """The answer as JSON: the provider's own where that was written, else one put together. None for
    embeddings: their numbers tell a reader nothing."""
    if operation == "embeddings":
        return None
    if "choices" in said or said.get("object") == "response" or said.get("type") == "message":
        return text_of(given["output.value"]).encode()
    if not answered:
        return None
    reasons = given.get("gen_ai.response.finish_reasons")
    reasons = reasons if isinstance(reasons, list) else []
    choices = []
    for index, each in enumerate(answered):
        reason = each.get("finish_reason") or (reasons[index] if index < len(reasons) else None)
        message = {name: value for name, value in each.items() if name != "finish_reason"}
        text = {"text": message.get("content")} if operation == "text_completion" else {"message": message}
        choices.append({"index": index, **text, "finish_reason": finish_reason(reason)})
    answer: dict[str, Any] = {"model": given.get("gen_ai.response.model"), "choices": choices}
    if given.get("gen_ai.response.id"):
        answer = {"id": given["gen_ai.response.id"], **answer}
    return msgspec.json.encode(answer)


def _finish(
    given: Mapping[str, Any], answered: list[Message], said: Mapping[str, Any], kept: Kept
) -> str | None:
    reasons = from_json(given.get("gen_ai.response.finish_reasons", given.get("llm.finish_reason")))
    first = (
        reasons[0] if isinstance(reasons, list) and reasons else reasons if isinstance(reasons, str) else None
    )
    first = first or next((each["finish_reason"] for each in answered if each.get("finish_reason")), None)
    first = first or _finish_of_response(said)
    first = finish_reason(first)
    return kept(text_of(first), NAME_CHARS_MAX) if first else None


def _finish_of_response(said: Mapping[str, Any]) -> str | None:
    """Why an answer of OpenAI's Responses ended, in the words of chat; None of any other."""
    if said.get("object") != "response":
        return None
    details, items = said.get("incomplete_details"), said.get("output")
    if isinstance(details, Mapping) and details.get("reason"):
        return {"max_output_tokens": "length"}.get(text_of(details["reason"]), text_of(details["reason"]))
    kinds = (
        [each.get("type") for each in items if isinstance(each, Mapping)] if isinstance(items, list) else []
    )
    return (
        ("tool_calls" if "function_call" in kinds else "stop") if said.get("status") == "completed" else None
    )


def _provider(given: Mapping[str, Any], kept: Kept) -> str:
    names = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
    return kept(_first_text(given, names) or "unknown", NAME_CHARS_MAX).lower()


def _address(given: Mapping[str, Any]) -> str | None:
    host, port = given.get("server.address"), given.get("server.port")
    if host:
        return f"{text_of(host)}:{text_of(port)}" if port else text_of(host)
    base = given.get("gen_ai.openai.api_base")
    return base.partition("://")[2].partition("/")[0] or None if isinstance(base, str) else None


def _answer_id(given: Mapping[str, Any], said: Mapping[str, Any]) -> str | None:
    """As `gen_ai.response.id`; some have it in the answer alone."""
    found = given.get("gen_ai.response.id", said.get("id"))
    return found if isinstance(found, str) and 0 < len(found) <= NAME_CHARS_MAX else None


def _ttft_ms(span: RawSpan, given: Mapping[str, Any]) -> float | None:
    seconds = given.get(
        "gen_ai.response.time_to_first_chunk", given.get("gen_ai.client.operation.time_to_first_chunk")
    )
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 86_400:
        return float(seconds) * 1000
    first = next((each.at_ns for each in span.events if each.name.startswith(CHUNKS)), 0)
    return (first - span.start_ns) / 1e6 if span.start_ns <= first <= span.end_ns else None


def _cost(given: Mapping[str, Any]) -> float | None:
    for name in ("gen_ai.usage.cost", "llm.cost.total"):
        value = given.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 100_000:
            return float(value)
    return None


def _first_name(given: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of these; MLflow's are JSON."""
    found = _first_text(given, names)
    found = found[1:-1] if found and found[0] == found[-1] == '"' else found
    return found[:LABEL_CHARS_MAX] if found else None


def _tokens(given: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = given.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= TOKENS_MAX:
            return value
    return None


def _first_text(given: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((text_of(given[name]) for name in names if given.get(name)), None)
