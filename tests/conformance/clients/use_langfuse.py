"""Langfuse's SDK around OpenAI's client, with its spans sent by an exporter of OpenTelemetry's:
`use_langfuse.py URL KEY PROVIDER MODE`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import langfuse.openai  # noqa: F401 - watches every client of OpenAI's from now on
from langfuse import Langfuse, propagate_attributes
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from traced import Wrap, run


def instrument(provider: TracerProvider) -> tuple[Wrap, Wrap]:
    """By its own client."""
    client = Langfuse(
        public_key="pk",
        secret_key="sk",
        tracer_provider=provider,
        span_exporter=InMemorySpanExporter(),  # the provider's own has them already
    )

    @contextmanager
    def agent(name: str) -> Iterator[None]:
        with (
            propagate_attributes(user_id="ann", session_id="s-1", metadata={"team": "a"}),
            client.start_as_current_observation(as_type="agent", name=name),
        ):
            yield

    return agent, lambda name: client.start_as_current_observation(as_type="tool", name=name)


if __name__ == "__main__":
    run("langfuse-bot", instrument)
