"""Promise: on a full disk no call is served that cannot be recorded, none that was is lost, and room is
enough to go on."""

from __future__ import annotations

from pathlib import Path

import httpx2

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss
from tests.support.small_disk import fill, small_disk
from tests.support.wait import until

QUICK = 'fake:{"words": 5}'
LARGE = "x" * 40_000


def test_a_full_disk_refuses_calls_and_room_lets_them_in(provider: FakeProvider, tmp_path: Path) -> None:
    """Refused by name, before anything goes upstream; then served again, without anybody's doing."""
    with small_disk(tmp_path / "disk", 64) as disk:
        airboss = Airboss(disk / "a", fake(provider.url)).start()
        answered: list[str] = []

        def call(content: str = QUICK) -> httpx2.Response:
            answer = airboss.chat(content, model="support", user=LARGE[:200])
            if answer.status_code == 200:
                answered.append(answer.headers["x-request-id"])
            return answer

        for _ in range(20):
            assert call().status_code == 200
        ballast = fill(disk)

        def refused() -> httpx2.Response | None:
            # The journal has grown ahead of its frames: what is in that room may still be served.
            fill(disk)
            answer = call(QUICK + LARGE)
            return answer if answer.status_code == 503 else None

        answer = until(refused, timeout_s=30)
        assert answer.json()["error"]["code"] == "journal_unwritable", answer.text
        assert "free space" in answer.json()["error"]["message"]
        asked = provider.stats().requests
        for _ in range(5):
            fill(disk)
            assert call(QUICK + LARGE).status_code == 503
        assert provider.stats().requests == asked, "a call that cannot be recorded went upstream"
        assert airboss.status()["running"]
        ballast.unlink()
        until(lambda: call().status_code == 200, timeout_s=20)
        airboss.settled()
        kept = [record["id"] for record in airboss.records()]
        assert len(kept) == len(set(kept))
        assert not set(answered) - set(kept), "an answered call has no record"
        assert airboss.stop() == 0, airboss.log[-5000:]  # its log tells of the full disk, with traces
