"""An address and key that a provider's `targets` have twice are one place."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from airboss.domain.plan import Retry
from airboss.testing import FakeProvider, ScriptStep
from tests.support.gateway import Gateway, deployment


@pytest.mark.parametrize("affinity", [False, True])
def test_a_target_that_is_written_twice_answers(
    provider: FakeProvider, tmp_path: Path, *, affinity: bool
) -> None:
    """It has both shares, beside others too, and what fails there is asked elsewhere."""
    with FakeProvider(default="ok;text=Elsewhere.") as other:
        plan = deployment(provider.url, name="twice", aliases=(), retry=Retry(attempts=3))
        twice = msgspec.structs.replace(
            plan.target, base_urls=(provider.url, provider.url), weights=(3.0, 1.0), affinity=affinity
        )
        beside = msgspec.structs.replace(
            twice, base_urls=(provider.url, other.url, provider.url), weights=(4.0, 2.0, 4.0)
        )
        plans = [
            msgspec.structs.replace(plan, target=twice),
            msgspec.structs.replace(plan, name="beside", target=beside),
        ]
        with Gateway(tmp_path / "g", *plans) as gateway:
            assert [gateway.chat(model="twice").status_code for _ in range(4)] == [200] * 4
            assert [gateway.chat(f"{n}", model="beside").status_code for n in range(300)] == [200] * 300
            # Four times as many; with one of the shares it would be twice as many.
            assert provider.stats().requests > 2.5 * other.stats().requests > 0
            provider.script(ScriptStep(behaviour="503", forever=True))
            answer = gateway.chat(model="beside")
            assert answer.json()["choices"][0]["message"]["content"] == "Elsewhere."
