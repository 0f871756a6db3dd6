"""What people of the house think of answers: through the admin API and on a record's page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from airboss.config.types import Role
from airboss.domain.errors import StoreUnavailable, Unavailable
from airboss.domain.score import Score
from airboss.store.memory import MemoryRecordLog
from tests.console.governed import Governed, governed
from tests.console.site import NAMES, DownLog, put, sample

LOCAL = {"origin": "http://testserver"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Governed]:
    """A console with one record of the user ann, and a real audit log."""
    with governed(tmp_path) as made:
        made.log = MemoryRecordLog()
        put(made.log, sample(id=RECORD, user="ann"))
        yield made


RECORD = "0190b1c0-0000-7000-8000-000000000001"


def say(site: Governed, record_id: str = RECORD, role: Role | None = None, **body: Any) -> Any:
    """Judge as a program."""
    return site.program(role).post(f"/api/v1/records/{record_id}/scores", json=body)


def stand(site: Governed) -> list[tuple[str, Any, str, str, str | None]]:
    """What stands of the record."""
    found = sorted(site.log.scores_of([RECORD]), key=lambda each: (each.name, each.by))
    return [(each.name, each.value, each.source, each.by, each.comment) for each in found]


def test_judging_again_replaces_and_each_time_is_noted(site: Governed) -> None:
    """One score a name and person; the audit log tells of each, and has neither words nor values."""
    first = say(site, name="right", value=True, comment="it has the year")
    assert first.status_code == 200, first.text
    given = first.json()["score"]
    assert (given["value"], given["source"], given["by"]) == (True, "review", "admin key")
    assert say(site, name="right", value=False, comment="the wrong year").status_code == 200
    assert say(site, name="stars", value=4).status_code == 200
    assert say(site, name="tone", value="polite").status_code == 200
    assert stand(site) == [
        ("right", False, "review", "admin key", "the wrong year"),
        ("stars", 4.0, "review", "admin key", None),
        ("tone", "polite", "review", "admin key", None),
    ]
    leaves = site.audit.newest(limit=10)
    assert [each.leaf.action for each in leaves] == ["records.score"] * 4 + ["audit.begin"]
    assert RECORD in str(leaves[0].names)
    assert not [each for each in leaves if "year" in str(each) or "polite" in str(each)]


def test_two_judgements_of_one_moment_leave_the_last(site: Governed) -> None:
    """Also where the clock stands still."""
    for value in (1, 5, 2, 4, 3):
        assert say(site, name="stars", value=value).json()["score"]["value"] == value
    assert [each[1] for each in stand(site)] == [3]


def test_what_was_said_is_taken_back(site: Governed) -> None:
    """Null takes it back; nothing stands, and doing so again changes nothing."""
    say(site, name="right", value=True)
    for _ in range(2):
        assert say(site, name="right", value=None).json() == {"score": None}
    assert stand(site) == []
    actions = [each.leaf.action for each in site.audit.newest(limit=10)]
    assert actions.count("records.score") == 2, "what changes nothing leaves no leaf"


def test_a_judgement_is_noted_before_it_stands(site: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever kills the controller between the two leaves a leaf too many, and no judgement without one."""
    noted: list[str] = []

    def killed(_: Sequence[Score]) -> None:
        noted.extend(each.leaf.action for each in site.audit.newest(limit=1))
        raise KeyboardInterrupt

    monkeypatch.setattr(site.log, "put_scores", killed)
    with pytest.raises(BaseException):  # noqa: B017 - a kill
        say(site, name="right", value=True)
    assert noted == ["records.score"]


