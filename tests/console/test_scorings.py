"""Recorded calls scored by form and by the admin API, and what came of it on its page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from airboss.config import Config
from airboss.console import api, api_scorings
from airboss.domain.ports import Ledger
from airboss.evaluations.backfill import ScoringOrders, ScoringTask, score_calls
from airboss.evaluations.online import open_scorers
from airboss.evaluations.record_scoring import RecordScoring
from airboss.evaluations.scorer_names import ScorerNames
from airboss.store.jobs import SqlJobStore
from airboss.store.memory import MemoryRecordLog
from tests.console.described import assert_as_described
from tests.console.looped import pressed
from tests.console.site import NOW, Site
from tests.console.test_pages import hrefs, shown
from tests.console.test_tuning_pages import HOSTILE, safe
from tests.evaluations.serving import NEW, OLD, FixedLedger, deployment, plan, standing
from tests.evaluations.test_backfill import Notes
from tests.store.samples import move


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A console with jobs of its own, recorded calls and a deployment served."""
    said = msgspec.Raw(b'{"choices":[{"message":{"role":"assistant","content":"Here you are."}}]}')
    log = MemoryRecordLog()
    log.apply(move(*range(20), response=said))
    made = Site(log=log, jobs=SqlJobStore(f"sqlite:///{tmp_path / 'ledger.db'}"))
    ledger = FixedLedger(plan(deployment("support", OLD), others=(NEW,)), standing(NEW, OLD))
    made.scorings = ScoringOrders(
        jobs=made.jobs,
        ledger=cast("Ledger", ledger),
        log=made.log,
        names=names(made),
        now=made.clock.now,
        folder=tmp_path,
    )
    yield made
    made.jobs.close()


def names(site: Site) -> ScorerNames:
    """Nobody watches any."""
    return ScorerNames(jobs=site.jobs, notes=Notes(), in_force=Config)


def done(site: Site, job_id: str, causes: dict[str, int]) -> None:
    """The job is done, as the controller does it."""
    job = site.jobs.claim("me", NOW, 10.0)
    scorers = partial(
        open_scorers,
        msgspec.json.decode(job.spec, type=ScoringTask).scorers,
        caller=cast("Any", None),
        resolve=cast("Any", None),
        folder=Path(),
    )
    scoring = RecordScoring(record_log=site.log, clock=site.clock, redact=str, forgotten=lambda _: False)
    report = asyncio.run(
        score_calls(
            job,
            scoring=scoring,
            scorers=scorers,
            log=site.log,
            report=lambda *_: None,
            names=names(site),
        )
    )
    first = msgspec.structs.replace(report.comparisons[0], causes=causes, labels={HOSTILE: (0, 3)})
    site.jobs.finish(
        job_id, "me", msgspec.structs.replace(report, comparisons=(first, *report.comparisons[1:])), NOW
    )


def test_calls_are_scored_from_the_list_of_records(site: Site) -> None:
    """The list's filters choose, its page comes next, and the audit log says so."""
    person = site.person("operator")
    assert 'name="scorer" value="refusal"' in person.get("/records?status=ok").text
    assert 'name="scorer" value="exact"' not in person.get("/records").text
    fields = {"back": "/records", "status": "ok", "scorer": "length", "limit": "7"}
    answer = pressed(person, "/jobs", **fields, scorers="polite=contains:please\n", judge="")
    where = answer.headers["location"]
    (job,) = site.jobs.list("scoring", 5)
    assert where == f"/scorings/{job.id}"
    task = msgspec.json.decode(job.spec, type=ScoringTask)
    assert ([each.name for each in task.scorers], len(task.calls)) == (["length", "polite"], 7)
    assert "Cancel" in shown(person, where).text
    assert site.audit.entries[-1][0:3:2] == ("scoring.run", job.id)

    done(site, job.id, {HOSTILE: 2})
    text = safe(shown(person, where)).text
    assert "length" in text
    assert "polite" in text
    assert f"/scorings/{job.id}" in hrefs(shown(person, "/jobs"))


def test_the_mean_of_one_person_has_no_interval(site: Site) -> None:
    """The page shows it and says what an interval takes."""
    said = msgspec.Raw(b'{"choices":[{"message":{"role":"assistant","content":"Here you are."}}]}')
    site.log.apply(move(*range(100, 106), segment="more", response=said, user="ann"))
    order = {"scorers": ["length", "refusal"], "filters": {"user": "ann"}}
    job = site.program().post("/api/v1/scorings", json=order).json()
    done(site, job["id"], {})
    where = f"/api/v1/scorings/{job['id']}"
    length = site.program().get(where).json()["report"]["comparisons"][0]
    assert (length["units"], length["mean_b"]["estimate"], length["mean_b"]["low"]) == (1, 13.0, None)
    text = shown(site.person(), f"/scorings/{job['id']}").text
    assert "length: 6 calls of 1 user or session; an interval takes at least 2 users or sessions." in text
    assert "length less is better613\N{EN DASH}no data10" in " ".join(text.split())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scorer": "", "limit": "5"}, "no scorer is chosen"),
        ({"scorer": "length", "limit": "five"}, "write how many calls"),
        ({"scorer": "length", "limit": "5000"}, "1 to 2,000 calls"),
        ({"scorer": "exact", "limit": "5"}, "compares with an expected answer"),
        ({"scorer": "length", "limit": "5", "user": "nobody"}, "there is no call to score"),
        ({"scorer": "length", "limit": "5", "deployment": "suport"}, "did you mean &#39;support&#39;?"),
    ],
)
def test_a_wrong_form_begins_nothing(site: Site, fields: dict[str, str], said: str) -> None:
    """It says what is wrong."""
    chosen = {name: value for name, value in fields.items() if value}
    answer = pressed(site.person("operator"), "/jobs", back="/records", **chosen)
    assert said in answer.text
    assert site.jobs.list("scoring", 5) == ()


def test_the_answers_are_as_described(site: Site) -> None:
    """Every route answers with just the fields that the description names; a wrong order is refused."""
    program = site.program()
    document = program.get("/api/openapi.json").json()
    order = {"scorers": ["length"], "filters": {"status": "ok"}, "limit": 5}
    job = program.post("/api/v1/scorings", json=order).json()
    assert_as_described(document, "POST", "/api/v1/scorings", job)
    assert all(route in api.ROUTES for route in api_scorings.ROUTES)
    done(site, job["id"], {})
    for path in ("/api/v1/scorings", "/api/v1/scorings/{id}"):
        answer = program.get(path.replace("{id}", job["id"]))
        assert answer.status_code == 200, answer.text
        assert_as_described(document, "GET", path, answer.json())
    assert program.get("/api/v1/scorings").json()["scorings"][0]["means"]
    refused = program.post("/api/v1/scorings", json=order | {"filters": {"usr": "x"}})
    assert (refused.status_code, "did you mean 'user'" in refused.text) == (400, True)
    missing = program.get("/api/v1/scorings/x").json()["error"]
    assert "airboss scoring list" in missing["message"]
