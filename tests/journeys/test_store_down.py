"""The record store away: calls are served, nothing is lost, and the lag is shown."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss
from tests.support.started import started
from tests.support.wait import hold_still, until


def _lag(airboss: Airboss) -> float:
    text = httpx2.get(airboss.ready["base_url"].removesuffix("/v1") + "/metrics").text
    found = re.search(r"^airboss_journal_lag_seconds (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.fixture(scope="module")
def airboss(fake_process: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airboss]:
    """One for the module, nothing recorded yet where the first test begins."""
    with Airboss(tmp_path_factory.mktemp("store") / "a", fake(fake_process.url)) as running:
        yield running


def test_two_workers_share_one_store(provider: FakeProvider, tmp_path: Path) -> None:
    """Records of two workers arrive once each, and `/metrics` of either counts both. Who asks for them as the
    last call has ended gets them all, or is told that some are under way."""
    with Airboss(tmp_path / "a", fake(provider.url), "--workers", "2") as airboss:
        ids = {airboss.chat(model="support").headers["x-request-id"] for _ in range(60)}
        asked = ("records", "--json", "--limit", "1000", "--data-dir", str(airboss.data))
        done = run_airboss(*asked, cwd=airboss.root)
        found = {json.loads(line)["id"] for line in done.stdout.splitlines()}
        assert found == ids or "may be missing here" in done.stderr
        airboss.settled()
        assert {record["id"] for record in airboss.records()} == ids

        def counted() -> bool:
            text = httpx2.get(airboss.ready["base_url"].removesuffix("/v1") + "/metrics").text
            names = ("gen_ai_client_operation_duration_seconds_count", "airboss_target_attempts_total")
            counts = [re.findall(rf"^{name}\S* (\S+)$", text, re.MULTILINE) for name in names]
            return [sum(map(float, each)) for each in counts] == [60, 60]

        until(counted, every_s=0.2)


def test_following_begins_with_the_first_record(airboss: Airboss) -> None:
    """`records --follow` on an empty store shows the first call when it comes."""
    command = [sys.executable, "-m", "airboss.cli.main", "records", "--follow", "--json"]
    with started([*command, "--data-dir", str(airboss.data)], stdout=subprocess.PIPE) as follower:
        assert follower.stdout is not None
        ids = [airboss.chat(model="support").headers["x-request-id"] for _ in range(3)]
        shown = [json.loads(follower.stdout.readline())["id"] for _ in ids]
        follower.terminate()
    assert shown == ids


def test_store_stopped_for_a_while(airboss: Airboss) -> None:
    """With the store hung, calls go on, the lag is shown, and all arrives after."""
    assert airboss.chat(model="support").status_code == 200
    airboss.settled()
    before = len(airboss.records())
    pid = until(lambda: airboss.pid("store"))
    hold_still(pid)
    try:
        ids = [airboss.chat(model="support").headers["x-request-id"] for _ in range(50)]
        until(lambda: _lag(airboss) > 3, every_s=0.3)
        journal = airboss.status()["journal"]
        assert journal["unmoved_bytes"] > 0
        assert journal["lag_s"] > 3
    finally:
        os.kill(pid, signal.SIGCONT)
    airboss.settled()
    assert {record["id"] for record in airboss.records()} >= set(ids)
    assert len(airboss.records()) == before + 50
    until(lambda: _lag(airboss) == 0, every_s=0.3)


def test_another_store_is_taken_up_at_the_next_start(
    airboss: Airboss, provider: FakeProvider, tmp_path: Path
) -> None:
    """Not by a store that happens to be started again: half of the records would be elsewhere."""
    before = len(airboss.records())
    airboss.chat(model="support")
    other = tmp_path / "other.toml"
    other.write_text(
        fake(provider.url) + '[store]\nrecords = "clickhouse://127.0.0.1:9/x"\n', encoding="utf-8"
    )
    airboss.verb("apply", str(other))
    airboss.begun_anew("store")
    airboss.chat(model="support")
    airboss.settled()
    assert len(airboss.records()) == before + 2