def test_a_judgement_is_not_kept_that_cannot_be_noted(
    site: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit log is away, say."""

    def away(*_given: Any, **_named: Any) -> Any:
        raise Unavailable("the ledger is away")

    monkeypatch.setattr(site.audit, "append", away)
    assert say(site, name="right", value=True).status_code == 503
    assert stand(site) == []


@pytest.mark.parametrize("answers", [True, False])
def test_a_judgement_is_noted_whose_store_then_falls_silent(
    site: Governed, monkeypatch: pytest.MonkeyPatch, *, answers: bool
) -> None:
    """It may stand although who judged was told that the store is away."""
    kept = site.log.put_scores

    def silent(*_given: Any) -> Any:
        raise StoreUnavailable

    def falls_silent(scores: Sequence[Score]) -> None:
        kept(scores)
        monkeypatch.setattr(site.log, "scores_of", silent)
        if not answers:
            silent()

    monkeypatch.setattr(site.log, "put_scores", falls_silent)
    assert say(site, name="right", value=True).status_code == 503
    assert [each.leaf.action for each in site.audit.newest(limit=1)] == ["records.score"]


def test_what_chance_chose_stays_so(site: Governed) -> None:
    """A sampled judgement that is mended on the record's page is still one of the sample; the other way round
    it becomes one when chance chooses it, too."""
    say(site, name="right", value=True, sampled=True)
    say(site, name="right", value=False)
    say(site, name="stars", value=1)
    say(site, name="stars", value=2, sampled=True)
    assert [(each[0], each[1], each[2]) for each in stand(site)] == [
        ("right", False, "sample"),
        ("stars", 2.0, "sample"),
    ]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "a b", "value": 1}, "name"),
        ({"name": "tone", "value": " kind"}, "value"),
        ({"name": "tone", "value": "x" * 65}, "value"),
        ({"name": "right", "value": True, "comment": "x" * 4001}, "comment"),
        ({"name": "right"}, None),
        ({"name": "right", "value": True, "by": "somebody else"}, None),
        ({"name": "right", "value": [1]}, None),
    ],
)
def test_what_is_no_judgement_is_refused(site: Governed, body: dict[str, Any], param: str | None) -> None:
    """By the rules of feedback; nobody judges in another's name."""
    found = say(site, **body)
    assert (found.status_code, found.json()["error"]["param"]) == (400, param)
    assert stand(site) == []
    assert not site.audit.newest(limit=10)


def test_a_record_that_is_not_in_the_store_yet(site: Governed) -> None:
    """404, which says that journals have something to move; without a store it is 503."""
    site.store_up = False
    found = say(site, "0190b1c0-0000-7000-8000-000000000002", name="right", value=True)
    assert found.status_code == 404
    assert "wait in journals" in found.json()["error"]["message"]
    site.log = DownLog()
    found = say(site, name="right", value=True)
    assert (found.status_code, found.json()["error"]["code"]) == (503, "store_unavailable")


def test_nothing_is_written_of_who_is_forgotten(site: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the moment that they are asked to be, a judgement of their call is kept without its words."""
    written: list[Score] = []
    put_scores = site.log.put_scores

    def seen(scores: Sequence[Score]) -> int:
        written.extend(scores)
        return put_scores(scores)

    monkeypatch.setattr(site.log, "put_scores", seen)
    site.people.ask("ann", by="admin key", now=site.clock.now())
    assert say(site, name="right", value=False, comment="ann asked for her address").status_code == 200
    assert [each.comment for each in written] == [None], "a store's file may keep what was written and erased"
    assert stand(site) == [("right", False, "review", "admin key", None)]


def test_secrets_are_taken_out_of_what_is_written(site: Governed) -> None:
    """A key that somebody pastes into a comment reaches no store."""
    site.redact = lambda text: text.replace("sk-secret", "[REDACTED]")
    say(site, name="right", value=False, comment="it says sk-secret")
    say(site, name="tone", value="sk-secret")
    assert [each[4] or each[1] for each in stand(site)] == ["it says [REDACTED]", "[REDACTED]"]


def test_the_form_on_a_records_page(site: Governed) -> None:
    """It takes yes, no, numbers and labels, shows what stands with who said it, and takes one's own back."""
    person = site.person()
    say(site, name="right", value=True, comment="<i>a program's words</i>")
    for name, value in (("right", "no"), ("stars", "4.5"), ("tone", "kind")):
        fields = {"name": name, "value": value, "comment": "hm & so", "back": f"/records/{RECORD}"}
        answer = person.post(f"/records/{RECORD}/score", data=fields, headers=LOCAL)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/records/{RECORD}"), answer.text
    assert [(each[0], each[1], each[3]) for each in stand(site)] == [
        ("right", True, "admin key"),
        ("right", False, "console"),
        ("stars", 4.5, "console"),
        ("tone", "kind", "console"),
    ]
    page = person.get(f"/records/{RECORD}").text
    assert "&lt;i&gt;a program&#39;s words&lt;/i&gt;" in page
    assert "hm &amp; so" in page
    assert page.count("Take back") == 3
    undo = {"name": "right", "undo": "yes"}
    assert person.post(f"/records/{RECORD}/score", data=undo, headers=LOCAL).status_code == 303
    assert [(each[0], each[3]) for each in stand(site)] == [
        ("right", "admin key"),
        ("stars", "console"),
        ("tone", "console"),
    ]


def test_people_judge_by_their_names_and_viewers_do_not(site: Governed) -> None:
    """Each named person has a judgement of their own; a viewer gives none."""
    assert say(site, role="viewer", name="right", value=True).status_code == 403
    for role, value in (("reader", True), ("operator", False)):
        person: Any = role
        assert say(site, role=person, name="right", value=value, comment="in my words").status_code == 200
    assert {(each[1], each[3]) for each in stand(site)} == {
        (True, NAMES["reader"]),
        (False, NAMES["operator"]),
    }
    assert site.person("reader").get(f"/records/{RECORD}").text.count("in my words") == 2
    page = site.person("viewer").get(f"/records/{RECORD}").text
    assert ("in my words" in page, "Judge this answer" in page, "of the house" in page) == (
        False,
        False,
        True,
    )
    assert site.person("viewer").get("/review").status_code == 403
    fields = {"name": "right", "value": "yes"}
    assert (
        site.person("viewer").post(f"/records/{RECORD}/score", data=fields, headers=LOCAL).status_code == 403
    )


def test_a_form_that_says_nothing_changes_nothing(site: Governed) -> None:
    """It is told why, and leads back."""
    person = site.person()
    for fields in (
        {"name": "right", "value": ""},
        {"name": "", "value": "yes"},
        {"name": "a b", "value": "yes"},
    ):
        assert person.post(f"/records/{RECORD}/score", data=fields, headers=LOCAL).status_code == 400
    assert stand(site) == []
