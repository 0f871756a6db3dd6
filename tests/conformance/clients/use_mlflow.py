"""MLflow's watching of OpenAI's client, sent by its own exporter: `use_mlflow.py URL KEY PROVIDER MODE`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = f"{sys.argv[1]}/traces"
os.environ["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] = f"authorization=Bearer {sys.argv[2]}"
os.environ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/protobuf"
os.environ["OTEL_SERVICE_NAME"] = "mlflow-bot"
os.environ["MLFLOW_TRACE_PROPAGATE_TO_OTEL_CONTEXT"] = "true"

import mlflow
from mlflow.entities import SpanType
from opentelemetry.sdk.trace import TracerProvider
from traced import Wrap, run


def instrument(_: TracerProvider) -> tuple[Wrap, Wrap]:
    """By its own spans."""
    mlflow.openai.autolog()

    @contextmanager
    def agent(name: str) -> Iterator[None]:
        with mlflow.start_span(name, span_type=SpanType.AGENT) as span:
            span.set_attributes({"user.id": "ann", "session.id": "s-1"})
            yield

    return agent, lambda name: mlflow.start_span(name, span_type=SpanType.TOOL)


if __name__ == "__main__":
    run("mlflow-bot", instrument)
