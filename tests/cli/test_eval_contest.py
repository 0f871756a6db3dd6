"""`airboss eval run` with several releases, and `eval show` of a contest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airboss.cli import eval_contest, follow_job
from airboss.cli.api import Unreachable
from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run
from tests.cli.test_eval import RUN, comparison, evaluation, job

TABLE = Path(__file__).parent.parent / "evaluations" / "contest.json"
TWO = ("--release", "new", "--release", "other")


@pytest.fixture
def table(api: AdminApi) -> Any:
    """A contest of three that is done, as the API gives it, and may be changed."""
    found = json.loads(TABLE.read_text())
    first = job("queued", id="eval-0f-1", spec={"contest": {"id": "contest-0f", "size": 3, "alpha": 0.05}})
    api.answers["POST", "/api/v1/evals"] = first
    api.answers["GET", "/api/v1/evals/contest-0f/contest"] = found
    for number in (1, 2, 3):
        api.answers["GET", f"/api/v1/jobs/eval-0f-{number}"] = job(id=f"eval-0f-{number}")
    return found


def test_several_releases_are_one_order(run: Run, api: AdminApi, table: Any) -> None:
    """Sent together, each waited for, and the table printed whole; one release is sent as ever."""
    code, out, _ = run(*RUN, *TWO, "--json", "--url", api.url)
    assert code == 1, "the gates of one failed"
    assert json.loads(out) == table
    sent = api.asked[0][3]
    assert (sent["releases"], "release" in sent) == (["new", "other"], False)
    waited = [path for _, path, *_ in api.asked if path.startswith("/api/v1/jobs/")]
    assert waited == [f"/api/v1/jobs/eval-0f-{number}" for number in (1, 2, 3)]
    api.answers["POST", "/api/v1/evals"] = job("queued")
    run(*RUN, "--release", "new", "--detach", "--url", api.url)
    assert (api.asked[-1][3]["release"], "releases" in api.asked[-1][3]) == ("new", False)
    run(*RUN, "--detach", "--url", api.url)
    assert api.asked[-1][3]["release"] is None


def test_n_tells_units_and_items(run: Run, api: AdminApi, table: Any) -> None:
    """Where those are not the same, as an evaluation's does."""
    table["releases"][0]["cells"][0] |= {"units": 1, "scored": 6}
    _, out, _ = run("eval", "show", "contest-0f", "--url", api.url)
    assert (out.count("1 (6 items)"), out.count(" 60 ") > 1) == (1, True)


@pytest.mark.parametrize(
    ("conclusions", "code"),
    [((None, None, None), 0), (("pass", "pass", "pass"), 0), (("pass", "pass", "inconclusive"), 1)],
)
def test_gates_must_pass_for_each(
    run: Run, api: AdminApi, table: Any, conclusions: tuple[str | None, ...], code: int
) -> None:
    """One that does not is exit code 1."""
    for each, conclusion in zip(table["releases"], conclusions, strict=True):
        each["conclusion"] = conclusion
    assert run(*RUN, *TWO, "--url", api.url)[0] == code


def test_the_table_in_words(run: Run, api: AdminApi, table: Any) -> None:
    """The baseline, then the best first: each scorer with distance, p and standing; cost and time once."""
    _, out, _ = run("eval", "show", "contest-0f", "--url", api.url)
    said = " ".join(out.split())
    for line in (
        "contest-0f, golden validation: 3 releases against old aaaaaaaa",
        "B - A (98.33%)",
        "A old aaaaaaaa exact 0.5 $0.005 800 ms",
        "new c cccccccc exact 60 0.7 +0.2 (+0.1 to +0.3) 0.0480 surely better $0.005 200 ms",
        "length 60 0.1 -0.4 (-0.5 to -0.3) 0.0003 surely better",
        "new b bbbbbbbb exact 60 0.55 +0.05 (-0.05 to +0.15) 0.9000 not told apart $0.005 100 ms",
        "new d dddddddd exact 54 0.2 -0.3 (-0.4 to -0.2) 0.0030 surely worse, 6 unscored $0.001 300 ms fail",
        "alpha 0.05 over all of them; best first by exact; each in full: airboss eval show eval-0f-2",
    ):
        assert line in said, out
    assert max(map(len, out.splitlines())) < 130


def test_an_evaluation_shows_its_contest(run: Run, api: AdminApi, table: Any) -> None:
    """Below its own report; in JSON as `table`."""
    found = evaluation()
    found["summary"] |= {"id": "eval-0f-1", "contest": "contest-0f"}
    api.answers["GET", "/api/v1/evals/eval-0f-1"] = found
    api.answers["GET", "/api/v1/evals/eval-0f-1/contest"] = table
    _, out, _ = run("eval", "show", "eval-0f-1", "--url", api.url)
    assert out.index("better") < out.index("contest-0f")
    _, out, _ = run("eval", "show", "eval-0f-1", "--json", "--url", api.url)
    assert json.loads(out)["table"] == table


