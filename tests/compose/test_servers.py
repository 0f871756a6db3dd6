"""The servers of `[store]`: told of before anything needs them, mended where they are wrong, seen where they
are away."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import httpx2
import msgspec
import pytest

from airboss.compose import servers
from airboss.compose.servers import _seen, check_servers
from airboss.config import StoreConfig
from airboss.domain.errors import SetupError
from airboss.store.ledger_open import read_url
from tests.journeys.configs import fake
from tests.support import postgres
from tests.support.airboss import Airboss, run_airboss, run_up
from tests.support.valkey import ValkeyServer
from tests.support.wait import until

NOWHERE = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize("password", ["top@s3cret", "top:s3cret", "top/s3cret", "12?s3cret", "12#s3cret"])
@pytest.mark.parametrize("of", ["ledger", "records", "counters"])
def test_a_url_that_cannot_be_read_is_not_shown(
    of: str, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password that is not escaped makes another URL of it: it is refused with how to write it, or is the
    password, and no piece of it is shown."""
    scheme = {"ledger": "postgresql", "records": "clickhouse", "counters": "valkey"}[of]
    url = f"{scheme}://user:{password}@db.example.com:1234/{'0' if of == 'counters' else 'name'}"
    monkeypatch.setenv("THE_URL", url)
    said = ""
    try:
        if of == "ledger":
            assert read_url(url).password == password
        else:
            check_servers(msgspec.convert({of: "env:THE_URL"}, StoreConfig))
    except SetupError as error:
        said = str(error)
    assert "s3cret" not in said
    assert not said or "%40" in said


def test_the_short_name_of_postgresql_is_one_too() -> None:
    """`postgres://` is what many providers hand out."""
    assert read_url("postgres://u:p@h/d").drivername == "postgresql"


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (("/ab_", "/no_"), "make it, empty, or name another"),
        (("host=", "sslmode=bogus&host="), "after `?`"),
        (("host=", "host=/nowhere"), "is the server up"),
    ],
)
def test_doctor_says_what_is_wrong_with_the_ledger(
    change: tuple[str, str], remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first start, with what to do; of the right one that it answers."""
    right = postgres.database(tmp_path)
    (tmp_path / "airboss.toml").write_text(fake(NOWHERE, '[store]\nledger = "env:LEDGER"\n'))
    for url, verdict in ((right, "ok"), (right.replace(*change), "fail"), ("", "warn")):
        monkeypatch.setenv("LEDGER", url)
        [found] = doctor(tmp_path, "[store] ledger")
        assert found["verdict"] == verdict, found
        assert verdict != "fail" or remedy in found["seen"]
    assert not (tmp_path / ".airboss").exists()


def test_doctor_does_not_wait_for_a_server_that_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than for all that there are."""
    monkeypatch.setattr(servers, "SILENT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        text = f'[store]\nrecords = "clickhouse://{at}/ab"\ncounters = "valkey://{at}/0"\n'
        (tmp_path / "airboss.toml").write_text(fake(NOWHERE, text))
        for name in ("records", "counters"):
            [found] = doctor(tmp_path, f"[store] {name}")
            assert (found["verdict"], found["seen"]) == ("fail", "the server has been silent for 0.5 s")


def test_doctor_says_what_is_wrong_with_the_counters(tmp_path: Path) -> None:
    """What the server says of a password or a database, that it is away; and that all is well."""
    (tmp_path / "server").mkdir()
    server = ValkeyServer(tmp_path / "server", "--requirepass", "right")
    try:
        for at, said in (
            (server.url, "NOAUTH"),
            (server.url.replace("//", "//:wrong@"), "WRONGPASS"),
            (server.url.replace("//", "//:right@").replace("/0", "/99"), "out of range"),
            ("valkey://127.0.0.1:9/0", "refused"),
            (server.url.replace("//", "//:right@"), "its clock agrees"),
        ):
            (tmp_path / "airboss.toml").write_text(
                fake(NOWHERE, '[store]\ncounters = "file:/URL"\n'.replace("/URL", str(tmp_path / "url")))
            )
            (tmp_path / "url").write_text(at)
            [found] = doctor(tmp_path, "[store] counters")
            assert said in found["seen"]
            assert found["verdict"] == ("ok" if "agrees" in said else "fail")
    finally:
        server.kill()


def doctor(folder: Path, name: str) -> list[dict[str, str]]:
    """What it says of one thing."""
    done = run_airboss("doctor", "--json", cwd=folder)
    return [each for each in map(json.loads, done.stdout.splitlines()) if each["name"] == name]


def test_a_clock_is_compared() -> None:
    """By as much as it is ahead or behind, beyond the time that asking took."""
    for ahead in (60.0, -60.0, 0.0):
        found = _seen("it", "url", lambda _, ahead=ahead: time.time() + ahead)  # type: ignore[misc]
        assert found.ahead_s == pytest.approx(ahead, abs=1.0)


def test_a_store_that_is_not_known_is_mended(tmp_path: Path) -> None:
    """A variable that is not set is told when it is applied and when it starts; then nothing is begun, and
    another configuration can still be applied."""
    text = fake(NOWHERE)
    wrong = text + '[store]\nrecords = "env:NO_HOUSE"\n'
    (tmp_path / "airboss.toml").write_text(wrong)
    done = run_up("--port", "0", "--console-port", "0", cwd=tmp_path)
    assert (done.returncode, "NO_HOUSE" in done.stderr) == (2, True), done.stderr
    with Airboss(tmp_path, text) as airboss:  # nothing of what was wrong is in force
        (tmp_path / "wrong.toml").write_text(wrong)
        said = run_airboss("apply", "wrong.toml", cwd=tmp_path)
        assert (said.returncode, "NO_HOUSE" in said.stdout + said.stderr) == (0, True), said
    done = run_up("--port", "0", "--console-port", "0", cwd=tmp_path)
    assert (done.returncode, "NO_HOUSE" in done.stderr) == (2, True), done.stderr
    asked = run_airboss("records", cwd=tmp_path)
    assert (asked.returncode, "NO_HOUSE" in asked.stderr) == (1, True), asked
    airboss.verb("apply", "airboss.toml")
    assert airboss.records() == []


def test_counters_that_are_away_are_seen(tmp_path: Path) -> None:
    """By `status`, which exits with 1, by `/metrics` and in the log, with why; until they are back."""
    (tmp_path / "server").mkdir()
    server = ValkeyServer(tmp_path / "server")
    try:
        server.kill()
        text = fake(NOWHERE, f'limits = {{ concurrency = 9 }}\n[store]\ncounters = "{server.url}"\n')
        with Airboss(tmp_path / "a", text) as airboss:
            until(lambda: airboss.status()["counters_away"] == 1)
            done = run_airboss("status", cwd=airboss.root)
            assert (done.returncode, "who counts limits is away" in done.stdout) == (1, True)
            metrics = httpx2.get(airboss.ready["base_url"].removesuffix("/v1") + "/metrics").text
            assert "airboss_counters_away 1" in metrics
            why = f"cannot be reached at 127.0.0.1:{server.port}: [Errno 111]"
            until(lambda: why in airboss.log)
            server.restart()
            until(lambda: airboss.status()["counters_away"] == 0)
            until(lambda: "the server that counts limits answers again" in airboss.log)
    finally:
        server.kill()
