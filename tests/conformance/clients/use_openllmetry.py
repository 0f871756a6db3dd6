"""OpenLLMetry's instrumentation of OpenAI's client: `use_openllmetry.py URL KEY PROVIDER MODE`."""

from __future__ import annotations

from opentelemetry.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from traced import Wrap, run


def instrument(provider: TracerProvider) -> tuple[Wrap, Wrap]:
    """With the attributes that its SDK's decorators write."""
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    tracer = provider.get_tracer("bot")

    def kind(of: str) -> Wrap:
        return lambda name: tracer.start_as_current_span(
            f"{name}.{of}",
            attributes={
                "traceloop.span.kind": of,
                "traceloop.entity.name": name,
                "traceloop.association.properties.user_id": "ann",
            },
        )

    return kind("agent"), kind("tool")


if __name__ == "__main__":
    run("openllmetry-bot", instrument)
