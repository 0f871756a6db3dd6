"""OpenTelemetry's own instrumentation of OpenAI's client: `use_opentelemetry.py URL KEY PROVIDER MODE`.

Its settings are those of its environment, as a user would set them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util.genai.handler import TelemetryHandler
from traced import Wrap, run

DELAY_MS = 50
"""So that a call's messages go in several requests."""


def instrument(provider: TracerProvider) -> tuple[Wrap, Wrap]:
    """By the handler that its instrumentations of agents use. What is said goes by a logger, which sends the
    last of it at the program's end."""
    url, key = sys.argv[1:3]
    logs = LoggerProvider(resource=provider.resource)
    exporter = OTLPLogExporter(f"{url}/logs", headers={"authorization": f"Bearer {key}"})
    logs.add_log_record_processor(BatchLogRecordProcessor(exporter, schedule_delay_millis=DELAY_MS))
    set_logger_provider(logs)
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
