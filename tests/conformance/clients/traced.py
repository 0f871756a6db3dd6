"""What each traced program does: an agent that asks a model, calls a tool and asks again, against a provider
that it calls directly. Its spans go where it is told, through OpenTelemetry's own exporters."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import Any

import openai
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import get_current_span, set_tracer_provider

AT_ONCE = "at-once"
"""The mode in which calls that are alike are made at once."""
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather somewhere.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
Wrap = Callable[[str], AbstractContextManager[Any]]
"""A span around what is done in it, of this name."""


def fake(**behaviour: Any) -> str:
    """A message that tells the fake provider what to do."""
    return f"fake:{json.dumps(behaviour)}"


def exporter(url: str, key: str, mode: str) -> SpanExporter:
    """OTLP over HTTP: `protobuf`, `gzip` (protobuf, packed) or `json` (packed too)."""
    headers = {"authorization": f"Bearer {key}"}
    if mode == "json":
        from opentelemetry.exporter.otlp.json.http.trace_exporter import (  # noqa: PLC0415 - one client has it
            Compression as Packing,
        )
        from opentelemetry.exporter.otlp.json.http.trace_exporter import (  # noqa: PLC0415 - as above
            OTLPSpanExporter as JsonExporter,
        )

        made: SpanExporter = JsonExporter(f"{url}/traces", headers=headers, compression=Packing.GZIP)
        return made
    packing = Compression.Gzip if mode == "gzip" else Compression.NoCompression
    return OTLPSpanExporter(f"{url}/traces", headers=headers, compression=packing)


def run(service: str, instrument: Callable[[TracerProvider], tuple[Wrap, Wrap]]) -> None:
    """The program: `URL KEY PROVIDER MODE` (as `exporter`, or AT_ONCE); `PROVIDER` is `URL` where it should
    call through the gateway. `instrument` gives what wraps an agent and a tool."""
    url, key, provider_url, mode = sys.argv[1:]
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter(url, key, mode)))
    set_tracer_provider(provider)
    agent, tool = instrument(provider)
    upstream_key = key if provider_url == url else "sk-upstream"
    client = openai.OpenAI(base_url=provider_url, api_key=upstream_key, max_retries=0)
    with agent("planner"):
        trace_id = f"{get_current_span().get_span_context().trace_id:032x}"
        said = at_once(client, tool) if mode == AT_ONCE else work(client, tool)
    flushed = provider.force_flush()
    provider.shutdown()
    sys.stdout.write(json.dumps({"trace": trace_id, "flushed": flushed, **said}))


def at_once(client: openai.OpenAI, wrap: Wrap) -> Mapping[str, Any]:
    """The same embeddings again and again, several at once; a span above each is called as its record is."""
    told: list[str] = []

    def one(_: int) -> None:
        with wrap("call"):
            answer = client.embeddings.with_raw_response.create(
                model="text-embedding-3-small", input=["the same for all"]
            )
            get_current_span().update_name(answer.headers["x-request-id"])
            told.append(answer.headers["x-request-id"])

    with ThreadPoolExecutor(6) as pool:
        for each in [pool.submit(copy_context().run, one, number) for number in range(24)]:
            each.result()
    return {"records": told}


def work(client: openai.OpenAI, tool: Wrap) -> Mapping[str, Any]:
    """The agent's calls."""
    asked: list[Any] = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": fake(fault="tool-split")},
    ]
    first = client.chat.completions.create(
        model="gpt-4o-mini", messages=asked, tools=[WEATHER], temperature=0.5, max_tokens=50
    )
    message = first.choices[0].message
    calls: Any = message.tool_calls or ()
    asked.append(message.model_dump(exclude_none=True))
    for each in calls:
        with tool("weather"):
            asked.append({"role": "tool", "tool_call_id": each.id, "content": "sunny"})
    asked.append({"role": "user", "content": fake(text="Take an umbrella.")})
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=asked, stream=True, stream_options={"include_usage": True}
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    client.embeddings.create(model="text-embedding-3-small", input=["a vector please"])
    error = None
    try:
        client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": fake(fault="context-length")}]
        )
    except openai.OpenAIError as raised:
        error = type(raised).__name__
    usage = first.usage
    return {
        "ids": [first.id],
        "tokens": [usage.prompt_tokens, usage.completion_tokens] if usage else None,
        "tools": len(calls),
        "text": text,
        "error": error,
    }
