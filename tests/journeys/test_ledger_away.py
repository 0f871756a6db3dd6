"""A ledger in PostgreSQL that is away while gateways and machines start."""

from __future__ import annotations

import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.journeys.test_joined import all_moved, chat, joined
from tests.support import postgres
from tests.support.airboss import Airboss, run_airboss, run_up
from tests.support.between import between
from tests.support.valkey import ValkeyServer, valkey, valkey_process
from tests.support.wait import until

__all__ = ["valkey", "valkey_process"]


def test_a_gateway_starts_from_the_plan_it_had(
    fake_process: FakeProvider, valkey: ValkeyServer, tmp_path: Path
) -> None:
    """Killed while the ledger is away it serves on, says so, and what was revoked meanwhile is refused as
    soon as the ledger is back; so does a machine that is started then."""
    with between(tmp_path) as (network, url):
        text = fake(fake_process.url, f'[store]\nledger = "{url}"\ncounters = "{valkey.url}"\n')
        with (
            Airboss(tmp_path / "leads", text) as leads,
            joined(tmp_path / "joined", text, leads) as other,
        ):
            key = leads.ready["api_key"]
            team = json.loads(leads.verb("keys", "create", "team", "--json"))["key"]
            gone = json.loads(leads.verb("keys", "create", "gone", "--json"))["key"]
            leads.verb("keys", "revoke", "gone")
            for each in (leads, other):
                until(partial(answers, each, team, 200))
                kept = each.data / "plan/last"
                assert stat.S_IMODE(kept.stat().st_mode) == 0o600
                assert not any(secret.encode() in kept.read_bytes() for secret in (key, team, gone))
            network.cut()
            for each in (leads, other):
                each.begun_anew("gateway-0")
                assert chat(each, team).status_code == 200
                assert chat(each, gone).status_code == 401
                assert metric(each, "airboss_plan_from_disk") == 1
            assert other.stop() == 0
            other.start()
            assert chat(other, team).status_code == 200
            found = leads.status()
            assert found["kept_plans"][0].startswith("gateway-0: plan 1, which the ledger had at ")
            assert "Connection refused" in found["ledger_trouble"]
            assert [each["name"] for each in found["deployments"]] == ["support"]
            network.mend()
            leads.taken_s = 5.0
            leads.verb("keys", "revoke", "team")
            for each in (leads, other):
                until(partial(answers, each, team, 401), timeout_s=each.soon_s(5))
                assert metric(each, "airboss_plan_from_disk") == 0
                assert chat(each, key).status_code == 200
            until(lambda: leads.status()["kept_plans"] == [])
            assert leads.status()["ledger_trouble"] is None
            all_moved(leads)
            assert json.loads(leads.verb("audit", "verify", "--json"))["valid"]


def test_status_is_told_while_the_ledger_hangs(fake_process: FakeProvider, tmp_path: Path) -> None:
    """Within 3 s, with what is known, whoever else waits; and what was started from disk follows after."""
    with between(tmp_path) as (network, url):
        text = fake(fake_process.url, f'[store]\nledger = "{url}"\n')
        with Airboss(tmp_path / "leads", text) as leads:
            key = leads.ready["api_key"]
            watcher = json.loads(leads.verb("keys", "create", "watcher", "--role", "viewer", "--json"))["key"]
            until(lambda: leads.status()["processes"])
            assert status_for(leads, watcher)["ledger_trouble"] is None
            network.silence()
            with ThreadPoolExecutor(20) as others:
                for _ in range(20):
                    others.submit(leads.api, "releases")
                for _ in range(3):
                    began = time.monotonic()
                    found = leads.api("status")
                    assert time.monotonic() - began < leads.soon_s(3)
                    assert found["ledger_trouble"].startswith("the ledger")
                    assert [each["name"] for each in found["deployments"]] == ["support"]
                    began = time.monotonic()
                    assert status_for(leads, watcher)["ledger_trouble"].startswith("the ledger")
                    assert time.monotonic() - began < leads.soon_s(3)
                began = time.monotonic()
                assert httpx2.get(f"{leads.ready['console_url']}/login", timeout=60).status_code == 200
                assert time.monotonic() - began < leads.soon_s(3)
                leads.begun_anew("gateway-0")
                assert chat(leads, key).status_code == 200
                assert metric(leads, "airboss_plan_from_disk") == 1
                assert 0 < metric(leads, "airboss_plan_from_disk_age_seconds") < 3600
                network.mend()
            until(lambda: leads.status()["ledger_trouble"] is None)
            until(lambda: metric(leads, "airboss_plan_from_disk") == 0)
            assert chat(leads, key).status_code == 200


def test_a_ledger_that_may_only_be_read_is_told(fake_process: FakeProvider, tmp_path: Path) -> None:
    """By `status` and `doctor`, though nobody has tried to write; calls go on."""
    url = postgres.database(tmp_path)
    name = urlsplit(url).path[1:]
    text = fake(fake_process.url, f'[store]\nledger = "{url}"\n')
    with (
        Airboss(tmp_path / "leads", text) as leads,
        psycopg.connect(postgres.server(), autocommit=True) as outside,
    ):
        outside.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        outside.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        until(lambda: "read-only" in (leads.status()["ledger_trouble"] or ""))
        assert chat(leads, leads.ready["api_key"]).status_code == 200
        done = run_airboss("status", cwd=leads.root)
        assert (done.returncode, "trouble with the ledger" in done.stdout) == (1, True), done.stdout
        done = run_airboss("doctor", "--json", cwd=leads.root)
        told = {each["name"]: each for each in map(json.loads, done.stdout.splitlines())}
        assert told["ledger"]["verdict"] == told["[store] ledger"]["verdict"] == "fail", done.stdout
        outside.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())


def test_a_start_says_what_it_waits_for(fake_process: FakeProvider, tmp_path: Path) -> None:
    """Before it gives up."""
    with between(tmp_path) as (network, url):
        network.silence()
        (tmp_path / "airboss.toml").write_text(fake(fake_process.url, f'[store]\nledger = "{url}"\n'))
        done = run_up("--port", "0", "--console-port", "0", cwd=tmp_path)
        said = done.stderr.index("waiting for the ledger postgresql://127.0.0.1")
        assert said < done.stderr.index("cannot be used")
        network.mend()


def status_for(at: Airboss, key: str) -> Any:
    """How everything stands, as who has that key is told."""
    answer = httpx2.get(
        f"{at.ready['console_url']}/api/v1/status", headers={"authorization": f"Bearer {key}"}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def answers(at: Airboss, key: str, status: int) -> bool:
    """Whether a call with that key ends so."""
    return chat(at, key).status_code == status


def metric(at: Airboss, name: str) -> float:
    """A gauge of its gateways."""
    said = httpx2.get(f"{at.ready['base_url'].removesuffix('/v1')}/metrics", timeout=60).text
    [line] = [each for each in said.splitlines() if each.startswith(f"{name} ")]
    return float(line.split()[1])
