"""The playground of a running Airboss: the same message to two releases, over the real gateway."""

from __future__ import annotations

from pathlib import Path

import httpx2

from airboss.testing import FakeProvider
from tests.journeys.test_eval import config
from tests.support.airboss import Airboss
from tests.support.wait import until


def test_two_releases_answer_side_by_side(provider: FakeProvider, tmp_path: Path) -> None:
    """Each release's own model answers, the calls are our own key's, and the audit log has who asked."""
    with Airboss(tmp_path / "a", config(provider.url)) as airboss:
        url, key = airboss.ready["console_url"].rstrip("/"), airboss.ready["admin_key"]
        with httpx2.Client(base_url=url, headers={"origin": url}, trust_env=False) as person:
            assert person.post("/login", data={"key": key}).status_code == 303
            form = {"deployment": "support", "message": "Where is it?", "release1": "stable"}
            page = person.get("/playground").text
            sharp = page.split(">sharp ·")[0].rpartition('value="')[2].split('"')[0]
            sent = person.post("/playground", data={**form, "release2": sharp})
            assert sent.status_code == 303, sent.text
            where = sent.headers["location"]
            until(lambda: "being answered" not in person.get(where).text)
            found = person.get(where).text
        assert found.count("its record") == 2, found
        assert "No answer" not in found
        until(lambda: len(airboss.records()) == 2)
        assert {(each["key"], each["model"]) for each in airboss.records()} == {
            ("airboss", "plain"),
            ("airboss", "sharp"),
        }
        assert "playground.ask" in airboss.verb("audit", "list")
