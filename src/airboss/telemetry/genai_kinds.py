"""What a span stands for, in whichever conventions it was written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from airboss.telemetry.genai_sdks import LANGFUSE

SpanKind = Literal[
    "llm", "embedding", "agent", "tool", "chain", "retriever", "reranker", "guardrail", "evaluator", "other"
]
"""What a span stands for."""


_OPERATIONS: Final[Mapping[str, SpanKind]] = {
    "chat": "llm",
    "text_completion": "llm",
    "generate_content": "llm",
    "embeddings": "embedding",
    "execute_tool": "tool",
    "create_agent": "agent",
    "invoke_agent": "agent",
    "invoke_workflow": "chain",
    "agent_step": "chain",
    "retrieval": "retriever",
    "rerank": "reranker",
}
_REQUEST_TYPES: Final[Mapping[str, SpanKind]] = {
    "chat": "llm",
    "completion": "llm",
    "embedding": "embedding",
    "rerank": "reranker",
}
_TRACELOOP: Final[Mapping[str, SpanKind]] = {
    "workflow": "chain",
    "task": "chain",
    "agent": "agent",
    "tool": "tool",
}
_LANGFUSE: Final[Mapping[str, SpanKind]] = {
    "generation": "llm",
    "embedding": "embedding",
    "agent": "agent",
    "tool": "tool",
    "chain": "chain",
    "retriever": "retriever",
    "guardrail": "guardrail",
    "evaluator": "evaluator",
}
_MLFLOW: Final[Mapping[str, SpanKind]] = {
    "llm": "llm",
    "chat_model": "llm",
    "embedding": "embedding",
    "agent": "agent",
    "tool": "tool",
    "chain": "chain",
    "workflow": "chain",
    "task": "chain",
    "retriever": "retriever",
    "reranker": "reranker",
    "guardrail": "guardrail",
    "evaluator": "evaluator",
}
_VERCEL: Final[Mapping[str, SpanKind]] = {
    **dict.fromkeys((f"ai.{name}" for name in ("generatetext", "streamtext", "embed", "embedmany")), "chain"),
    **dict.fromkeys((f"ai.{name}" for name in ("generateobject", "streamobject", "rerank")), "chain"),
    **dict.fromkeys((f"ai.generate{what}.dogenerate" for what in ("text", "object")), "llm"),
    **dict.fromkeys((f"ai.stream{what}.dostream" for what in ("text", "object")), "llm"),
    **dict.fromkeys(("ai.embed.doembed", "ai.embedmany.doembed"), "embedding"),
    "ai.rerank.dorerank": "reranker",
    "ai.toolcall": "tool",
}


def kind_of(attributes: Mapping[str, Any]) -> SpanKind:
    """What a span stands for, by its attributes."""
    named = str(attributes.get("openinference.span.kind", "")).lower()
    if named in get_args(SpanKind):
        return next(each for each in get_args(SpanKind) if each == named)
    for name, kinds in (
        ("gen_ai.operation.name", _OPERATIONS),
        ("traceloop.span.kind", _TRACELOOP),
        ("llm.request.type", _REQUEST_TYPES),
        (f"{LANGFUSE}type", _LANGFUSE),
        ("mlflow.spanType", _MLFLOW),
        ("ai.operationId", _VERCEL),
    ):
        found = kinds.get(str(attributes.get(name, "")).lower().strip('"'))  # MLflow's names are JSON
        if found is not None:
            return found
    provider = attributes.get("gen_ai.provider.name", attributes.get("gen_ai.system"))
    if "ai.operationId" in attributes:
        return "other"
    if provider is not None and "gen_ai.request.model" in attributes and not named:
        return "other" if attributes.get("gen_ai.operation.name") else "llm"
    return "other"
