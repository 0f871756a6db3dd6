"""A rollout that is set for a time, on a whole Airboss whose controller is killed before and at it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airboss.testing import FakeProvider
from tests.support.airboss import Airboss
from tests.support.wait import until

CONFIG = """
[providers.fake]
kind = "openai-compatible"
base_url = "{url}"

[models.small]
provider = "fake"
model = "up"

[releases.support]
model = "small"
prompt = "{prompt}"

[deployments.support]
release = "support"
rollout = {{ steps = [99.999] }}
preview = {{ users = ["pat"] }}
"""


def test_a_rollout_begins_at_its_time_whatever_is_killed(provider: FakeProvider, tmp_path: Path) -> None:
    """Once. It is shown until then, gives nobody anything, takes nothing from testers, and can be cancelled;
    who asked for it and that it began stand in the audit log."""
    with Airboss(tmp_path / "a", CONFIG.format(url=provider.url, prompt="Be kind.")) as airboss:

        def arm(user: str) -> str:
            return str(airboss.chat(model="support", user=user).headers["x-airboss-arm"])

        def status() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(
                airboss.verb("rollout", "status", "support", "--json").splitlines()[0]
            )
            return found

        def start(at: datetime) -> str:
            return airboss.verb("rollout", "start", "support", "--at", at.isoformat(), "--reason", "at night")

        file = airboss.root / "changed.toml"
        file.write_text(CONFIG.format(url=provider.url, prompt="Be brief."))
        airboss.verb("apply", str(file))
        assert "support: scheduled" in start(datetime.now(UTC) + timedelta(days=1))
        assert (arm("bob"), arm("pat")) == ("stable", "preview")
        airboss.verb("rollout", "abort", "support")
        assert (arm("bob"), arm("pat")) == ("stable", "preview"), "what never began took nothing from testers"
        at = datetime.now(UTC) + timedelta(seconds=8)
        start(at)
        airboss.begun_anew("controller")
        assert arm("bob") == "stable" or datetime.now(UTC) >= at
        begun = status()
        assert begun["state"] in {"scheduled", "running"}
        assert datetime.fromisoformat(begun["starts_at"]) == at
        until(lambda: datetime.now(UTC) >= at, timeout_s=60)
        airboss.begun_anew("controller")
        until(lambda: arm("bob") == "canary", timeout_s=60, every_s=0.3)
        begun = status()
        assert begun["state"] == "running"
        assert datetime.fromisoformat(begun["started_at"]) >= at
        airboss.begun_anew("controller")
        assert (status()["id"], status()["started_at"]) == (begun["id"], begun["started_at"])

        def log() -> list[dict[str, Any]]:
            return [json.loads(line) for line in airboss.verb("audit", "list", "--json").splitlines()]

        def conclusions() -> list[str]:  # a controller tells of them a moment later
            mine = [each["detail"] for each in log() if each["detail"].get("rollout") == begun["id"]]
            return [each["conclusion"] for each in mine if "conclusion" in each]

        said = [(each["action"], each["detail"].get("starts_at")) for each in log()]
        assert ("rollout.start", at.isoformat()) in said
        until(lambda: "hold" in conclusions())
        assert conclusions().count("hold") == 1
        airboss.verb("audit", "verify")
