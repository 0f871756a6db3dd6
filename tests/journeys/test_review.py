"""Answers judged by people of the house, in a whole system: killed, exported, sealed, forgotten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.journeys.test_watching import _killed
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
            _killed(airboss, name)
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
