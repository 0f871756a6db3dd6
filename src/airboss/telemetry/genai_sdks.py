"""Spans of SDKs with attributes of their own, said in names that are read of any: Langfuse's, MLflow's and
Vercel's AI SDK. Pure.

Each has what was asked and answered as JSON in one attribute, of which a request and an answer are made as
OpenAI's dialect has them, for `input.value` and `output.value`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from airboss.store.span_messages import parameters as asked_with
from airboss.telemetry.genai_messages import Message, from_json, tools
from airboss.telemetry.otlp_read import RawSpan

Attributes = Mapping[str, Any]
Found = dict[str, Any]

LANGFUSE: Final = "langfuse.observation."
_ROLES: Final = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}
"""Roles as LangChain has them."""
_WHOLE: Final = frozenset({"messages", "input", "prompt"})
_ITEMS: Final = frozenset({"message", "function_call", "reasoning"})
"""Items of an answer of OpenAI's Responses."""
_BLOCKS: Final = frozenset({"text", "tool_use", "thinking"})
"""Blocks of an answer of Anthropic's Messages."""
_ENDED: Final = {
    "tool_call": "tool_calls",
    "tool-calls": "tool_calls",
    "content-filter": "content_filter",
    "completed": "stop",
}
"""Why an answer ended in OpenTelemetry's words, Vercel's and Responses', in OpenAI's."""
_VENDORS: Final = (
    ("google.vertex", "gcp.vertex_ai"),
    ("google-vertex", "gcp.vertex_ai"),
    ("google", "gcp.gemini"),
    ("amazon-bedrock", "aws.bedrock"),
    ("bedrock", "aws.bedrock"),
    ("azure-openai", "azure.ai.openai"),
    ("azure", "azure.ai.inference"),
    ("mistral", "mistral_ai"),
    ("xai", "x_ai"),
)
"""What Vercel's providers are called by OpenTelemetry; others by what is before the first dot."""


def known(span: RawSpan) -> Attributes:
    """The attributes of a span, and what an SDK says in others under names that are read of any."""
    given = span.attributes
    if f"{LANGFUSE}type" in given:
        found = _langfuse(given, span.start_ns)
    elif "mlflow.spanType" in given:
        found = _mlflow(given)
    elif not {"ai.operationId", "ai.values", "ai.value"}.isdisjoint(given):
        found = _vercel(given)
    else:
        return given
    return {**given, **{name: value for name, value in found.items() if value is not None}}


# -- Langfuse


def _langfuse(given: Attributes, start_ns: int) -> Found:
    model = given.get(f"{LANGFUSE}model.name")
    usage = from_json(given.get(f"{LANGFUSE}usage_details"))
    costs = from_json(given.get(f"{LANGFUSE}cost_details"))
    return {
        "gen_ai.request.model": model,
        **(_buckets(usage) if isinstance(usage, Mapping) else {}),
        "gen_ai.usage.cost": _total(costs) if isinstance(costs, Mapping) and usage else None,
        "gen_ai.response.time_to_first_chunk": _after(
            start_ns, from_json(given.get(f"{LANGFUSE}completion_start_time"))
        ),
        "gen_ai.response.finish_reasons": from_json(given.get(f"{LANGFUSE}metadata.finish_reason")),
        **_said(
            model,
            given.get(f"{LANGFUSE}input"),
            given.get(f"{LANGFUSE}output"),
            parameters=from_json(given.get(f"{LANGFUSE}model.parameters")),
            embedding=given.get(f"{LANGFUSE}type") == "embedding",
        ),
    }


def _buckets(usage: Attributes) -> Found:
    """Tokens by whatever keys: a provider's own, whose details are parts of the sum, or Langfuse's, which are
    beside each other, as Anthropic's are."""
    counts = {name: value for name, value in usage.items() if isinstance(value, int) and value >= 0}
    inclusive = "prompt_tokens" in usage or any(name.endswith("_details") for name in usage)
    if inclusive:
        return _counted(usage)
    asked = {name: value for name, value in counts.items() if _of_input(name)}
    said = {name: value for name, value in counts.items() if name not in asked and "output" in name}
    return {
        "gen_ai.usage.input_tokens": sum(asked.values()) if asked else None,
        "gen_ai.usage.output_tokens": sum(said.values()) if said else None,
        "gen_ai.usage.cache_read.input_tokens": sum(
            value for name, value in asked.items() if "cache" in name and not _written(name)
        ),
        "gen_ai.usage.cache_write.input_tokens": sum(
            value
            for name, value in asked.items()
            if _written(name) and not name.startswith("cache_creation_e")
        ),
        "gen_ai.usage.reasoning.output_tokens": sum(
            value for name, value in said.items() if "reasoning" in name
        ),
    }


def _of_input(name: str) -> bool:
    """Whether tokens under this name were asked; `cache_creation_ephemeral_…` are parts of others."""
    return ("input" in name or "cache" in name) and not name.startswith("cache_creation_ephemeral")


