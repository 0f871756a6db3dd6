"""OpenTelemetry's own instrumentation of OpenAI's client: `use_opentelemetry.py URL KEY PROVIDER MODE`.

Its settings are those of its environment, as a user would set them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util.genai.handler import TelemetryHandler
from traced import Wrap, run


def instrument(provider: TracerProvider) -> tuple[Wrap, Wrap]:
    """By the handler that its instrumentations of agents use."""
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    handler = TelemetryHandler(tracer_provider=provider)

    @contextmanager
    def agent(name: str) -> Iterator[None]:
        with handler.invoke_local_agent("openai", request_model="gpt-4o-mini") as invocation:
            invocation.agent_name = name
            invocation.conversation_id = "s-1"
            yield

    return agent, handler.tool


if __name__ == "__main__":
    run("opentelemetry-bot", instrument)
