"""Changing datasets by the admin API and by the form: all or nothing, noted, nobody forgotten."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from airboss.console import api, api_changing
from airboss.evaluations.orders import EvalOrder
from airboss.evaluations.work import evaluate
from airboss.governance.erasure import Forgetting
from airboss.store.erasures import SqlErasures
from tests.console.described import assert_as_described
from tests.console.looped import LoopSite, opened, pressed
from tests.console.site import put
from tests.console.test_api_adding import ANN, add, call, every, picked
from tests.console.test_api_eval import refused
from tests.evaluations.support import FakeCaller
from tests.support.seed_loop import OLD_PROMPT

PATH = "/api/v1/datasets/golden/change"
LINES = """{"id": "one", "input": "One?", "expected": "1", "part": "validation"}
{"id": "two", "input": "Two?", "part": "validation"}
{"input": "Three?", "part": "train"}
{"id": "last", "input": "Last?", "expected": "secret", "part": "holdout"}
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoopSite]:
    """A console with a deployment, a dataset in three parts and some calls."""
    with opened(tmp_path) as made:
        erasures = SqlErasures(made.loop.data.ledger_url)
        made.people = Forgetting(erasures, "key")
        made.loop.apply(OLD_PROMPT)
        put(made.log, *(call(number) for number in range(2)))
        answer = made.program().post("/api/v1/datasets", json={"name": "golden", "jsonl": LINES})
        assert answer.status_code == 200, answer.text
        yield made
        erasures.close()


@pytest.fixture
def program(site: LoopSite) -> TestClient:
    """A program with the admin key."""
    return site.program()


def change(program: TestClient, **given: Any) -> Any:
    """What came of it."""
    answer = program.post(PATH, json=given)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_items_are_changed_and_taken_out(site: LoopSite, program: TestClient) -> None:
    """The answer says how many, the audit log who did it, without a word of them. What is as before makes no
    version and leaves no leaf; the old version is there by its digest."""
    document = program.get("/api/openapi.json").json()
    old = program.get("/api/v1/datasets/golden").json()["dataset"]["digest"]
    done = change(program, remove=["one"], expected={"two": "2", "last": None})
    assert_as_described(document, "POST", "/api/v1/datasets/{name}/change", done)
    assert all(route in api.ROUTES for route in api_changing.ROUTES)
    assert {"Changed", "ChangedDataset"} <= set(document["components"]["schemas"])  # what drifts has its name
    assert (done["removed"], done["changed"], done["same"]) == (1, 2, 0)
    assert done["dataset"]["sizes"] == {"train": 1, "validation": 1, "holdout": 1}
    there = every(site)
    assert "one" not in there
    assert [there[each].get("expected") for each in ("two", "last")] == ["2", None]
    action, actor, subject, detail = site.audit.entries[-1]
    assert (action, actor, subject) == ("dataset.change", "admin key", "golden")
    assert (detail["removed"], detail["changed"], detail["onto"]) == (1, 2, old)
    assert not [each for each in ("one", "two") if each in str(detail)]
    leaves = len(site.audit.entries)
    again = change(program, expected={"two": "2"})
    assert (again["changed"], again["same"], again["dataset"]) == (0, 1, done["dataset"])
    assert len(site.audit.entries) == leaves
    items = program.get(f"/api/v1/datasets/{old}/items?part=validation").json()["items"]
    assert [(each["id"], each.get("expected")) for each in items] == [("one", "1"), ("two", None)]


def test_a_file_says_what_is_expected(site: LoopSite, program: TestClient) -> None:
    """By id or by question, as `dataset export` prints items and a spreadsheet gives them back; a line that
    expects nothing leaves its item alone."""
    done = change(program, jsonl="id,input,expected\ntwo,Two?,2\n,Three?,3\none,One?,\n")
    assert (done["changed"], done["same"]) == (2, 0)
    assert sorted(str(each.get("expected")) for each in every(site).values()) == ["1", "2", "3", "secret"]


