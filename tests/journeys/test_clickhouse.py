"""A whole Airboss whose records are in ClickHouse, which is killed under load; they move out and back."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pytest

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss
from tests.support.clickhouse import PYTHON, front
from tests.support.ports import unused_port
from tests.support.wait import until

STORE = """
[store]
records = "{url}/journey"
"""


def page(airboss: Airboss, path: str) -> str:
    """A page of the console."""
    console = airboss.ready["console_url"].rstrip("/")
    with httpx2.Client(base_url=console, timeout=60) as browser:
        browser.post("/login", data={"key": airboss.ready["admin_key"]}, headers={"origin": console})
        return browser.get(path).text


def used(airboss: Airboss, *args: str, url: bool = False) -> dict[Any, int]:
    """Calls by user, as `airboss records --by user` says over the network or of a data directory."""
    where = ["--data-dir", str(airboss.data)]
    env = None
    if url:
        where = ["--url", airboss.ready["console_url"]]
        env = {"AIRBOSS_ADMIN_KEY": airboss.ready["admin_key"]}
    done = run_airboss("records", "--by", "user", "--json", *args, *where, cwd=airboss.root, env=env)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["group"][0]: row["requests"] for row in rows}


def calls_until(airboss: Airboss, stop: threading.Event, ids: list[str]) -> None:
    """Call, one call after the other; every one must be answered."""
    with airboss.client() as client:
        while not stop.is_set():
            body = {"model": "support", "user": "load", "messages": [{"role": "user", "content": "hi"}]}
            answer = client.post("/chat/completions", json=body)
            assert answer.status_code == 200, answer.text
            ids.append(answer.headers["x-request-id"])
            stop.wait(0.02)


@pytest.mark.timeout(300)
def test_records_live_in_clickhouse(provider: FakeProvider, tmp_path: Path) -> None:
    """Calls are counted and shown; ClickHouse killed under load loses and doubles none; a person is erased;
    all of it moves into a DuckDB file and back and is the same."""
    if not PYTHON.exists():
        pytest.skip("no ClickHouse engine; run scripts/setup clickhouse")
    with tempfile.TemporaryDirectory(prefix="ab-") as folder, ExitStack() as left, ExitStack() as engines:
        port = unused_port()
        url = engines.enter_context(front(Path(folder), port))
        airboss = left.enter_context(
            closing(Airboss(tmp_path / "a", fake(provider.url) + STORE.format(url=url)))
        )
        airboss.start()
        for number in range(6):
            answer = airboss.chat("a rare word: quokka", model="support", user=f"u{number % 2}")
            assert answer.status_code == 200
        airboss.settled()
        assert used(airboss) == used(airboss, url=True) == {"u0": 3, "u1": 3}
        assert "u1" in page(airboss, "/explore?group_by=user")
        assert len(airboss.records("--search", "quokka")) == 6

        ids: list[str] = []
        stop = threading.Event()
        load = threading.Thread(target=calls_until, args=(airboss, stop, ids), daemon=True)
        left.callback(stop.set)
        load.start()
        until(lambda: len(ids) > 20)
        engines.close()  # kill -9
        before = len(ids)
        until(lambda: airboss.api("status")["journal"]["store_up"] is False)
        until(lambda: len(ids) > before + 20, timeout_s=60)
        engines.enter_context(front(Path(folder), port))
        stop.set()
        load.join(60)
        airboss.settled(60)
        assert used(airboss) == {"u0": 3, "u1": 3, "load": len(ids)}
        kept = [each["id"] for each in airboss.records("--user", "load")]
        assert sorted(kept) == sorted(ids)

        said = json.loads(airboss.verb("erase", "--user", "u1", "--yes", "--json"))
        assert said["state"] == "done", said
        assert used(airboss) == {"u0": 3, "load": len(ids), None: 3}
        assert len(airboss.records("--search", "quokka")) == 3
        out = airboss.root / "usage.csv"
        airboss.verb("records", "--by", "user", "--out", str(out))
        assert len(list(csv.DictReader(io.StringIO(out.read_text())))) == 3
        airboss.verb("records", "--by", "user,model", "--out", str(out.with_suffix(".parquet")))
        with duckdb.connect() as connection:
            asked = f"select sum(requests) from '{out.with_suffix('.parquet')}'"
            rows = connection.execute(asked).fetchall()
        assert rows == [(6 + len(ids),)]

        file, again = tmp_path / "out.parquet", tmp_path / "again.parquet"
        airboss.verb("records", "export", str(file))
        everything = airboss.records()
        with Airboss(tmp_path / "b", fake(provider.url)) as other:
            other.verb("records", "import", str(file))
            assert other.records() == everything
            assert used(other) == {"u0": 3, "load": len(ids), None: 3}
            other.verb("records", "export", str(again))
        assert used(other) == {"u0": 3, "load": len(ids), None: 3}, "a stopped one says something else"
        airboss.verb("records", "import", str(again))
        assert airboss.records() == everything, "what was there already was added"
        assert airboss.stop() == 0, airboss.log[-5000:]
        assert used(airboss) == {"u0": 3, "load": len(ids), None: 3}
