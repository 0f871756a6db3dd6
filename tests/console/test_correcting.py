"""What would have been right: written beside a judgement, kept as one, and shown beside the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.testclient import TestClient

from airboss.console import correcting
from airboss.store.memory import MemoryRecordLog
from airboss.store.opinions import corrections
from tests.console.governed import Governed, governed
from tests.console.site import put, sample
from tests.console.test_judges import said
from tests.console.test_review import LOCAL, RECORD, say, stand
from tests.console.test_review_page import begin, shown

ANSWER = "It is 14 days, not more."
RIGHT = "It is 30 days, not more."
JUDGED = "/records/{}/score"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Governed]:
    """A console with one answered call of the user ann, and a real audit log."""
    with governed(tmp_path) as made:
        made.log = MemoryRecordLog()
        response = {"choices": [{"message": {"role": "assistant", "content": ANSWER}}]}
        put(made.log, sample(id=RECORD, user="ann", deployment="support", response=response))
        yield made


def right(site: Governed) -> str | None:
    """What would have been right, as far as anybody says."""
    found = corrections(site.log.scores_of([RECORD])).get(RECORD)
    return found.comment if found is not None else None


def field(page: str) -> dict[str, str]:
    """The fields of a page that what would have been right is written into, as a browser has them."""
    began = re.search(r'name="began" value="([^"]*)"', page)
    text = re.search(r'<textarea name="correction"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    assert began is not None
    assert text is not None
    return {"began": began[1], "correction": unescape(text[1])}


def press(person: TestClient, value: str = "no", **fields: str) -> None:
    """Judge the record on its page."""
    given = {"name": "right", "value": value, **fields}
    answer = person.post(JUDGED.format(RECORD), data=given, headers=LOCAL)
    assert answer.status_code == 303, answer.text


def test_it_is_kept_with_the_judgement_and_replaced_by_the_next(site: Governed) -> None:
    """Beside what it corrects; without it a judgement leaves it as it is, an empty one takes it back. The
    audit log says that there was one, and not a word of it."""
    found = say(site, name="right", value=False, comment="the old term", correction="It is 20 days.")
    assert found.status_code == 200, found.text
    assert found.json()["correction"]["comment"] == "It is 20 days."
    assert say(site, name="right", value=False, correction=RIGHT).json()["score"]["value"] is False
    assert "correction" in say(site, name="tone", value="kind").json()
    assert stand(site) == [
        ("correction", "given", "review", "admin key", RIGHT),
        ("right", False, "review", "admin key", None),
        ("tone", "kind", "review", "admin key", None),
    ]
    leaves = site.audit.newest(limit=3)
    assert ["corrected" in each.leaf.content for each in leaves] == [False, True, True]
    assert not [each for each in leaves if "days" in str(each)]
    assert say(site, name="right", value=True, correction="").json().keys() == {"score"}
    assert right(site) is None


def test_blanks_are_no_words(site: Governed) -> None:
    """They are as an empty one, which takes back what stands: no item is to expect them."""
    say(site, name="right", value=False, correction=" \n")
    assert [each[0] for each in stand(site)] == ["right"]
    say(site, name="right", value=False, correction=RIGHT)
    say(site, name="right", value=False, correction=" \t")
    assert right(site) is None


def test_it_is_taken_back_like_any_judgement(site: Governed) -> None:
    """Under its name; nobody judges under that, nor reviews."""
    say(site, name="right", value=False, correction=RIGHT)
    assert say(site, name="correction", value=None).json() == {"score": None}
    assert [each[0] for each in stand(site)] == ["right"]
    for wrong in (
        {"name": "correction", "value": "given", "comment": RIGHT},
        {"name": "correction", "value": None, "correction": RIGHT},
    ):
        assert say(site, **wrong).status_code == 400
    given = {"name": "correction", "deployment": "support", "range": "24h"}
    assert site.person().post("/review/start", data=given, headers=LOCAL).status_code == 400


def test_of_several_people_the_newest_counts(site: Governed) -> None:
    """Each has one of their own; whose is taken back lets the other's stand."""
    for role, text in (("reader", "It is 20 days."), ("operator", RIGHT)):
        person: Any = role
        site.clock.forward(1)
        say(site, role=person, name="right", value=False, correction=text)
    assert right(site) == RIGHT
    say(site, role="operator", name="right", value=False, correction="")
    assert right(site) == "It is 20 days."