def test_a_question_names_its_item_whatever_its_id(site: LoopSite, program: TestClient) -> None:
    """A spreadsheet of questions alone does for items that have ids, as those of recorded calls have; where
    several ask the same, or one is named twice, it is told so."""
    lines = "".join(f'{{"id": "{id}", "input": "Same?", "part": "train"}}\n' for id in ("x", "y"))
    add(program, jsonl=lines)
    done = change(program, jsonl="input,expected\nTwo?,2\n")
    assert (done["changed"], every(site)["two"]["expected"]) == (1, "2")
    for table, said in (
        ("input,expected\nSame?,1\n", "2 items ask what a line without an id asks, 'x' among them"),
        ("id,input,expected\ntwo,Two?,3\n,Two?,4\n", "what 'two' is to expect is said twice"),
    ):
        assert said in refused(program.post(PATH, json={"jsonl": table}))
    assert every(site)["two"]["expected"] == "2"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "nothing is to change"),
        ({"jsonl": "input,expected\nTwo?,\n", "source": "f.csv"}, "f.csv says of no item"),
        ({"jsonl": '{"id": "two", "input": "2?", "expected": 1}'}, "the item 'two' asks something else"),
        ({"jsonl": '{"id": "two", "input": "Two?", "expected": 1}', "expected": {"two": 2}}, "said twice"),
        ({"jsonl": '{"inptu": 1}', "source": "f.jsonl"}, "f.jsonl, line 1: "),
        ({"remove": ["none"], "expected": {"two": "2"}}, "dataset 'golden' has no item 'none'"),
        ({"remove": ["one"], "expected": {"one": "2"}}, "choose one"),
        ({"expected": {"two": "x" * 300_000}}, "more than 256 KiB"),
        ({"remove": "one"}, "the body is wrong"),
    ],
)
def test_what_cannot_be_changed_is_refused(site: LoopSite, body: Any, said: str) -> None:
    """With what was wrong, and nothing kept."""
    before = every(site)
    assert said in refused(site.program().post(PATH, json=body))
    assert every(site) == before


def test_an_older_version_is_not_changed(site: LoopSite, program: TestClient) -> None:
    """By its digest it is told which is the newest; what is none is not found."""
    old = program.get("/api/v1/datasets/golden").json()["dataset"]["digest"]
    change(program, remove=["one"])
    answer = program.post(f"/api/v1/datasets/{old}/change", json={"remove": ["two"]})
    assert "is an older version of 'golden'" in refused(answer)
    answer = program.post("/api/v1/datasets/goldne/change", json={"remove": ["two"]})
    assert "did you mean 'golden'" in refused(answer, 404)


def test_who_is_being_forgotten_is_not_kept_anew(site: LoopSite, program: TestClient) -> None:
    """An erasure that was asked for while the item was changed finds nothing more than before."""
    add(program, records=picked(1))
    site.people.ask("ann", by="x", now=site.clock.now())
    answer = program.post(PATH, json={"expected": {f"{ANN}1": "x"}})
    assert "is being forgotten; ask again" in refused(answer, 503)
    assert change(program, remove=[f"{ANN}1"])["removed"] == 1