def test_nobody_is_judged_by_time(run: Run, api: AdminApi, table: Any) -> None:
    """In the table, nor in the report above it, which would call them worse."""
    table["not_judged"] = ["length"]
    for each in table["releases"]:
        each["cells"][1]["standing"] = None
    _, out, _ = run("eval", "show", "contest-0f", "--url", api.url)
    assert "-0.4 (-0.5 to -0.3) 0.0003 not judged" in " ".join(out.split())
    assert "by length nobody is judged: the releases answered at different times" in out
    found = evaluation(comparison(), comparison("length"))
    found["summary"] |= {"id": "eval-0f-1", "contest": "contest-0f"}
    found["not_judged"] = ["length"]
    api.answers["GET", "/api/v1/evals/eval-0f-1"] = found
    api.answers["GET", "/api/v1/evals/eval-0f-1/contest"] = table
    _, out, _ = run("eval", "show", "eval-0f-1", "--url", api.url)
    report = out.split("contest-0f")[0]
    assert (report.count("better"), report.count("not judged")) == (1, 1)


def test_what_did_not_end_well_is_said_after_the_table(run: Run, api: AdminApi, table: Any) -> None:
    """The others are shown, and it is no success; what is under way says how far it is."""
    table["releases"][2] |= {"state": "failed", "error": "it answered none", "cells": [], "took": None}
    table["releases"][1] |= {"state": "running", "done": 7, "cells": [], "took": None}
    api.answers["GET", "/api/v1/jobs/eval-0f-3"] = job("failed", id="eval-0f-3", error="it answered none")
    code, out, said = run("eval", "show", "contest-0f", "--url", api.url)
    assert (code, "running 7/60" in out, "failed: it answered none" in out) == (0, True, True)
    table["releases"][2]["error"] = "it said\n" + 400 * "no "
    out = run("eval", "show", "contest-0f", "--url", api.url)[1]
    assert "failed: it said no no" in out
    assert max(map(len, out.splitlines())) < 160, "the table is as wide as its columns"
    table["releases"][2]["error"] = "it answered none"
    table["releases"][1]["state"] = "cancelled"
    code, out, said = run(*RUN, *TWO, "--url", api.url)
    assert (code, "surely better" in out) == (1, True)
    assert "2 of 3 evaluations came to nothing: eval-0f-1 cancelled: -; eval-0f-3 failed: it answered" in said


def test_a_contest_is_left_to_itself(run: Run, api: AdminApi, table: Any) -> None:
    """Its id is printed, which `show` takes, and waits for where it is told to."""
    assert run(*RUN, *TWO, "--detach", "--url", api.url)[1] == "contest-0f\n"
    assert json.loads(run(*RUN, *TWO, "--detach", "--json", "--url", api.url)[1]) == {"id": "contest-0f"}
    asked = len(api.asked)
    run("eval", "show", "contest-0f", "--wait", "--url", api.url)
    assert len([each for each in api.asked[asked:] if each[1].startswith("/api/v1/jobs/")]) == 3


@pytest.mark.parametrize("away_at", [0, 1])
def test_a_controller_that_is_started_again_is_waited_for(
    run: Run, api: AdminApi, table: Any, monkeypatch: pytest.MonkeyPatch, away_at: int
) -> None:
    """Also while the table is asked for, before the evaluations' ends and after them."""
    asked = []
    real = eval_contest.table

    def told(*args: Any) -> Any:
        asked.append(args)
        if len(asked) == away_at + 1:
            raise Unreachable("no connection")
        return real(*args)

    monkeypatch.setattr(follow_job, "POLL_S", 0.0)
    monkeypatch.setattr(eval_contest, "table", told)
    code, out, said = run("eval", "show", "contest-0f", "--wait", "--json", "--url", api.url)
    assert (code, said, len(asked)) == (0, "", 3)
    assert json.loads(out) == table


def test_who_gives_up_waiting_is_told_what_goes_on(
    run: Run, api: AdminApi, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else has said what the contest is called."""

    def gone(*_: Any) -> Any:
        raise Unreachable("no connection.")

    monkeypatch.setattr(follow_job, "GONE_S", 0.0)
    monkeypatch.setattr(follow_job, "POLL_S", 0.0)
    monkeypatch.setattr(eval_contest, "table", gone)
    code, out, said = run(*RUN, *TWO, "--url", api.url)
    assert (code, out) == (1, "")
    assert "contest-0f goes on when it runs again: see it with `airboss eval show contest-0f`" in said


def test_ctrl_c_names_the_contest(
    run: Run, api: AdminApi, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not one evaluation of it, whichever was waited for."""

    def pressed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(follow_job, "read_job", pressed)
    code, out, said = run(*RUN, *TWO, "--url", api.url)
    assert (code, out) == (130, "")
    assert said == "\nairboss: contest-0f goes on without you; see it with `airboss eval show contest-0f`\n"
