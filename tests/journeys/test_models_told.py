"""What models cost and take, as a program reads it before it calls them."""

from __future__ import annotations

from pathlib import Path

from airboss.testing import FakeProvider
from tests.support.airboss import Airboss

CONFIG = """
[providers.fake]
kind = "openai-compatible"
base_url = "{url}"
models = ["nobody-knows"]

[models.small]
provider = "fake"
model = "up"
context_tokens = 128000

[models.small.price]
input_usd_per_mtok = 0.15
output_usd_per_mtok = 0.6
long_prompt = {{ over_tokens = 1000, input_usd_per_mtok = 0.3, output_usd_per_mtok = 1.2 }}

[deployments.support]
model = "small"
aliases = ["gpt-4o"]
"""


def test_prices_and_contexts_are_told_to_who_asks(provider: FakeProvider, tmp_path: Path) -> None:
    """Under each name by which it is called; what nobody knows is null."""
    with Airboss(tmp_path / "a", CONFIG.format(url=provider.url)) as airboss, airboss.client() as client:
        told = {each.pop("id"): each for each in client.get("/models?details=true").json()["data"]}
        assert told["gpt-4o"] == told["support"]
        assert told["gpt-4o"]["price"] == {
            "input_usd_per_mtok": 0.15,
            "output_usd_per_mtok": 0.6,
            "long_prompt": {"over_tokens": 1000, "input_usd_per_mtok": 0.3, "output_usd_per_mtok": 1.2},
        }
        assert told["gpt-4o"]["context_tokens"] == 128000
        assert (told["nobody-knows"]["price"], told["nobody-knows"]["context_tokens"]) == (None, None)
        assert set(client.get("/models/gpt-4o").json()) == {"id", "object", "created", "owned_by"}