def _written(name: str) -> bool:
    return "creation" in name or "write" in name


def _counted(usage: Attributes) -> Found:
    """Tokens as OpenAI's dialects tell them."""
    asked = usage.get("prompt_tokens_details", usage.get("input_tokens_details"))
    said = usage.get("completion_tokens_details", usage.get("output_tokens_details"))
    return {
        "gen_ai.usage.input_tokens": usage.get("prompt_tokens", usage.get("input_tokens")),
        "gen_ai.usage.output_tokens": usage.get("completion_tokens", usage.get("output_tokens")),
        "gen_ai.usage.cache_read.input_tokens": asked.get("cached_tokens")
        if isinstance(asked, Mapping)
        else usage.get("cache_read_input_tokens"),
        "gen_ai.usage.cache_write.input_tokens": usage.get("cache_creation_input_tokens"),
        "gen_ai.usage.reasoning.output_tokens": said.get("reasoning_tokens")
        if isinstance(said, Mapping)
        else None,
    }


def _total(costs: Attributes) -> Any:
    if "total" in costs:
        return costs["total"]
    parts = [value for value in costs.values() if isinstance(value, int | float)]
    return sum(parts) if parts else None


def _after(start_ns: int, moment: Any) -> float | None:
    """How many seconds after that this is, a time as text."""
    if not isinstance(moment, str):
        return None
    try:
        return datetime.fromisoformat(moment).timestamp() - start_ns / 1e9
    except (ValueError, OverflowError):
        return None


# -- MLflow


def _mlflow(given: Attributes) -> Found:
    """Its values are all JSON, those of names too."""
    plain = {
        name: from_json(value)
        for name, value in given.items()
        if name.startswith(("mlflow.llm.", "mlflow.chat.tokenUsage", "mlflow.message."))
    }
    usage = plain.get("mlflow.chat.tokenUsage")
    cost = plain.get("mlflow.llm.cost")
    asked, said = given.get("mlflow.spanInputs"), given.get("mlflow.spanOutputs")
    if not isinstance(usage, Mapping):
        whole = from_json(said)
        usage = whole.get("usage") if isinstance(whole, Mapping) else None
    spoken = plain.get("mlflow.message.format")
    return {
        "gen_ai.request.model": plain.get("mlflow.llm.model"),
        "gen_ai.provider.name": plain.get("mlflow.llm.provider")
        or (spoken if spoken in ("openai", "anthropic", "gemini") else None),
        **(_counted(usage) if isinstance(usage, Mapping) else {}),
        "gen_ai.usage.cost": cost.get("total_cost") if isinstance(cost, Mapping) else None,
        **_said(
            plain.get("mlflow.llm.model"),
            asked,
            said,
            embedding=from_json(given["mlflow.spanType"]) == "EMBEDDING",
        ),
    }


# -- what both write whole


def _said(model: Any, asked: Any, answered: Any, *, parameters: Any = None, embedding: bool = False) -> Found:
    """`input.value` and `output.value` of what was asked and answered, JSON in whatever form."""
    given = {} if not isinstance(parameters, Mapping) else parameters
    with_them = {
        name: value for name, value in given.items() if value != "Infinity"
    }  # as Langfuse has no limit
    body = {"model": model if isinstance(model, str) else "", **with_them}
    said = _answer(from_json(answered), body["model"]) if answered is not None and not embedding else None
    what = from_json(asked)
    if isinstance(what, Mapping) and isinstance(what.get("model"), str):
        pass
    elif isinstance(what, Mapping) and _WHOLE & what.keys():
        what = body | dict(what)
    elif what is not None and (embedding or (said is not None and said.get("object") == "response")):
        what = body | {"input": what}
    elif what is not None:
        what = body | {"messages": _messages(what)}
    return {
        "input.value": _text(what) if what is not None else None,
        "output.value": _text(said) if said is not None else None,
    }


def _messages(said: Any) -> list[Message]:
    """What was asked as messages of chat."""
    listed = said if isinstance(said, list) else [said]
    if len(listed) == 1 and isinstance(listed[0], list):  # LangChain's, in batches of one
        listed = listed[0]
    return [_message(each, "user") for each in listed]


def _message(said: Any, role: str) -> Message:
    if not isinstance(said, Mapping) or not ({"role", "content", "tool_calls"} & said.keys()):
        return {"role": role, "content": said if isinstance(said, str) else _text(said)}
    named = said.get("role") or _ROLES.get(str(said.get("type")))
    message = {name: value for name, value in said.items() if name not in {"role", "type"}}
    return {"role": named if isinstance(named, str) else role, **message}


