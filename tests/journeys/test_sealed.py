"""Bodies sealed: the whole system, as it is run, and what is in its files."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pytest

from airboss.testing import FakeProvider
from tests.journeys.test_governance import CONFIG
from tests.support.airboss import Airboss, run_airboss
from tests.support.files import holding
from tests.support.wait import until

USER = "ann-unmistakable-7f3a"
WORDS = "words that only ann would say"
SEALED = f'{CONFIG}\n[store]\nbodies = "sealed"\n'


@pytest.fixture
def provider() -> Any:
    """A provider that answers, with what it was asked."""
    with FakeProvider() as made:
        yield made


def respond(airboss: Airboss, said: str, **more: Any) -> dict[str, Any]:
    """A call of /v1/responses."""
    with airboss.client() as client:
        found = client.post("/responses", json={"model": "assistant", "input": said, **more})
    assert found.is_success, found.text
    answer: dict[str, Any] = found.json()
    return answer


def comment_on(airboss: Airboss, record_id: str) -> None:
    """Feedback with words."""
    body = {"record_id": record_id, "name": "helpful", "value": True, "comment": WORDS, "user": USER}
    with airboss.client() as client:
        assert client.post("/feedback", json=body).status_code == 202


def said_in(found: list[dict[str, Any]]) -> int:
    """In how many of these records the words stand."""
    return sum(WORDS in json.dumps(each["request"]) for each in found)


def test_no_file_holds_what_was_said(tmp_path: Path, provider: FakeProvider) -> None:
    """Of calls, feedback, responses that others build on and dead workers; it is read on pages and by verbs.
    A copy of the store from before a person was forgotten cannot be read any more."""
    with Airboss(tmp_path, SEALED.format(url=provider.url)) as airboss:
        made = airboss.chat(WORDS, user=USER)
        airboss.chat(WORDS, user="bob")
        first = respond(airboss, WORDS, user=USER)
        second = respond(airboss, "and on", user=USER, previous_response_id=first["id"])
        comment_on(airboss, made.headers["x-request-id"])
        gateway = airboss.pid("gateway-0")
        assert gateway is not None
        os.kill(gateway, signal.SIGKILL)
        airboss.settled()
        assert holding(airboss.data, WORDS.encode()) == []

        assert said_in(airboss.records()) == 3
        detail = airboss.api(f"records/{made.headers['x-request-id']}")
        assert detail["request"]["messages"][0]["content"] == WORDS
        third = respond(airboss, "and on", user=USER, previous_response_id=second["id"])
        assert (third["status"], WORDS in str(provider.last())) == ("completed", True)
        refused = run_airboss(
            *("records", "--search", "words", "--data-dir", str(airboss.data)), cwd=tmp_path
        )
        assert (refused.returncode, "bodies are sealed here" in refused.stderr) == (2, True)

        airboss.verb("dataset", "create", "said", "--from-records", "--user", "bob")
        parts = [
            airboss.verb("dataset", "export", "said", "--part", each) for each in ("train", "validation")
        ]
        parts.append(airboss.verb("dataset", "export", "said", "--part", "holdout", "--why", "to see it"))
        assert "".join(parts).count(WORDS) == 1
        airboss.verb("dataset", "delete", "said", "--yes")
        console = airboss.ready["console_url"].rstrip("/")
        with httpx2.Client(base_url=console, timeout=60) as browser:
            browser.post("/login", data={"key": airboss.ready["admin_key"]}, headers={"origin": console})
            page = browser.get("/records").text
        assert ("no words can be looked for" in page, "Words in bodies" in page) == (True, False)

        kept, opened = tmp_path / "kept.parquet", tmp_path / "opened.parquet"
        airboss.verb("records", "export", str(kept))
        airboss.verb("records", "export", str(opened), "--open")
        assert bodies(kept).count(WORDS) == 0
        assert bodies(opened).count(WORDS) >= 3
        for name in ("records.duckdb", "records.duckdb.wal"):
            shutil.copy(airboss.data / name, tmp_path / name)
        done = json.loads(airboss.verb("erase", "--user", USER, "--yes", "--json"))
        assert done["state"] == "done"
        assert [each["user"] for each in airboss.records() if WORDS in json.dumps(each["request"])] == ["bob"]
        assert airboss.status()["journal"]["store_up"]
        json.loads(airboss.verb("records", "import", str(kept), "--json"))
    stopped = run_airboss("records", "--json", "--data-dir", str(airboss.data), cwd=tmp_path)
    assert stopped.returncode == 0, stopped.stderr
    assert said_in([json.loads(line) for line in stopped.stdout.splitlines()]) == 1

    for name in ("records.duckdb", "records.duckdb.wal"):
        shutil.copy(tmp_path / name, airboss.data / name)
    old = run_airboss("records", "--json", "--data-dir", str(airboss.data), cwd=tmp_path)
    found = [json.loads(line) for line in old.stdout.splitlines()]
    assert said_in(found) == 1
    hers = [each for each in found if each["user"] == USER]
    assert hers
    assert all("was destroyed" in each["request"]["airboss_sealed"] for each in hers)


def bodies(file: Path) -> str:
    """All texts of a file of records."""
    with duckdb.connect() as connection:
        columns = "request, response, scores"
        return str(connection.execute(f"select {columns} from read_parquet('{file}')").fetchall())


def test_without_its_master_key_records_wait(tmp_path: Path, provider: FakeProvider) -> None:
    """Calls go on, status says what is missing, nothing is lost; with the key back they are moved."""
    with Airboss(tmp_path, SEALED.format(url=provider.url)) as airboss:
        assert airboss.chat(WORDS, user=USER).is_success
        airboss.settled()
    secret = airboss.data / "secrets" / "bodies_key"
    kept = secret.read_bytes()
    secret.unlink()
    with airboss:
        assert airboss.chat(WORDS, user="bob").is_success

        def said() -> str:
            done = run_airboss("status", "--data-dir", str(airboss.data), cwd=tmp_path)
            return " ".join(done.stdout.split())

        until(lambda: "secrets/bodies_key" in said())
        assert not secret.exists()
        doctor = run_airboss("doctor", "--data-dir", str(airboss.data), "--json", cwd=tmp_path)
        checks = [json.loads(line) for line in doctor.stdout.splitlines()]
        assert [each["verdict"] for each in checks if each["name"] == "sealed bodies"] == ["fail"]
        assert [each["request"] for each in airboss.records()] != []
        secret.write_bytes(kept)
        airboss.settled()
        assert said_in(airboss.records()) == 2
