"""Several releases against one baseline, by the admin API and on the page of each evaluation."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.console.described import assert_as_described
from tests.console.looped import LoopSite, pressed
from tests.console.test_api_eval import refused
from tests.console.test_pages import hrefs, shown
from tests.support.seed_contest import asked_for, serve, work

NAMES = ("sloppy", "even", "sharp")
ORDER = {"dataset": "orders", "deployment": "support", "scorers": ["exact"], "releases": list(NAMES)}


@pytest.fixture
def site(fresh: LoopSite) -> LoopSite:
    """A console over a prompt that is served, and three that are not."""
    serve(fresh.loop)
    return fresh


def test_a_contest_is_begun_by_one_call(site: LoopSite) -> None:
    """Its answer is the first evaluation's job, which names the contest; each is in the audit log and in the
    list, and all share one estimate in which A stands once."""
    program = site.program()
    told = program.post("/api/v1/evals/estimate", json=ORDER).json()
    assert [line["who"] for line in told["lines"]] == ["a", "b", "b", "b"]
    job = program.post("/api/v1/evals", json=ORDER).json()
    contest = job["spec"]["contest"]
    assert (contest["size"], contest["alpha"], job["spec"]["plan"]["alpha"]) == (3, 0.05, 0.05 / 3)
    listed = program.get("/api/v1/evals").json()["evals"]
    assert [(each["b"]["name"], each["contest"]) for each in reversed(listed)] == [
        (name, contest["id"]) for name in NAMES
    ]
    noted = [entry[2] for entry in site.audit.entries if entry[0] == "eval.run"]
    assert noted == [each["id"] for each in reversed(listed)]


def test_a_contest_is_begun_by_the_form(site: LoopSite) -> None:
    """With commas between the releases; its cost is told first, and gone on with from there."""
    person = site.person("operator")
    fields = {"dataset": "orders", "deployment": "support", "scorer": "exact", "back": "/evaluations"}
    fields["release"] = " even, sharp,"
    told = pressed(person, "/evaluations", **fields, what="estimate").text
    assert 'name="release" value=" even, sharp,"' in told
    assert site.loop.jobs.list("eval", 5) == ()
    assert "named twice" in pressed(person, "/evaluations", **{**fields, "release": "even,even"}).text
    first = pressed(person, "/evaluations", **fields).headers["location"]
    assert site.loop.jobs.list("eval", 5)[-1].id in first
    page = shown(person, first).text.split("Against the same baseline")[1]
    assert page.index("even") < page.index("sharp")


def test_a_contest_that_means_nothing_begins_nothing(site: LoopSite) -> None:
    """It is a 400 in words, and not one of its evaluations is queued."""
    program = site.program()
    for releases, said in (
        (["even", "even"], "'even' is named twice"),
        (["even"] * 9, "9 releases; name 2 to 8"),
        (["even", "nobody"], "no release 'nobody' is served"),
        (["even", "support"], "'support' is the baseline"),
    ):
        for path in ("", "/estimate"):
            answer = program.post(f"/api/v1/evals{path}", json={**ORDER, "releases": releases})
            assert said in refused(answer)
    assert program.get("/api/v1/evals").json()["evals"] == []


def test_the_table_is_told_by_the_contest_and_by_each_of_it(site: LoopSite) -> None:
    """Best first, with what an answer costs and takes; one evaluation alone is in none."""
    jobs = asked_for(site.loop, NAMES)
    caller = work(site.loop, 3)
    asked = Counter(caller.asked)
    assert len(set(asked.values())) == 1, f"A was asked for each: {asked}"
    program = site.program()
    contest = jobs[0].id.replace("eval-", "contest-").removesuffix("-1")
    path = "/api/v1/evals/{id}/contest"
    found = program.get(path.format(id=contest)).json()
    assert found == program.get(path.format(id=jobs[2].id)).json()
    assert_as_described(program.get("/api/openapi.json").json(), "GET", path, found)
    rows = [
        (each["release"]["name"], each["cells"][0]["standing"], each["conclusion"])
        for each in found["releases"]
    ]
    assert rows == [("sharp", "better", "pass"), ("even", "open", rows[1][2]), ("sloppy", "worse", "fail")]
    sharp = found["releases"][0]["took"]
    assert (sharp["usd_per_answer"], found["took"]["usd_per_answer"]) == (0.00006, 0.00002)
    assert sharp["ms_per_answer"] > 1.5 * found["took"]["ms_per_answer"] > 0
    alone = program.post("/api/v1/evals", json={**ORDER, "releases": None, "release": "even"}).json()
    assert "in no contest" in refused(program.get(path.format(id=alone["id"])), 404)
    for unknown in ("contest-0", "eval-0", "contest-", "job"):
        assert "no contest or evaluation" in refused(program.get(path.format(id=unknown)), 404)
    for method, path in (
        ("GET", f"jobs/{contest}"),
        ("POST", f"jobs/{contest}/cancel"),
        ("GET", f"evals/{contest}/items"),
        ("GET", f"evals/{contest}"),
    ):
        assert f"`airboss eval show {contest}`" in refused(program.request(method, f"/api/v1/{path}"), 404)
    assert "contest" not in program.get(f"/api/v1/evals/{alone['id']}").json()["summary"]


def test_where_one_evaluation_is_wanted_a_contest_leads_to_its_own(site: LoopSite) -> None:
    """Its id was printed, and is no evaluation's and no job's: the first of these is named, and where all
    are."""
    first = site.program().post("/api/v1/evals", json=ORDER).json()
    contest = first["spec"]["contest"]["id"]
    program = site.program()
    for answer in (
        program.get(f"/api/v1/evals/{contest}"),
        program.get(f"/api/v1/evals/{contest}/items"),
        program.get(f"/api/v1/jobs/{contest}"),
        program.post(f"/api/v1/jobs/{contest}/cancel", json={}),
    ):
        said = refused(answer, 404)
        assert repr(first["id"]) in said
        assert f"airboss eval show {contest}" in said
    assert first["id"] in site.person().get(f"/evaluations/{contest}").text


def test_a_table_has_a_place_on_the_page_of_each(site: LoopSite) -> None:
    """All releases with their standing, this one marked, the others one link away; what is under way says how
    far it is. One evaluation alone says nothing of it."""
    jobs = asked_for(site.loop, NAMES)
    work(site.loop, 2)
    person = site.person()
    page = shown(person, f"/evaluations/{jobs[0].id}")
    table = page.text.split("Against the same baseline")[1].split("Best first by exact")[0]
    assert table.index("even") < table.index("sloppy") < table.index("sharp")
    for words in ("A, the baseline", "surely worse", "not told apart", "queued", "B of this page"):
        assert words in table
    assert {f"/evaluations/{each.id}#contest" for each in jobs[1:]} <= set(hrefs(page))
    assert f"/evaluations/{jobs[0].id}#contest" not in hrefs(page)
    waiting = shown(person, f"/evaluations/{jobs[2].id}")
    assert "surely worse" in waiting.text
    alone = site.program().post("/api/v1/evals", json={**ORDER, "releases": None, "release": "even"}).json()
    assert "Against the same baseline" not in shown(person, f"/evaluations/{alone['id']}").text


def test_nobody_is_judged_by_time(site: LoopSite) -> None:
    """The page tells numbers and no verdict, neither in the table nor below it, and draws no difference; on
    an item neither side is better."""
    jobs = asked_for(site.loop, NAMES, scorers=("exact", "latency"))
    work(site.loop, 3)
    page = shown(site.person(), f"/evaluations/{jobs[2].id}").text
    above, below = page.split("Best first by exact")
    assert (above.count("surely better"), above.count("not judged")) == (1, 3)
    assert "by latency nobody is judged, for they answered at different times" in below
    assert "not judged" in below.split("Scorers")[1]
    assert "in the units of latency" not in below
    assert "allworse 0better 24differs 66" in below
    assert (
        "allworse 0better 0differs 66"
        in shown(site.person(), f"/evaluations/{jobs[2].id}?scorer=latency").text
    )
