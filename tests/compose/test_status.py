"""What `airboss status` says where processes run and calls are refused all the same."""

from __future__ import annotations

import resource
from pathlib import Path

import httpx2

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss
from tests.support.wait import until

NOWHERE = "http://127.0.0.1:9"
SEGMENT_BEGINS_WITH = 256 * 1024


def test_a_gateway_that_can_record_nothing_is_told(tmp_path: Path) -> None:
    """In the first lines, with why, and with exit code 1; `/readyz`, `/metrics` and the console say so too,
    until it can again, though nobody calls meanwhile."""
    with FakeProvider() as provider, Airboss(tmp_path / "a", fake(provider.url)) as airboss:
        root = airboss.ready["base_url"].removesuffix("/v1")
        pid = airboss.pid("gateway-0")
        assert pid is not None
        large = 'fake:{"words": 1}' + "x" * 40_000
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (SEGMENT_BEGINS_WITH, resource.RLIM_INFINITY))

        def refused() -> bool:
            return airboss.chat(large, model="support").status_code == 503

        until(refused)
        until(lambda: airboss.status()["unrecordable"])
        done = run_airboss("status", cwd=airboss.root)
        said = done.stdout.splitlines()
        assert done.returncode == 1
        assert "no call is served by gateway-0: the call cannot be recorded" in said[3], done.stdout
        assert (httpx2.get(f"{root}/readyz").status_code, httpx2.get(f"{root}/healthz").status_code) == (
            503,
            200,
        )
        assert httpx2.get(f"{root}/readyz").json() == {"status": "journal unwritable"}
        assert "airboss_journal_unwritable 1.0" in httpx2.get(f"{root}/metrics").text
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        until(lambda: httpx2.get(f"{root}/readyz").status_code == 200)
        until(lambda: not airboss.status()["unrecordable"])
        until(lambda: run_airboss("status", cwd=airboss.root).returncode == 0)


def test_a_deployment_whose_only_place_is_left_alone_is_down(tmp_path: Path) -> None:
    """While its breaker is open, as the next call would be refused; `status` says why and exits with 1."""
    with Airboss(tmp_path / "a", fake(NOWHERE)) as airboss:
        assert airboss.status()["deployments"][0]["state"] == "ready"

        def down() -> str:
            airboss.chat("hi", model="support")
            (found,) = airboss.status()["deployments"]
            return found["detail"] if found["state"] == "down" else ""

        detail = until(down, timeout_s=60)
        assert detail.startswith("its breaker has opened after "), detail
        assert run_airboss("status", cwd=airboss.root).returncode == 1
