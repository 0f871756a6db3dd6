"""Scores and alarms in the admin API and on pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.console import api_alarms
from airboss.domain.score import Score, ScoreValue
from airboss.store.alert_rows import AlarmEvent, AlarmRow, AlarmRule
from airboss.store.alerts import SqlAlertStore
from airboss.store.memory import MemoryRecordLog
from tests.console.site import NOW, Site, put, sample
from tests.support.wait import until

CONFIG = """
[providers.p]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"
[models.m]
provider = "p"
model = "m"
[deployments.support]
model = "m"
[notifiers.ops]
webhook = "http://127.0.0.1:9/hook"
[alarms.errors]
metric = "error_rate"
deployment = "support"
above = 0.1
notify = ["ops"]
[alarms.slow]
metric = "latency_p95"
deployment = "support"
above = 1000
"""


@pytest.fixture
def alerts(tmp_path: Path) -> Iterator[SqlAlertStore]:
    """Where alarms stand: `errors` is firing, `slow` has not been looked at."""
    store = SqlAlertStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    rule = AlarmRule(
        name="errors",
        metric="error_rate",
        deployment="support",
        below=False,
        bound=0.1,
        window_s=300,
        hold_s=60,
        notify=("ops",),
    )
    row = AlarmRow(rule=rule, phase="firing", since=NOW, told="firing", value=0.5, checked_at=NOW)
    event = AlarmEvent(alarm="errors", at=NOW, before="pending", after="firing", value=0.5, bound=0.1)
    store.put_alarms([row], events=[event])
    yield store
    store.close()


@pytest.fixture
def site(alerts: SqlAlertStore) -> Site:
    """A console with two alarms."""
    made = Site(alerts=alerts)
    made.ledger.text = CONFIG
    return made


def score(record_id: str, name: str, value: ScoreValue | None, number: int = 1, **fields: Any) -> Score:
    """A score of a record."""
    given: dict[str, Any] = {
        "id": f"0190b1c0-0000-7000-8000-{number:012}",
        "subject": "record",
        "subject_id": record_id,
        "name": name,
        "source": "human",
        "by": "web",
        "at": NOW,
        "value": value,
    }
    return Score(**given | fields)


def scored_log() -> tuple[MemoryRecordLog, str]:
    """A log with one record that has a score of every kind."""
    log, record = MemoryRecordLog(), sample()
    put(log, record)
    log.put_scores(
        [
            score(record.id, "stars", 0.25, 1, comment="so so", user="ann"),
            score(record.id, "helpful", True, 2),
            score(record.id, "tone", "<rude>", 3),
            score(record.id, "judge", None, 4, unscored="it broke", source="scorer", by="judge"),
        ]
    )
    return log, record.id


def test_alarms_are_listed_as_configured(site: Site) -> None:
    """Where each stands; one that was not looked at yet has no state."""
    found = site.program().get("/api/v1/alarms").json()["alarms"]
    errors, slow = (each for each in found if not each["default"])
    assert {each["name"].partition(".")[2] for each in found if each["default"]} == {
        "errors", "latency", "cost", "refusals", "traffic", "drift", "dead-letters", "bodies-dropped",
        "disk-full",
    }  # fmt: skip
    assert (errors["name"], errors["state"], errors["value"]) == ("errors", "firing", 0.5)
    assert (errors["comparison"], errors["threshold"], errors["for"]) == ("above", 0.1, "1m")
    assert (slow["name"], slow["state"], slow["since"]) == ("slow", None, None)


def test_one_alarm_has_its_history(site: Site) -> None:
    """Events and who was told; an unknown name is a 404 with the names there are."""
    page = site.program().get("/api/v1/alarms/errors").json()
    assert [(each["before"], each["after"]) for each in page["events"]] == [("pending", "firing")]
    assert page["notifications"] == []
    lost = site.program().get("/api/v1/alarms/erors")
    assert lost.status_code == 404
    assert "errors" in lost.json()["error"]["message"]


def test_a_silence_has_an_end_and_a_reason(site: Site) -> None:
    """It is kept with who wants it, noted in the audit log, and ended by an empty time."""
    program = site.program()
    answer = program.post("/api/v1/alarms/errors/silence", json={"for": "2h", "reason": "known"})
    silence = answer.json()["silence"]
    assert (silence["reason"], silence["by"]) == ("known", "admin key")
    assert site.alerts.silences()["errors"].until == NOW + timedelta(hours=2)
    assert program.get("/api/v1/alarms/errors").json()["alarm"]["silence"] == silence
    assert program.post("/api/v1/alarms/errors/silence", json={"for": ""}).json()["silence"] is None
    assert [entry[0] for entry in site.audit.entries] == ["alert.silence", "alert.unsilence"]
    site.clock.forward(3 * 3600)
    assert program.get("/api/v1/alarms/errors").json()["alarm"]["silence"] is None


@pytest.mark.parametrize(
    "intent",
    [
        {"for": "2 hours", "reason": "x"},
        {"for": "31d", "reason": "x"},
        {"for": "0s", "reason": "x"},
        {"for": "1h"},
    ],
)
def test_a_silence_without_end_or_reason_is_refused(site: Site, intent: dict[str, str]) -> None:
    """Nothing is kept of it."""
    assert site.program().post("/api/v1/alarms/errors/silence", json=intent).status_code == 400
    assert site.alerts.silences() == {}


def test_a_test_says_what_became_of_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the try, for a while; an alarm that tells nobody has nothing to test."""

    def deliver() -> None:
        (note,) = until(lambda: site.alerts.due(NOW, limit=9))
        site.alerts.settle_notification(msgspec.structs.replace(note, state="sent", attempts=1, ended_at=NOW))

    worker = threading.Thread(target=deliver)
    worker.start()
    (told,) = site.program().post("/api/v1/alarms/errors/test").json()["notifications"]
    worker.join()
    assert (told["notifier"], told["kind"], told["state"]) == ("ops", "test", "sent")
    monkeypatch.setattr(api_alarms, "TEST_S", 0.0)
    (told,) = site.program().post("/api/v1/alarms/errors/test").json()["notifications"]
    assert told["state"] == "waiting"
    refused = site.program().post("/api/v1/alarms/slow/test")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "name")
    assert "give it `notify` under [alarms.slow]" in refused.json()["error"]["message"]


