"""Scores said in OTLP: events `gen_ai.evaluation.result` at the spans of the calls that were judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from airboss import __version__
from airboss.domain.score import Score
from airboss.telemetry.genai_evaluations import EVENT
from airboss.telemetry.otlp_write import SCOPE, fill


def scores_request(
    scores: Sequence[tuple[Score, str]], *, resource: Mapping[str, str], content: bool
) -> bytes:
    """An `ExportLogsServiceRequest` of these scores, each with the trace of its call, in hex. `content` False
    leaves comments out."""
    request = ExportLogsServiceRequest()
    of_resource = request.resource_logs.add()
    fill(of_resource.resource.attributes, resource)
    of_scope = of_resource.scope_logs.add()
    of_scope.scope.name, of_scope.scope.version = SCOPE, __version__
    for score, trace_id in scores:
        event = of_scope.log_records.add()
        event.event_name = EVENT
        event.time_unix_nano = event.observed_time_unix_nano = int(score.at.timestamp() * 1e9)
        event.severity_number = 9  # information
        event.trace_id = bytes.fromhex(trace_id)
        event.span_id = bytes.fromhex(score.subject_id.replace("-", "")[16:])
        fill(event.attributes, attributes_of(score, content=content))
    return bytes(request.SerializeToString())


def attributes_of(score: Score, *, content: bool) -> dict[str, Any]:
    """What an event says of a score; a yes or no is a number with a label."""
    found: dict[str, Any] = {
        "gen_ai.evaluation.name": score.name,
        "airboss.score.id": score.id,
        "airboss.score.source": score.source,
        "airboss.record.id": score.subject_id,
    }
    if isinstance(score.value, str):
        found["gen_ai.evaluation.score.label"] = score.value
    elif score.value is not None:
        found["gen_ai.evaluation.score.value"] = float(score.value)
        if isinstance(score.value, bool):
            found["gen_ai.evaluation.score.label"] = "yes" if score.value else "no"
    if score.unscored is not None:
        found["error.type"] = "unscored"
    said = score.comment or score.unscored
    if content and said:
        found["gen_ai.evaluation.explanation"] = said
    return found
