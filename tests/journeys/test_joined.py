"""Gateways of several machines on one ledger, one Valkey, one record store: nothing is lost or twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx2
import pytest

from airboss.supervisor.runfiles import read_starting, read_up
from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support import postgres
from tests.support.airboss import Airboss, run_airboss, run_up
from tests.support.files import holding
from tests.support.gateway import together
from tests.support.started import started
from tests.support.valkey import ValkeyServer, valkey_process
from tests.support.wait import hold_still, until

__all__ = ["valkey_process"]

SHORT = 'fake:{"words": 3}'


def config_of(provider: FakeProvider, valkey: ValkeyServer, folder: Path) -> str:
    """The one configuration of all machines."""
    ledger = postgres.database(folder)
    return fake(provider.url, f'[store]\nledger = "{ledger}"\ncounters = "{valkey.url}"\n')


@contextmanager
def two(provider: FakeProvider, valkey: ValkeyServer, folder: Path) -> Iterator[tuple[Airboss, Airboss]]:
    """One that leads, and one that has joined it."""
    text = config_of(provider, valkey, folder)
    with Airboss(folder / "leads", text) as leads, joined(folder / "joined", text, leads) as other:
        yield leads, other


@pytest.fixture(scope="module")
def pair(
    fake_process: FakeProvider, valkey_process: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Airboss, Airboss]]:
    """`two` for the module, which `test_who_leads_may_be_away` ends."""
    with two(fake_process, valkey_process, tmp_path_factory.mktemp("pair")) as both:
        yield both


def joined(folder: Path, text: str | None, leads: Airboss, *args: str) -> Airboss:
    """A machine beside one that leads; not started yet."""
    return Airboss(folder, text, "--join", leads.ready["console_url"], *args, env=env_of(leads))


def env_of(leads: Airboss) -> dict[str, str]:
    """What a machine that joins is told."""
    return {"AIRBOSS_ADMIN_KEY": leads.ready["admin_key"]}


def chat(at: Airboss, key: str, content: str = SHORT, **members: Any) -> httpx2.Response:
    """One call to one of them."""
    body = {"model": "support", "messages": [{"role": "user", "content": content}]} | members
    headers = {"authorization": f"Bearer {key}", "connection": "close"}
    url = f"{at.ready['base_url']}/chat/completions"
    return httpx2.post(url, json=body, headers=headers, timeout=30.0)


def all_moved(leads: Airboss) -> None:
    """Wait until all that any machine has written by now is in the record store."""
    now = datetime.now(UTC)

    def moved() -> Any:
        nodes, status = leads.api("nodes"), leads.api("status")
        if status is None or nodes is None:
            return False
        brought = nodes["nodes"] and all(
            datetime.fromisoformat(each["clear_at"]) > now for each in nodes["nodes"]
        )
        return brought and status["journal"]["unmoved_bytes"] == 0

    until(moved, timeout_s=60)


def test_what_cannot_join(fake_process: FakeProvider, valkey_process: ValkeyServer, tmp_path: Path) -> None:
    """Each refusal says what to do; a second one that leads on a ledger is one of them."""
    text = config_of(fake_process, valkey_process, tmp_path)
    early = tmp_path / "early"
    early.mkdir()
    (early / "airboss.toml").write_text(text)
    nobody = {"AIRBOSS_ADMIN_KEY": "k" * 40}
    done = run_up("--port", "0", "--join", "http://127.0.0.1:9", cwd=early, env=nobody)
    assert (done.returncode, "start the one at http://127.0.0.1:9 first" in done.stderr) == (2, True)
    with Airboss(tmp_path / "leads", text) as leads:
        url, admin = leads.ready["console_url"], leads.ready["admin_key"]

        def refused(*args: str, key: str = admin, config: str = text) -> str:
            other = Path(mkdtemp(dir=tmp_path))
            (other / "airboss.toml").write_text(config)
            env = {"AIRBOSS_ADMIN_KEY": key}
            done = run_up("--port", "0", "--console-port", "0", *args, cwd=other, env=env)
            assert done.returncode == 2, done.stderr
            return done.stderr

        with Airboss(tmp_path / "alone", fake(fake_process.url)) as alone:
            elsewhere = ("--join", alone.ready["console_url"])
            tried: dict[str, Callable[[], str]] = {
                "airboss up --join": refused,  # it would lead as well
                "AIRBOSS_ADMIN_KEY": partial(refused, "--join", url, key=""),
                "does not accept this admin key": partial(refused, "--join", url, key="k" * 40),
                "--join is": partial(refused, "--join", "nonsense"),
                "names no ledger that two machines can reach": partial(
                    refused, "--join", url, config=fake(fake_process.url)
                ),
                "works with another ledger": partial(refused, *elsewhere, key=alone.ready["admin_key"]),
            }
            for words, said in together(tried).items():
                assert words in said
        (leads.root / "airboss.toml").write_text(text.replace("[store]", '[store]\nbodies = "sealed"'))
        leads.verb("apply", "airboss.toml")
        assert "copy erase_key and bodies_key from" in refused("--join", url)


def test_a_machine_joins(pair: tuple[Airboss, Airboss]) -> None:
    """It serves the same keys, deployments and limits, its calls stand among all others, and what is changed
    is in force there a moment later."""
    leads, other = pair
    key = leads.ready["api_key"]
    assert (other.ready["api_key"], other.ready["console_url"]) == (None, leads.ready["console_url"])
    ids = [chat(each, key).headers["x-request-id"] for each in (leads, other, other)]
    limited = json.loads(leads.verb("keys", "create", "team", "--requests-per-minute", "10", "--json"))["key"]
    until(lambda: chat(other, limited).status_code == 200)
    counts = Counter(chat(each, limited).status_code for _ in range(10) for each in (leads, other))
    assert counts == {200: 9, 429: 11}
    all_moved(leads)
    found = leads.records()
    assert set(ids) < {each["id"] for each in found}
    assert len(found) == len({each["id"] for each in found}) == 3 + 10
    assert {each["key"] for each in found} == {"default", "team"}
    # Of both machines' gateways, which tell once a second.
    until(lambda: [each["attempts"] for each in leads.api("providers")["targets"]] == [13])
    leads.verb("keys", "revoke", "team")
    until(lambda: chat(other, limited).status_code == 401)
    [node] = leads.api("nodes")["nodes"]
    assert (node["base_url"], node["workers"]) == (other.ready["base_url"], 1)


def test_a_join_is_told_of_from_its_beginning(pair: tuple[Airboss, Airboss], tmp_path: Path) -> None:
    """Verbs hear that a machine is about to join, and not what one said that was killed there; one that has
    not joined has not chosen a ledger."""
    leads, other = pair
    run = tmp_path / ".airboss/run"
    run.mkdir(parents=True)
    for file in (other.root / "airboss.toml", other.data / "run/up.json"):
        shutil.copy(file, run if file.name == "up.json" else tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "airboss.cli.main", "up", "--join", url, "--port", "0"]
        with started(command, cwd=tmp_path, env={**os.environ, **env_of(leads)}) as process:
            until(lambda: read_starting(run) == process.pid)
            assert read_up(run) is None
            until((tmp_path / ".airboss/node").exists)
            process.terminate()
            assert process.wait(60) == 0
    assert read_starting(run) is None
    assert not (tmp_path / ".airboss/secrets/ledger").exists()


def test_nothing_is_lost_between_machines(pair: tuple[Airboss, Airboss]) -> None:
    """Gateways, who brings their journals, and the controller that takes them are killed under calls: each
    call that was answered has one record."""
    leads, other = pair
    key, answered, stop = leads.ready["api_key"], [], threading.Event()

    def call() -> None:
        while not stop.is_set():
            try:
                answer = chat(other, key)
            except httpx2.TransportError:
                continue
            if answer.status_code == 200:
                answered.append(answer.headers["x-request-id"])

    callers = [threading.Thread(target=call) for _ in range(4)]
    for each in callers:
        each.start()
    try:
        for at, name in (
            (other, "controller"),
            (other, "gateway-0"),
            (leads, "controller"),
            (leads, "store"),
        ):
            at.begun_anew(name)
            enough = len(answered) + 20
            until(lambda enough=enough: len(answered) > enough)  # type: ignore[misc]
    finally:  # else they would call a machine that is gone for as long as tests run
        stop.set()
        for each in callers:
            each.join()
    all_moved(leads)
    found = Counter(each["id"] for each in leads.records())
    assert set(found.values()) == {1}
    assert set(answered) <= set(found)


def test_a_person_is_forgotten_everywhere(pair: tuple[Airboss, Airboss]) -> None:
    """An erasure is pending while a machine that may have something of the person does not say that it has
    brought it; then nothing of theirs is in any file there."""
    leads, other = pair
    key, name = leads.ready["api_key"], "ann-of-the-hill"
    all_moved(leads)
    before = len(leads.records())
    assert chat(other, key, f"{SHORT} {name}", user=name).status_code == 200
    sender = other.pid("controller")
    assert sender is not None
    hold_still(sender)
    assert chat(other, key, f"{SHORT} {name}", user=name).status_code == 200
    headers = {"authorization": f"Bearer {leads.ready['admin_key']}"}
    url = f"{leads.ready['console_url']}/api/v1/erasures"
    assert httpx2.post(url, json={"user": name}, headers=headers).json()["state"] == "pending"
    told_everywhere = datetime.now(UTC) + timedelta(seconds=4)
    until(lambda: datetime.now(UTC) > told_everywhere)
    assert leads.api("status")["erasures_pending"] == 1, "it may have something of the person"
    os.kill(sender, signal.SIGCONT)
    until(lambda: leads.api("status")["erasures_pending"] == 0, timeout_s=60)
    all_moved(leads)
    assert len(leads.records()) == before + 2
    for data in (leads.data, other.data):
        assert holding(data, name.encode()) == []


def test_who_leads_may_be_away(pair: tuple[Airboss, Airboss], tmp_path: Path) -> None:
    """A machine takes leave once it has brought everything. One that joined before starts and serves without
    who leads, and what it records waits; one that never did does not. It ends the pair, and so comes last."""
    leads, other = pair
    key = leads.ready["api_key"]
    assert other.stop() == 0
    assert leads.api("nodes")["nodes"] == [], "who has brought everything takes leave"
    assert not list((other.data / "journal").iterdir())
    assert json.loads(leads.verb("audit", "verify", "--json"))["valid"]
    (tmp_path / "third").mkdir()
    shutil.copy(other.root / "airboss.toml", tmp_path / "third")
    for _ in range(2):  # a first time that failed is none
        wrong = run_up(
            "--join", "http://127.0.0.1:9", "--port", "0", cwd=tmp_path / "third", env=env_of(leads)
        )
        assert (wrong.returncode, "does not answer" in wrong.stderr) == (1, True), wrong.stderr
    leads.stop()
    with joined(other.root, None, leads) as again:  # who leads is away: calls are served all the same
        assert chat(again, key).status_code == 200
        assert "what is recorded waits here" in again.log
    waiting = list((other.data / "journal").rglob("*.seg"))
    refused = run_airboss("records", "--data-dir", str(other.data), cwd=other.root)
    assert (refused.returncode, waiting != []) == (2, True)
    assert "serves calls beside another Airboss" in refused.stderr
    assert list((other.data / "journal").rglob("*.seg")) == waiting, "it is still for the one that leads"
