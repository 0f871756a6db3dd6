"""What an app's user would have said instead of the model, in a whole system: killed, exported, sealed,
forgotten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.journeys.test_review import SEALED, judge
from tests.support.airboss import Airboss
from tests.support.files import holding
from tests.support.wait import until

WORDS = "words of ann in place of the draft 5c1e"
GIVEN = ("correction", "given", "human", WORDS, "ann")


def said(airboss: Airboss, record_id: str) -> list[tuple[Any, ...]]:
    """What stands of a record, but how it was judged."""
    path = f"records/{record_id}/scores"
    found = until(lambda: airboss.api(path), timeout_s=60, every_s=0.2)["scores"]
    return [
        tuple(each.get(name) for name in ("name", "value", "source", "comment", "user"))
        for each in found
        if each["name"] == "correction"
    ]


def expected(airboss: Airboss, name: str) -> list[Any]:
    """What the items of a dataset are to expect."""
    lines = airboss.verb("dataset", "export", name, "--part", "validation").splitlines()
    return [json.loads(line).get("expected") for line in lines]


@pytest.mark.parametrize("more", ["", SEALED], ids=["plain", "sealed"])
def test_what_a_user_wrote_outlives_kills_and_moves_and_is_forgotten_with_them(
    provider: FakeProvider, tmp_path: Path, more: str
) -> None:
    """Once it is answered it stands, whoever is killed then, and is what the call's item expects until
    somebody of the house writes another; it goes with its record to another Airboss, and with the person."""
    with Airboss(tmp_path / "a", fake(provider.url, more)) as airboss:
        made = airboss.chat(model="support", user="ann").headers["x-request-id"]
        body = {"record_id": made, "name": "edited", "value": True, "user": "ann", "correction": WORDS}
        with airboss.client() as client:
            answer = client.post("/feedback", json=body)
        assert answer.status_code == 202, answer.text
        for name in ("gateway-0", "controller", "store"):
            airboss.ready_anew(name)
        airboss.settled()
        assert said(airboss, made) == [GIVEN]

        found = ("--from-records", "--score", "feedback:correction", "--create")
        assert "1 item expects" in airboss.verb("dataset", "add", "drafts", *found)
        assert expected(airboss, "drafts") == [WORDS]
        later = airboss.chat("and then?", model="support").headers["x-request-id"]
        airboss.settled()
        airboss.verb("dataset", "add", "drafts", "--from-records")
        judge(airboss, made, "right=no", "--correction", "so")
        judge(airboss, later, "right=no", "--correction", "then so")
        put_in = airboss.verb("dataset", "add", "drafts", "--from-records")
        assert "1 item was there and expects now what people wrote" in put_in
        assert expected(airboss, "drafts") == [WORDS, "then so"]
        airboss.verb("dataset", "expect", "drafts", later, "--expected", "otherwise")
        assert "were there" not in airboss.verb("dataset", "add", "drafts", "--from-records")
        assert expected(airboss, "drafts") == [WORDS, "otherwise"]
        airboss.verb("dataset", "add", "reviewed", *found)
        assert expected(airboss, "reviewed") == ["so"]

        file = tmp_path / "kept.parquet"
        airboss.verb("records", "export", str(file), "--open")
        with Airboss(tmp_path / "b", fake(provider.url)) as other:
            other.verb("records", "import", str(file))
            assert GIVEN in said(other, made)

        airboss.verb("erase", "--user", "ann", "--yes")
        assert [each[1:] for each in said(airboss, made)] == [
            (None, "human", None, None),
            ("given", "review", None, None),
        ]
    assert holding(airboss.data, WORDS.encode()) == []