def _answer(said: Any, model: str) -> Found:
    """An answer whole, as its provider has it, else put together as chat's."""
    if isinstance(said, Mapping) and _is_whole(said):
        return dict(said)
    if isinstance(said, Mapping) and isinstance(said.get("generations"), list):  # LangChain's
        said = said["generations"]
        while isinstance(said, list) and said:
            said = said[0]
        said = said.get("message") or said.get("text") if isinstance(said, Mapping) else said
    items = said if isinstance(said, list) else [said]
    kinds = {str(each.get("type")) if isinstance(each, Mapping) else "" for each in items}
    if items and kinds <= _ITEMS and "id" in items[0]:
        return {"object": "response", "model": model, "status": "completed", "output": items}
    if items and kinds <= _BLOCKS:
        return {"type": "message", "role": "assistant", "model": model, "content": items}
    message = _message(said, "assistant")
    reason = message.pop("finish_reason", None) or ("tool_calls" if message.get("tool_calls") else None)
    return {"model": model, "choices": [{"index": 0, "message": message, "finish_reason": reason}]}


def _is_whole(said: Attributes) -> bool:
    return (
        isinstance(said.get("choices"), list)
        or said.get("object") == "response"
        or (said.get("type") == "message" and "stop_reason" in said)
    )


# -- Vercel's AI SDK


def _vercel(given: Attributes) -> Found:
    """Of a call of a model; those above it have the same in words that are not read."""
    model = given.get("ai.model.id", given.get("gen_ai.request.model"))
    asked = from_json(given.get("ai.prompt.messages"))
    values = given.get("ai.values", [given["ai.value"]] if "ai.value" in given else None)
    whole: Found = {"model": model, **asked_with(given)}
    if isinstance(asked, list):
        whole["messages"] = [turn for each in asked if isinstance(each, Mapping) for turn in _turns(each)]
    elif isinstance(values, list):
        whole["input"] = [from_json(each) for each in values]
    offered = tools(given.get("ai.prompt.tools"))
    first = given.get("ai.response.msToFirstChunk")
    return {
        "gen_ai.request.model": model,
        "gen_ai.provider.name": _vendor(given.get("ai.model.provider")),
        "gen_ai.request.stream": str(given.get("ai.operationId")).endswith(".doStream"),
        "gen_ai.response.time_to_first_chunk": first / 1000 if isinstance(first, int | float) else None,
        "input.value": _text(whole | ({"tools": offered} if offered else {}))
        if "messages" in whole or "input" in whole
        else None,
        "output.value": _vercel_answer(given),
    }


def _vendor(named: Any) -> str | None:
    if not isinstance(named, str):
        return None
    found = next((vendor for begins, vendor in _VENDORS if named.lower().startswith(begins)), None)
    return found or named.partition(".")[0]


def _vercel_answer(given: Attributes) -> str | None:
    text = given.get("ai.response.text", given.get("ai.response.object"))
    calls = from_json(given.get("ai.response.toolCalls"))
    called = [_call(each) for each in calls if isinstance(each, Mapping)] if isinstance(calls, list) else []
    if text is None and not called:
        return None
    message: Message = {"role": "assistant", "content": text}
    thought = given.get("ai.response.reasoning")
    message |= {"reasoning_content": thought} if thought else {}
    message |= {"tool_calls": called} if called else {}
    reason = given.get("ai.response.finishReason")
    return _text(
        {
            "id": given.get("ai.response.id"),
            "model": given.get("ai.response.model"),
            "choices": [
                {"index": 0, "message": message, "finish_reason": finish_reason(reason) if reason else None}
            ],
        }
    )


def finish_reason(said: Any) -> Any:
    """Why an answer ended, in OpenAI's words where an SDK or OpenTelemetry has others."""
    if not isinstance(said, str):
        return said
    return _ENDED.get(said, said)


def _turns(given: Attributes) -> list[Message]:
    """What one message of the AI SDK is in chat: results of tools are messages of their own."""
    role, content = given.get("role"), given.get("content")
    if not isinstance(content, list):
        return [{"role": role, "content": content}]
    texts: list[str] = []
    calls: list[Found] = []
    results: list[Message] = []
    for part in content:
        if not isinstance(part, Mapping):
            continue
        match part.get("type"):
            case "text":
                texts.append(str(part.get("text")))
            case "tool-call":
                calls.append(_call(part))
            case "tool-result":
                results.append(_result(part))
            case "reasoning":
                pass
            case other:
                texts.append(f"[{other}]")
    if results and not (texts or calls):
        return results
    message: Message = {"role": role, "content": "\n".join(texts) or None}
    return [message | ({"tool_calls": calls} if calls else {}), *results]


def _result(part: Attributes) -> Message:
    said = part.get("output", part.get("result"))
    if isinstance(said, Mapping) and "value" in said:
        said = said["value"]
    text = said if isinstance(said, str) else _text(said)
    return {"role": "tool", "tool_call_id": part.get("toolCallId"), "content": text}


def _call(given: Attributes) -> Found:
    said = given.get("input", given.get("args"))
    function = {"name": given.get("toolName"), "arguments": said if isinstance(said, str) else _text(said)}
    return {"id": given.get("toolCallId"), "type": "function", "function": function}


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