def test_all_who_change_at_once_are_heard(site: LoopSite) -> None:
    """Some add, some take out, some say what is expected; all of it is there at the end."""
    with site.program() as first:
        add(first, jsonl="".join(f'{{"id": "g{n}", "input": "g{n}?"}}\n' for n in range(9)))
    failures: list[str] = []

    def work(number: int) -> None:
        with site.program() as mine:
            for turn in range(3):
                id = f"{number}-{turn}"
                for path, body in (
                    ("add", {"jsonl": f'{{"id": "{id}", "input": "{id}?"}}'}),
                    ("change", {"remove": [f"g{3 * number + turn}"], "expected": {id: id}}),
                ):
                    answer = mine.post(f"/api/v1/datasets/golden/{path}", json=body)
                    if answer.status_code != 200:
                        failures.append(answer.text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    there = every(site)
    assert {id: there[id]["expected"] for id in there if "-" in id} == {
        f"{n}-{turn}": f"{n}-{turn}" for n in range(3) for turn in range(3)
    }
    assert not [id for id in there if id.startswith("g")]


def test_what_was_answered_is_not_asked_again(site: LoopSite, program: TestClient) -> None:
    """An item that expects something else is scored anew with the answer that was paid for."""
    loop = site.loop
    order = EvalOrder(dataset="golden", deployment="support", scorers=("exact",), baseline="none")
    clerk = FakeCaller(lambda _: "2")
    means = []
    for expected in ("1", "2"):
        change(program, expected={"two": expected})
        loop.orders.start(order, by="ada")
        job = loop.jobs.claim("worker", loop.clock.at, 10)
        assert job is not None
        asyncio.run(evaluate(job, store=loop.evals, caller=clerk, now=loop.clock.now, report=lambda *_: None))
        rows = {row.item: msgspec.json.decode(row.content) for row in loop.evals.results(job.id)}
        means.append(rows["two"]["marks"]["exact"]["value"])
    assert means == [False, True]
    assert len(clerk.calls) == 2


def test_an_item_is_changed_on_the_datasets_page(site: LoopSite) -> None:
    """Where it stands, to who may; the page after it shows the same part of the new version. Of an older
    version and to who may only look it offers nothing."""
    person = site.person("operator")
    page = person.get("/datasets/golden?part=validation").text
    assert page.count('action="/datasets/golden/change"') == 2
    fields = {"back": "/datasets/golden", "item": "two", "expected": " Zwei ", "part": "validation"}
    answer = pressed(person, "/datasets/golden/change", **fields)
    where = answer.headers["location"]
    assert where.endswith("?part=validation")
    after = person.get(where).text
    assert "Zwei" in after
    assert "The dataset is changed" in after
    old = site.loop.evals.datasets()[-1].digest
    assert "/change" not in person.get(f"/datasets/{old[:16]}").text
    pressed(person, "/datasets/golden/change", item="one", what="remove", expected="9")
    pressed(person, "/datasets/golden/change", item="two", expected="")
    there = every(site)
    assert "one" not in there
    assert there["two"].get("expected") is None
    reader = site.person("reader")
    assert "/change" not in reader.get("/datasets/golden").text
    assert pressed(reader, "/datasets/golden/change", item="two", what="remove").status_code == 403
    assert "is empty" in pressed(person, "/datasets/golden/change", what="remove").text


def test_every_item_can_be_reached_and_changed(site: LoopSite, program: TestClient) -> None:
    """Page by page, and after a change one is where one was."""
    lines = "".join(f'{{"id": "n{n:02}", "input": "n{n}?", "part": "train"}}\n' for n in range(60))
    add(program, jsonl=lines)
    person = site.person("operator")
    seen: list[str] = []
    where = "/datasets/golden?part=train"
    for _ in range(9):
        page = person.get(where).text
        seen += re.findall(r'name="item" value="([^"]+)"', page)
        following = re.search(r'href="([^"]+)#items" rel="next"', page)
        if following is None:
            break
        where = following[1].replace("&amp;", "&")
    there = {id for id, item in every(site).items() if item["part"] == "train"}
    assert (len(seen), set(seen)) == (61, there)
    assert "51 to 61 of 61" in page
    assert 'rel="prev"' in page
    fields = {"item": "n59", "expected": "x", "part": "train", "page": "3"}
    after = pressed(person, "/datasets/golden/change", **fields).headers["location"]
    assert "n59" in person.get(after).text
    assert "There are no more items" in person.get("/datasets/golden?part=train&page=4").text
    assert person.get("/datasets/golden?page=0").status_code == 400


def test_what_is_expected_and_no_text_is_not_offered_as_one(site: LoopSite, program: TestClient) -> None:
    """A form would make a text of it; taking it out is offered."""
    change(program, expected={"two": {"tool_calls": []}})
    page = site.person("operator").get("/datasets/golden?part=validation").text
    assert "What it expects is no text" in page
    assert page.count(">Take the item out<") == 2


def test_lines_of_an_expected_answer_end_as_they_were_written(site: LoopSite, program: TestClient) -> None:
    """A browser ends them otherwise; what is kept as it stood is no change."""
    change(program, expected={"two": "1\n2"})
    before = program.get("/api/v1/datasets/golden").json()["dataset"]["digest"]
    given = {"item": "two", "part": "validation", "expected": "1\r\n2"}
    pressed(site.person("operator"), "/datasets/golden/change", **given)
    assert every(site)["two"]["expected"] == "1\n2"
    assert program.get("/api/v1/datasets/golden").json()["dataset"]["digest"] == before


@pytest.mark.parametrize("said", ["Zwei\n", "  Zwei", "\nZwei \n\n"])
def test_blanks_around_an_expected_answer_are_part_of_it(
    site: LoopSite, program: TestClient, said: str
) -> None:
    """Some scorers compare every sign: the form has it as it stands, and what it holds is kept whole."""
    change(program, expected={"two": said})
    before = program.get("/api/v1/datasets/golden").json()["dataset"]["digest"]
    person = site.person("operator")
    page = person.get("/datasets/golden?part=validation").text
    # Of the first line's end behind the tag a browser makes nothing.
    (held,) = [
        each[1:] for each in re.findall(r'name="expected"[^>]*>([^<]*)</textarea>', page) if "Zwei" in each
    ]
    assert held == said
    given = {"item": "two", "part": "validation", "expected": held.replace("\n", "\r\n")}
    pressed(person, "/datasets/golden/change", **given)
    assert program.get("/api/v1/datasets/golden").json()["dataset"]["digest"] == before
    pressed(person, "/datasets/golden/change", item="two", part="validation", expected=f"{said} ")
    assert every(site)["two"]["expected"] == f"{said} "
    pressed(person, "/datasets/golden/change", item="two", part="validation", expected=" \r\n ")
    assert every(site)["two"].get("expected") is None