def test_it_is_bounded_and_no_secret_gets_into_it(site: Governed) -> None:
    """By 20,000 characters; what somebody pastes is redacted as in comments."""
    site.redact = lambda text: text.replace("sk-secret", "[REDACTED]")
    found = say(site, name="right", value=False, correction="x" * 20_001)
    assert (found.status_code, found.json()["error"]["param"]) == (400, "correction")
    assert stand(site) == []
    say(site, name="right", value=False, correction="Use sk-secret." + "x" * 19_000)
    assert (right(site) or "").startswith("Use [REDACTED].")


def test_nothing_is_kept_for_the_call_of_who_is_forgotten(site: Governed) -> None:
    """No text, and no sign that there was one."""
    site.people.ask("ann", by="admin key", now=site.clock.now())
    assert say(site, name="right", value=False, correction="Ann lives in Rome.").status_code == 200
    assert stand(site) == [("right", False, "review", "admin key", None)]


def test_the_field_begins_with_the_answer(site: Governed) -> None:
    """On the record's page; left as it is, it says nothing, whatever line ends a browser sends. Then it has
    what was written, and emptied it takes that back."""
    person = site.person()
    before = field(person.get(f"/records/{RECORD}").text)
    assert before["correction"] == ANSWER
    press(person, **before)
    assert right(site) is None
    press(person, **{**before, "correction": "It is 30 days,\r\nnot more. "})
    after = field(person.get(f"/records/{RECORD}").text)
    assert after["correction"] == right(site) == "It is 30 days,\nnot more."
    given = [each.id for each in site.log.scores_of([RECORD]) if each.name == "correction"]
    press(person, **{**after, "correction": after["correction"].replace("\n", "\r\n")})
    assert [each.id for each in site.log.scores_of([RECORD]) if each.name == "correction"] == given
    press(person, "yes")
    assert right(site) is not None, "a form without the field"
    press(person, "yes", **{**after, "correction": ""})
    assert right(site) is None


@pytest.mark.parametrize("answer", ["x" * 20_001, "a\u202eb", "a\0b"])
def test_what_a_field_cannot_give_back_is_not_in_it(site: Governed, answer: str) -> None:
    """It is empty then, and left so it says nothing."""
    site.log = MemoryRecordLog()
    put(
        site.log,
        sample(id=RECORD, response={"choices": [{"message": {"role": "assistant", "content": answer}}]}),
    )
    person = site.person()
    found = field(person.get(f"/records/{RECORD}").text)
    assert found["correction"] == ""
    press(person, **found)
    assert [each[0] for each in stand(site)] == ["right"]


def test_it_stands_beside_the_answer_with_what_differs(site: Governed) -> None:
    """Word by word, with who wrote it; escaped, and for readers alone. A text of its own stands by itself."""
    say(site, name="right", value=False, correction=RIGHT)
    page = site.person().get(f"/records/{RECORD}").text
    assert "It is <del>14 </del><ins>30 </ins>days, not more." in page
    assert "30 " not in site.person("viewer").get(f"/records/{RECORD}").text
    say(site, name="right", value=False, correction="<b>Ask Ann.</b>")
    page = site.person().get(f"/records/{RECORD}").text
    assert "&lt;b&gt;Ask Ann.&lt;/b&gt;</p>" in page
    assert "<b>Ask Ann.</b>" not in page


