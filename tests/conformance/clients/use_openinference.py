"""OpenInference's instrumentation of OpenAI's client: `use_openinference.py URL KEY PROVIDER MODE`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from openinference.instrumentation import OITracer, TraceConfig, using_attributes
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from traced import Wrap, run


def instrument(provider: TracerProvider) -> tuple[Wrap, Wrap]:
    """By its own tracer, which knows kinds of spans."""
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    tracer = OITracer(provider.get_tracer("bot"), config=TraceConfig())

    @contextmanager
    def agent(name: str) -> Iterator[None]:
        with (
            using_attributes(user_id="ann", session_id="s-1", metadata={"team": "a"}),
            tracer.start_as_current_span(name, openinference_span_kind="agent"),
        ):
            yield

    return agent, lambda name: tracer.start_as_current_span(name, openinference_span_kind="tool")


if __name__ == "__main__":
    run("openinference-bot", instrument)
