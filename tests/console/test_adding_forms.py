"""A call is put into a dataset on its page, and rows on the dataset's, as the verb does it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airboss.evaluations.library import Library
from airboss.governance.erasure import Forgetting
from airboss.store.erasures import SqlErasures
from tests.console.looped import LoopSite, opened, pressed
from tests.console.site import put
from tests.console.test_api_adding import ANN, call, every
from tests.console.test_api_eval import LINES
from tests.console.test_pages import shown
from tests.support.seed_loop import OLD_PROMPT

CALL = f"/records/{ANN}1"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoopSite]:
    """A console with some calls of ann's and a dataset."""
    with opened(tmp_path) as made:
        erasures = SqlErasures(made.loop.data.ledger_url)
        made.people = Forgetting(erasures, "key")
        made.loop.apply(OLD_PROMPT)
        put(made.log, *(call(number) for number in range(3)))
        made.program().post("/api/v1/datasets", json={"name": "golden", "jsonl": LINES})
        yield made
        erasures.close()


def add(site: LoopSite, path: str = f"{CALL}/dataset", **fields: str) -> Any:
    """The form, sent."""
    return pressed(site.person("operator"), path, **{"back": CALL, **fields})


def test_a_call_is_added_on_its_page(site: LoopSite) -> None:
    """Which says before what will happen; after it the dataset's page shows the item, and where it was."""
    person = site.person("operator")
    page = person.get(CALL).text
    assert "every evaluation of the dataset asks it from now on" in page
    assert '<option value="golden">' in page
    fields = {"back": CALL, "dataset": "golden", "expected": " It is on its way. ", "part": "validation"}
    answer = pressed(person, f"{CALL}/dataset", **fields)
    where = answer.headers["location"]
    assert where.endswith("?part=validation")
    after = person.get(where).text
    assert "It is on its way." in after
    assert "The call is in this dataset" in after
    assert ">Versions<" in after
    assert "dataset.add" in [entry[0] for entry in site.audit.entries]
    old = Library(site.loop.evals, site.loop.clock.now).all()[-1].digest
    older = person.get(f"/datasets/{old[:16]}").text
    assert "This is an older version" in older
    assert 'action="/datasets/golden/add"' in older
    listed = person.get("/datasets").text
    assert listed.count(">golden<") == 1
    assert "of 2 versions" in listed


def test_a_new_dataset_begins_with_a_call(site: LoopSite) -> None:
    """With what was answered as what is right, all of it in validation; a name that is there is added to."""
    add(site, dataset="golden", fresh="regressions", answered="yes")
    (item,) = every(site, "regressions").values()
    assert (item["expected"], item["part"]) == ("Yes.", "validation")
    add(site, f"/records/{ANN}2/dataset", fresh="regressions")
    assert len(every(site, "regressions")) == 2
    assert f"{ANN}1" not in every(site)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "no dataset is chosen"),
        ({"dataset": "goldne"}, "did you mean &#39;golden&#39;"),
        ({"fresh": "a b"}, "is no name of a dataset"),
        ({"dataset": "golden", "answered": "yes", "expected": "No."}, "either what was answered"),
        ({"dataset": "golden", "expected": "x" * 20_001}, "20,001 characters"),
        ({"dataset": "golden", "part": "test"}, "part"),
    ],
)
def test_what_cannot_be_added_is_said(site: LoopSite, fields: dict[str, str], said: str) -> None:
    """And nothing is changed."""
    before = site.loop.evals.datasets()
    answer = add(site, **fields)
    assert answer.status_code in (400, 404)
    assert said in answer.text
    assert site.loop.evals.datasets() == before


def test_a_call_that_no_item_can_be_made_of_says_why(site: LoopSite) -> None:
    """In place of the form; one whose answer has no text offers none of it."""
    put(site.log, call(5, status="error", error_type="interrupted"), call(6, "Hm?", response=None))
    page = site.person("operator").get(f"/records/{ANN}5").text
    assert "cannot be put into a dataset: ended as error" in page
    assert "Add to a dataset" not in page
    page = site.person("operator").get(f"/records/{ANN}6").text
    assert "Add to a dataset" in page
    assert 'name="answered"' not in page


def test_rows_are_added_on_the_datasets_page(site: LoopSite) -> None:
    """Pasted cells, to the newest version, whichever the page shows; a wrong one is named, none added."""
    rows = "/datasets/golden/add"
    assert f'action="{rows}"' in site.person("operator").get("/datasets/golden").text
    answer = add(site, rows, text="input\texpected\nMore?\tyes\n", part="train")
    assert "More?" in shown(site.person("operator"), answer.headers["location"]).text
    before = every(site)
    assert "the text, line 2: " in add(site, rows, text='{"input": "x"}\n{"inptu": 1}').text
    assert add(site, rows, text=" ").status_code == 400
    assert every(site) == before


def test_who_may_only_look_gets_no_form(site: LoopSite) -> None:
    """And may not send it."""
    reader = site.person("reader")
    assert "Add to a dataset" not in reader.get(CALL).text
    assert "Add items" not in reader.get("/datasets/golden").text
    for path in (f"{CALL}/dataset", "/datasets/golden/add"):
        assert pressed(reader, path, dataset="golden", text="input\nx").status_code == 403


def test_a_page_is_of_its_own_name(site: LoopSite) -> None:
    """Where another dataset has the same content, a page's links and its button are not of that one."""
    site.program().post("/api/v1/datasets", json={"name": "silver", "jsonl": LINES})
    person = site.person("operator")
    page = person.get("/datasets/golden").text
    assert 'href="/datasets/golden?part=validation"' in page
    assert 'action="/datasets/golden/delete"' in page
    listed = person.get("/datasets").text
    assert 'href="/datasets/golden"' in listed
    assert 'href="/datasets/silver"' in listed


def test_a_dataset_is_opened_where_it_has_items(site: LoopSite) -> None:
    """One made of an added call has all of it in validation, one that is divided is opened at train."""
    person = site.person("operator")
    assert add(site, fresh="regressions").status_code == 303
    chosen = re.compile(r'part=(\w+)" aria-current="true"')
    assert chosen.findall(person.get("/datasets/regressions").text) == ["validation"]
    assert chosen.findall(person.get("/datasets/regressions?part=train").text) == ["train"]
    assert chosen.findall(person.get("/datasets/golden").text) == ["train"]