def test_what_an_app_passed_on_stands_until_somebody_of_the_house_writes(site: Governed) -> None:
    """With whose it is. It is no text of who asks, whatever the key is called."""
    given = said(1, "given", source="human", by="admin key", user="ann", subject_id=RECORD)
    given = replace(given, name="correction", comment="It is 31 days, not more.")
    site.log.put_scores([given])
    page = site.person().get(f"/records/{RECORD}").text
    assert "It is <del>14 </del><ins>31 </ins>days, not more." in page
    assert 'What would have been right <span class="hint">ann with key admin key, ' in page
    assert correcting.field(sample(id=RECORD), [given], "admin key").mine is False
    say(site, name="right", value=False, correction=RIGHT)
    page = site.person().get(f"/records/{RECORD}").text
    assert "It is <del>14 </del><ins>30 </ins>days, not more." in page


def test_a_long_one_that_does_not_stand_is_folded(site: Governed) -> None:
    """A draft of thousands of words would push all else off the page; a short one is there to be read."""
    for number, text in enumerate(("Word. " * 3_000, "In short.")):
        given = said(number, "given", source="human", by="app", user="ann", subject_id=RECORD)
        site.log.put_scores([replace(given, name="correction", comment=text)])
    say(site, name="right", value=False, correction=RIGHT)
    scores = site.person().get(f"/records/{RECORD}").text.split("<h2>Scores", 1)[1].split("Judge this", 1)[0]
    assert scores.count("Word. " * 2_999) == 1
    assert "Word. " * 200 not in re.sub("<details.*?</details>", "", scores, flags=re.DOTALL)
    assert '<p class="remark" dir="auto">In short.</p>' in scores


def test_who_takes_nothing_back_is_told_whose_stands(site: Governed) -> None:
    """Of people of the house, of apps by their keys, and of scorers."""
    assert say(site, name="correction", value=None).json() == {"score": None}
    say(site, role="operator", name="right", value=False, correction=RIGHT)
    for number, by in enumerate(("ann", "bob")):
        given = said(number, "given", source="human", by="app", user=by, subject_id=RECORD)
        site.log.put_scores([replace(given, name="correction", comment="so")])
    (_, operator) = sorted(each.by for each in site.log.scores_of([RECORD]) if each.source == "review")
    told = say(site, name="correction", value=None).json()
    assert told == {"score": None, "others": ["key app", operator]}
    assert say(site, name="right", value=None).json() == {"score": None, "others": [operator]}
    say(site, name="right", value=True)
    assert say(site, name="right", value=None).json() == {"score": None, "others": [operator]}


def test_it_is_written_in_a_review(site: Governed) -> None:
    """The field is beside the answers there are, with what who asks wrote, and nothing of others."""
    say(site, role="operator", name="right", value=False, correction="Of another person.")
    site.clock.forward(1)
    person = site.person()
    address = begin(person, deployment="support")
    page = person.get(address).text
    assert field(page)["correction"] == ANSWER
    assert "Of another person." not in page
    sent = {"back": address, "id": shown(page), "place": "0", "value": "no", **field(page)}
    answer = person.post("/review/judge", data={**sent, "correction": RIGHT}, headers=LOCAL)
    assert answer.status_code == 303
    assert (right(site), stand(site)[2][:4]) == (RIGHT, ("right", False, "sample", "console"))
    undone = person.post("/review/undo", data={"back": address, "id": RECORD}, headers=LOCAL)
    again = person.get(undone.headers["location"]).text
    assert field(again)["correction"] == RIGHT
    assert '<details class="righting" open>' in again


def test_the_names_that_reviews_are_held_against(site: Governed) -> None:
    """It is none of them: nobody reviews under it, and no judge is held against it."""
    say(site, name="right", value=False, correction=RIGHT)
    site.log.put_scores([said(1, 0.5, source="scorer", subject_id=RECORD)])
    for path in ("/review?range=30d", "/quality?range=30d"):
        page = site.person().get(path).text
        assert "right</option>" in page or '<option value="right">' in page
        assert ">correction</option>" not in page
        assert '<option value="correction">' not in page


def test_answers_of_other_dialects_are_put_right_too() -> None:
    """The text is what a conversation shows."""
    message = {"type": "message", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
    request = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "?"}]}
    assert correcting.said(sample(request=request, response=message)) == "Hi"
