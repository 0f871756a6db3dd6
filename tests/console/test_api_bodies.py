"""Lists of records with their bodies: how long a page is, and what it asks of the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from airboss.console import api
from airboss.domain.ports import RecordFilter
from airboss.domain.record import InferenceRecord
from airboss.store.memory import MemoryRecordLog
from tests.console.site import NOW, Site, put, sample
from tests.console.test_api import ids


def test_pages_with_bodies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page with bodies ends early when it grows long, and `next` leads on without a gap."""
    monkeypatch.setattr(api, "BODIES_BYTES_MAX", 40_000)
    monkeypatch.setattr(api, "SHORT_BYTES", 1_000)
    log = MemoryRecordLog()
    records = [
        sample(id=f"id-{n:02}", started_at=NOW - timedelta(seconds=60 - n), request={"input": "x" * 3_000})
        for n in range(30)
    ]
    put(log, *records)
    program = Site(log=log).program()
    first = program.get("/api/v1/records?bodies=true&limit=30")
    assert 12 <= len(ids(first)) < 30
    assert len(first.content) < 100_000
    rest = program.get(f"/api/v1/records?bodies=true&limit=30&before={first.json()['next']}")
    seen = ids(first) + ids(rest)
    while rest.json()["next"]:
        rest = program.get(f"/api/v1/records?bodies=true&limit=30&before={rest.json()['next']}")
        seen += ids(rest)
    assert seen == [f"id-{n:02}" for n in reversed(range(30))]
    assert first.json()["records"][0]["request"] == {"input": "x" * 3_000}


def test_a_page_that_takes_long_ends_early(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    """With what a log that is slow has given by then; `next` leads on."""
    monkeypatch.setattr(api, "BODIES_S", 0.0)
    program = site.program()
    first = program.get("/api/v1/records?bodies=true&limit=40").json()
    assert len(first["records"]) == api.BODIES_SLICE
    assert first["next"] == first["records"][-1]["id"]


def test_short_bodies_take_few_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs the log as much as hundreds of records do; of long ones as few as ever come at once."""
    log = MemoryRecordLog()
    put(
        log,
        *(
            sample(id=f"id-{n:04}", started_at=NOW + timedelta(seconds=n), request={"input": "x" * 8_000})
            for n in range(1_000)
        ),
    )
    asked: list[int] = []
    read = log.records

    def counted(where: RecordFilter, *, limit: int, bodies: bool) -> Sequence[InferenceRecord]:
        found = read(where, limit=limit, bodies=bodies)
        asked.append(len(found))
        return found

    monkeypatch.setattr(log, "records", counted)
    program = Site(log=log).program()
    assert len(ids(program.get("/api/v1/records?bodies=true&limit=1000"))) == 1_000
    assert len(asked) <= 8, asked
    asked.clear()
    monkeypatch.setattr(api, "SHORT_BYTES", 100_000)
    assert len(ids(program.get("/api/v1/records?bodies=true&limit=100"))) == 100
    assert max(asked) <= 12, asked


def test_sorted_records_have_bodies_up_to_the_limit(site: Site) -> None:
    """As many as without bodies, in the same order: such a list has no next page."""
    program = site.program()
    bare = program.get("/api/v1/records?sort=slowest&limit=40")
    whole = program.get("/api/v1/records?sort=slowest&limit=40&bodies=true")
    assert ids(whole) == ids(bare)
    assert len(ids(whole)) == 40
    assert any(each["request"] for each in whole.json()["records"])


def test_sorted_records_with_bodies_are_whole_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are too long together, how many fit is told, and these come."""
    monkeypatch.setattr(api, "BODIES_BYTES_MAX", 3 * 1024**2)
    log = MemoryRecordLog()
    body = {"input": "x" * 1024**2}
    put(log, *(sample(id=f"id-{n}", started_at=NOW, latency_ms=n, request=body) for n in range(5)))
    program = Site(log=log).program()
    asked = "/api/v1/records?sort=slowest&bodies=true"
    refused = program.get(f"{asked}&limit=4")
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, "limit")
    assert "these 4 records are more than 3 MiB" in error["message"]
    assert "limit=3 " in error["message"]
    assert ids(program.get(f"{asked}&limit=3")) == ["id-4", "id-3", "id-2"]
    monkeypatch.setattr(api, "BODIES_BYTES_MAX", 1024)
    assert ids(program.get(f"{asked}&limit=1")) == ["id-4"]


def test_a_sorted_list_that_the_store_ended_is_not_said_to_be_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused as well, and for why it is: it took too long to read."""
    log = MemoryRecordLog()
    put(log, *(sample(id=f"id-{n}", started_at=NOW, latency_ms=n, request={"input": "x"}) for n in range(5)))
    read = log.records

    def ended(where: RecordFilter, *, limit: int, bodies: bool) -> Sequence[InferenceRecord]:
        return read(where, limit=min(limit, 2) if bodies else limit, bodies=bodies)

    monkeypatch.setattr(log, "records", ended)
    refused = Site(log=log).program().get("/api/v1/records?sort=slowest&bodies=true&limit=4")
    message = refused.json()["error"]["message"]
    assert "MiB" not in message
    assert message == (
        "these 4 records take longer to read with their bodies than one answer may; ask for limit=2 or fewer,"
        " or without bodies"
    )
