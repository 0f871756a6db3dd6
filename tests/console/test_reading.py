"""Reading what people said leaves a leaf of the audit log: one a reading, and none for numbers."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from airboss.console import reading
from airboss.domain.errors import SetupError
from airboss.domain.score import Score
from tests.console.site import Site

PATH = "/api/v1/records"


def listed(program: TestClient, **params: str) -> Any:
    """A page of records with their bodies."""
    answer = program.get(PATH, params={"bodies": "true", **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def details(site: Site) -> list[Any]:
    """What was noted of readings."""
    return [detail for action, _, _, detail in site.audit.entries if action == "records.read"]


def test_a_list_with_bodies_is_one_leaf(site: Site) -> None:
    """Its pages, what is followed and the same asked again leave one leaf, which names filter and count;
    without bodies there is none."""
    program = site.program()
    program.get(PATH, params={"deployment": "support"})
    program.get("/api/v1/records", params={"search": "the"})
    assert details(site) == []
    page = listed(program, deployment="support", limit="5")
    count = details(site)[0]["records"]
    assert details(site) == [{"deployment": "support", "records": count}]
    assert count > 5
    listed(program, deployment="support", limit="7", before=page["next"])
    listed(program, deployment="support", after=page["records"][-1]["id"])
    listed(program, deployment="support")
    assert len(details(site)) == 1
    site.clock.forward(reading.LASTS.total_seconds())
    listed(program, deployment="support")
    assert len(details(site)) == 2


def test_more_than_was_noted_is_noted(site: Site) -> None:
    """What lies within the time of a leaf is told by it; a longer time and another filter are not."""
    program = site.program()
    listed(program, since="20h")
    listed(program, since="2h")
    assert [each["records"] > 0 for each in details(site)] == [True]
    listed(program, since="30h")
    listed(program)
    listed(program, status="error")
    assert [sorted(each) for each in details(site)[1:]] == [
        ["records", "since"],
        ["records"],
        ["records", "status"],
    ]


def test_a_leaf_names_nobody(site: Site) -> None:
    """Who was looked for stands where an erasure reaches, words not at all; nothing found leaves no leaf."""
    program = site.program()
    user = next(
        each["user"] for each in program.get(PATH, params={"limit": "100"}).json()["records"] if each["user"]
    )
    listed(program, user=user)
    listed(program, search="the", deployment="support")
    listed(program, user="nobody-of-that-name")
    assert [each["by"] for each in details(site)] == [["user"], ["search"]]
    assert user not in str(details(site))


def test_looking_at_one_after_another_is_a_leaf_in_a_while(site: Site) -> None:
    """Pages and programs that show single records leave one for each of them, not one a record."""
    program, person = site.program(), site.person()
    ids = [each["id"] for each in program.get(PATH, params={"limit": "3"}).json()["records"]]
    for each in ids:
        assert program.get(f"{PATH}/{each}").status_code == 200
        assert person.get(f"/records/{each}").status_code == 200
    assert details(site) == [{"one_by_one": True}] * 2
    site.clock.forward(reading.LASTS.total_seconds())
    program.get(f"{PATH}/{ids[0]}")
    assert len(details(site)) == 3


@pytest.mark.parametrize(
    "what", [{"comment": "she was rude"}, {"value": None, "unscored": "no JSON: she was rude"}]
)
def test_comments_are_words(site: Site, what: dict[str, Any]) -> None:
    """Who reads what somebody said of an answer leaves the same leaf; labels and numbers leave none."""
    program = site.program()
    first, second = (each["id"] for each in program.get(PATH, params={"limit": "2"}).json()["records"])
    said = {
        "subject": "record",
        "source": "human",
        "at": site.clock.now(),
        "name": "n",
        "by": "web",
        "value": 1.0,
    }
    site.log.put_scores(
        [
            Score(id="s-1", subject_id=first, **said),  # type: ignore[arg-type]
            Score(id="s-2", subject_id=second, **said | what),  # type: ignore[arg-type]
        ]
    )
    assert program.get(f"{PATH}/{first}/scores").json()["scores"]
    assert details(site) == []
    assert "rude" in program.get(f"{PATH}/{second}/scores").text
    assert details(site) == [{"one_by_one": True}]


def test_dead_letters_are_what_people_said(site: Site) -> None:
    """The page that shows how they begin leaves a leaf in a while; a status, which is asked for all the time,
    tells only why they are none."""
    program = site.program()
    letters = program.get("/api/v1/status").json()["journal"]["dead_letters"]
    assert [bool(each["why"]) for each in letters] == [True, True]
    assert [each["excerpt"] for each in letters] == ["", ""]
    assert details(site) == []
    person = site.person()
    for _ in range(2):
        assert "alert(1)" in person.get("/system").text
    assert details(site) == [{"dead_letters": True}]


def test_a_full_disk_keeps_nobody_from_looking(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the audit log takes nothing, a line of the log says who reads, each time."""

    def full(*_: object, **__: object) -> int:
        raise SetupError("the disk is full")

    program = site.program()
    with monkeypatch.context() as patched:
        patched.setattr(site.audit, "append", full)
        assert listed(program)["records"]
        assert listed(program)["records"]
    assert [each.getMessage() for each in caplog.records if "reads records" in each.getMessage()] == [
        "that admin key reads records is not in the audit log: the disk is full"
    ] * 2
    assert details(site) == []
    listed(program)
    assert len(details(site)) == 1
