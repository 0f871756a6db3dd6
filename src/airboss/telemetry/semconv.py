"""Names of OpenTelemetry's GenAI conventions (v1.41.0, development status), and ours where it has none.

Source: https://github.com/open-telemetry/semantic-conventions/blob/v1.41.0/docs/gen-ai/gen-ai-metrics.md
"""

from __future__ import annotations

OPERATION_DURATION = "gen_ai.client.operation.duration"
TIME_TO_FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 - tokens of text
OVERHEAD = "airboss.gateway.overhead"
COST = "airboss.cost"

INFERENCE_DURATION = "gen_ai.client.inference.duration"
INFERENCE_FIRST_CHUNK = "gen_ai.client.inference.time_to_first_chunk"
INFERENCE_TOKENS = "gen_ai.client.inference.operation"
INFERENCE_USAGE = "gen_ai.client.inference.usage"
"""The names that are to follow: duration, first chunk, histograms and counters of tokens."""

OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - tokens of text
DEPLOYMENT = "airboss.deployment"
STATUS = "airboss.status"

DURATION_BUCKETS_S = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    163.84,
    300.0,
)
"""The recommended ones, and two more, because long answers take longer than 82 s."""
TOKEN_BUCKETS = tuple(4**power for power in range(14))
"""The recommended ones: 1 to 67,108,864."""
OVERHEAD_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


def prometheus_name(name: str, unit: str = "") -> str:
    """The name as Prometheus writes it, its unit last."""
    return "_".join(filter(None, (name.replace(".", "_"), unit)))
