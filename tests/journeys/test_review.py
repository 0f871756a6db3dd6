"""Answers judged by people of the house, in a whole system: killed, exported, sealed, forgotten."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.testing import Behaviour, FakeProvider, ScriptStep
from tests.journeys.configs import fake
from tests.journeys.test_watching import JUDGE
from tests.support.airboss import Airboss, run_airboss
from tests.support.files import holding
from tests.support.wait import until

WORDS = "words of a reviewer about ann 81f2"
SEALED = '\n[store]\nbodies = "sealed"\n'


def scores(airboss: Airboss, record_id: str) -> list[tuple[str, Any, str | None]]:
    """What stands of a record."""
    path = f"records/{record_id}/scores"
    found = until(lambda: airboss.api(path), timeout_s=60, every_s=0.2)["scores"]
    return [(each["name"], each["value"], each["comment"]) for each in found]


def judge(airboss: Airboss, record_id: str, *said: str) -> dict[str, Any]:
    """By the verb."""
    found: dict[str, Any] = json.loads(airboss.verb("records", "score", record_id, *said, "--json"))
    return found


@pytest.mark.parametrize("more", ["", SEALED], ids=["plain", "sealed"])
def test_a_judgement_outlives_kills_and_moves_and_is_forgotten_with_the_person(
    provider: FakeProvider, tmp_path: Path, more: str
) -> None:
    """Once it is answered it stands, whoever is killed then; it is exported and imported with its record, and
    its words go when the person whose call it was is forgotten. A record that is nowhere is told of."""
    with Airboss(tmp_path / "a", fake(provider.url, more)) as airboss:
        made = airboss.chat(model="support", user="ann").headers["x-request-id"]
        airboss.settled()
        judge(airboss, made, "right=yes", "--comment", "no, not yet " + WORDS)
        for number, name in enumerate(("controller", "store", "controller", "store")):
            judge(airboss, made, "right=no", "--comment", f"{number} {WORDS}")
            airboss.ready_anew(name)
            assert scores(airboss, made) == [("right", False, f"{number} {WORDS}")]
        (leaf,) = [
            each
            for each in map(json.loads, airboss.verb("audit", "list", "--limit", "1", "--json").splitlines())
            if each["action"] == "records.score"
        ]
        assert made in leaf["subject"]
        assert WORDS not in json.dumps(leaf)

        file = tmp_path / "kept.parquet"
        airboss.verb("records", "export", str(file), "--open")
        judge(airboss, made, "right", "--undo")
        assert scores(airboss, made) == []
        airboss.verb("records", "import", str(file))
        assert scores(airboss, made) == [("right", False, f"3 {WORDS}")]

        none = made[:-1] + ("0" if made[-1] != "0" else "1")
        refused = run_airboss(
            *("records", "score", none, "right=yes", "--data-dir", str(airboss.data)), cwd=tmp_path
        )
        assert (refused.returncode, "no record" in refused.stderr) == (1, True)

        airboss.verb("erase", "--user", "ann", "--yes")
        assert scores(airboss, made) == [("right", False, None)]
    assert holding(airboss.data, WORDS.encode()) == []


def test_a_judge_is_held_against_a_sample_that_a_person_judged(
    provider: FakeProvider, tmp_path: Path
) -> None:
    """Calls are scored as they come, a person judges a sample of them on the page, and the verb says how far
    the judge can be believed, of a running and of a stopped Airboss alike."""
    grade = '{"reasoning": "fine", "grade": 5}'
    provider.script(ScriptStep(behaviour=Behaviour(text=grade), forever=True, model="judge"))
    scorers = '[{ kind = "llm_judge", deployment = "judge", name = "quality" }]'
    scoring = f"scoring = {{ sample = 1.0, judge_per_minute = 600, scorers = {scorers} }}"
    with Airboss(tmp_path / "a", fake(provider.url, scoring + JUDGE)) as airboss:
        for _ in range(10):
            airboss.chat(model="support")
        until(lambda: len(airboss.records("--score", "scorer:quality")) == 10, timeout_s=60, every_s=0.5)
        console = airboss.ready["console_url"].rstrip("/")
        with httpx2.Client(base_url=console, timeout=60, headers={"origin": console}) as person:
            person.post("/login", data={"key": airboss.ready["admin_key"]})
            wanted = {"name": "right", "judge": "quality", "deployment": "support", "range": "1h", "n": "6"}
            address = person.post("/review/start", data=wanted).headers["location"]
            for number in range(6):
                page = person.get(address).text
                assert f"{number + 1} of 6" in page
                fields = {"back": address, "id": re.findall(r'name="id" value="([^"]+)"', page)[0]}
                fields |= {"place": str(number), "value": "yes" if number % 2 else "no"}
                address = person.post("/review/judge", data=fields).headers["location"]
            assert "6 of 6 judged" in person.get(address).text
        assert len(airboss.records("--score", "review:right=false")) == 3
        told = airboss.verb("eval", "judges", "--deployment", "support", "--people", "right", "--json")
    of_stopped = ("--people", "right", "--json", "--data-dir", str(airboss.data))
    stopped = run_airboss("eval", "judges", *of_stopped, cwd=tmp_path)
    for said in (told, stopped.stdout):
        found = json.loads(said)
        assert (found["judge"], found["people"], found["sampled"]) == ("quality", "right", 6)
        assert found["agreement"]["agreement"]["estimate"] == 0.5
        assert (found["corrected"]["scored"], found["corrected"]["judge_mean"]) == (10, 1.0)
        assert found["corrected"]["corrected"]["estimate"] == 0.5