def test_an_alarm_without_a_notifier_is_told_what_is_missing(site: Site) -> None:
    """A default alarm stands in no table that could be given `notify`: it tells every notifier there is."""
    site.ledger.text = CONFIG[: CONFIG.index("[notifiers.ops]")]
    refused = site.program().post("/api/v1/alarms/support.errors/test")
    assert refused.status_code == 400
    said = refused.json()["error"]["message"]
    assert "add one under [notifiers], which this alarm tells" in said
    assert "`notify`" not in said


def test_scores_of_a_record(site: Site) -> None:
    """All of them with comment and cause; none of a record that is not there."""
    site.log, record_id = scored_log()
    found = site.program().get(f"/api/v1/records/{record_id}/scores").json()["scores"]
    assert [each["value"] for each in found] == [0.25, True, "<rude>", None]
    assert (found[0]["comment"], found[0]["user"], found[3]["unscored"]) == ("so so", "ann", "it broke")
    assert site.program().get("/api/v1/records/0190b1c0/scores").status_code == 404


def test_scores_of_a_period(site: Site) -> None:
    """By deployment, release and name, narrowed down by either."""
    site.log, _ = scored_log()
    found = site.program().get("/api/v1/scores", params={"range": "24h"}).json()["scores"]
    assert [each["name"] for each in found] == ["helpful", "judge", "stars", "tone"]
    assert [(each["n"], each["labelled"], each["unscored"]) for each in found] == [
        (1, 0, 0),
        (0, 0, 1),
        (1, 0, 0),
        (0, 1, 0),
    ]
    only = site.program().get("/api/v1/scores", params={"name": "stars", "deployment": "nowhere"}).json()
    assert only["scores"] == []


def test_records_are_found_by_score(site: Site) -> None:
    """In the API and on the page; a condition that is none is a 400."""
    site.log, record_id = scored_log()
    put(site.log, sample(id="0190b1c0-0000-7000-8000-000000000099"))
    program = site.program()
    found = program.get("/api/v1/records", params={"score": "stars<0.5"}).json()["records"]
    assert [each["id"] for each in found] == [record_id]
    assert found[0]["scores"] == {"stars": 0.25, "helpful": True, "tone": "<rude>", "judge": None}
    wrong = program.get("/api/v1/records", params={"score": "stars<rude"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "score")
    page = site.person().get("/records", params={"score": "stars<0.5"})
    assert record_id[-8:] in page.text
    assert "0000000099" not in page.text


def test_a_records_page_shows_every_kind_of_score(site: Site) -> None:
    """Numbers, yes and no, labels as text, and what could not be scored."""
    site.log, record_id = scored_log()
    page = site.person().get(f"/records/{record_id}")
    assert page.status_code == 200
    for shown in ("0.25", "yes", "&lt;rude&gt;", "unscored"):
        assert shown in page.text
