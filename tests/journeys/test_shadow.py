"""A candidate as a shadow on a whole Airboss: it is asked what callers ask, and no caller notices."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from airboss.testing import FakeProvider
from tests.support.airboss import Airboss
from tests.support.wait import until

CONFIG = """
[providers.fake]
kind = "openai-compatible"
base_url = "{url}"

[models.good]
provider = "fake"
model = "up"

[models.bad]
provider = "fake"
model = "fake-status;status=500"

[releases.support]
model = "{model}"

[deployments.support]
release = "support"
retry = {{ attempts = 1 }}
rollout = {{ steps = [50] }}
shadow = {{ sample = 1.0, per_minute = 600 }}
scoring = {{ sample = 1.0, scorers = ["refusal"] }}
"""


def test_a_candidate_that_fails_is_seen_in_time(provider: FakeProvider, tmp_path: Path) -> None:
    """Calls are asked again of the candidate under an arm of its own, in every dialect, streamed or not; each
    caller was answered by stable; and who is forgotten is forgotten there too."""
    with Airboss(tmp_path / "a", CONFIG.format(url=provider.url, model="good")) as airboss:
        airboss.chat(model="support")
        airboss.settled()  # what is stored once the shadow is seen is asked again
        file = airboss.root / "changed.toml"
        file.write_text(CONFIG.format(url=provider.url, model="bad"))
        airboss.verb("apply", str(file))
        (standing,) = json.loads(airboss.verb("status", "--json"))["deployments"]
        candidate, stable = standing["candidate"], standing["release"]
        assert candidate not in {None, stable}
        known = {each["id"] for each in airboss.records()}
        arms: list[str] = []

        def asked(wanted: int) -> list[dict[str, Any]] | None:
            """The shadow's calls, once there are so many."""
            said = airboss.chat(model="support", user="ann", stream=len(arms) % 2 == 0)
            arms.append(said.headers["x-airboss-arm"])
            found = airboss.records("--arm", "shadow")
            return found if len(found) >= wanted else None

        # Calls from before the follower saw the shadow are not asked again: so go on until some are.
        until(lambda: asked(3), timeout_s=60, every_s=0.3)
        with airboss.client() as client:
            more = client.post("/responses", json={"model": "support", "input": "hi", "user": "ann"})
            said = {"model": "support", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
            last = client.post("/messages", json=said)
        assert set(arms) == {"stable"}
        ids = {more.headers["x-request-id"], last.headers["x-request-id"]}

        def of_all() -> list[dict[str, Any]] | None:
            found = airboss.records("--arm", "shadow")
            return found if ids <= {each["tags"]["shadow_of"] for each in found} else None

        shadows = until(of_all, every_s=0.3)
        assert shadows is not None
        assert Counter(each["tags"]["shadow_of"] for each in shadows).most_common(1)[0][1] == 1
        assert {(each["release"], each["key"], each["status"]) for each in shadows} == {
            (candidate, "airboss", "error")
        }
        assert all(each["tags"]["shadow_of"] not in known for each in shadows)
        assert {each["stream"] for each in shadows} == {True, False}

        def all_counted() -> bool:  # some of those that were asked before may come after them
            by_arm = map(json.loads, airboss.verb("records", "--by", "arm", "--json").splitlines())
            errors = {each["group"][0]: each["errors"] for each in by_arm}
            return bool(errors["shadow"] == len(airboss.records("--arm", "shadow")))

        until(all_counted)
        airboss.verb("erase", "--user", "ann", "--yes")
        left = airboss.records("--arm", "shadow")
        assert len(left) >= len(shadows)
        assert {each["user"] for each in left} == {None}
        assert all(each["request"] is None for each in left if each["tags"].get("shadow_of") not in ids)
