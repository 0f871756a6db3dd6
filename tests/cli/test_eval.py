"""`airboss eval` and `job`: what is sent, exit codes of gates, tables; jobs followed through a restart."""

from __future__ import annotations

import json
import stat
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from airboss.cli import follow_job
from airboss.cli.api import Unreachable
from airboss.cli.follow_job import follow, read_job
from airboss.cli.scorers import scorer_of
from airboss.domain.errors import AirbossError, WrongCall
from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run

A = {"deployment": "support", "release": "a" * 64, "name": "old"}
B = {"deployment": "support", "release": "b" * 64, "name": "new"}
RUN = ("eval", "run", "--dataset", "golden", "--deployment", "support", "--scorer", "exact")


def job(state: str = "done", **given: Any) -> dict[str, Any]:
    """A job as the admin API gives it."""
    return {
        "id": "eval-1",
        "kind": "eval",
        "spec": {},
        "state": state,
        "done": 3,
        "total": 9,
        "note": "3 asked",
        "result": None,
        "error": None,
        "created_at": "2026-11-24T14:00:00+00:00",
        "updated_at": "2026-11-24T14:00:01Z",
        "by": "admin",
        **given,
    }


def interval(estimate: float, low: float, high: float) -> dict[str, Any]:
    """An interval as the admin API gives it."""
    return {"estimate": estimate, "low": low, "high": high, "confidence": 0.95, "method": "x"}


def comparison(name: str = "exact", **given: Any) -> dict[str, Any]:
    """A comparison as the admin API gives it: B is better."""
    return {
        "metric": {"name": name, "bounds": [0, 1], "higher_is_better": True},
        "items": 60,
        "pairs": 60,
        "units": 60,
        "unscored_a": 0,
        "unscored_b": 0,
        "causes": {},
        "mean_a": interval(0.25, 0.2, 0.3),
        "mean_b": interval(0.75, 0.7, 0.8),
        "difference": interval(0.5, 0.3, 0.7),
        "test": {"p_value": 0.0001, "method": "McNemar"},
        "p_adjusted": 0.0001,
        "labels": {},
        **given,
    }


TOTALS = {"answers": 60, "errors": 0, "cost_usd": 0.5, "cost_unknown": 0}


def evaluation(*comparisons: dict[str, Any], conclusion: str | None = None, **report: Any) -> dict[str, Any]:
    """An evaluation as the admin API gives it."""
    gate = {"metric": "exact", "rule": "better", "margin": 0}
    findings = [{"gate": gate, "conclusion": conclusion, "reason": "exact: because"}]
    decision = {"conclusion": conclusion, "alpha": 0.05, "findings": findings}
    return {
        "summary": {
            "id": "eval-1",
            "state": "done",
            "created_at": "2026-11-24T14:00:00+00:00",
            "by": "admin",
            "dataset": "golden",
            "part": "validation",
            "a": A,
            "b": B,
            "scorers": ["exact"],
            "done": 60,
            "total": 60,
            "note": "120 asked",
            "error": None,
            "conclusion": conclusion,
        },
        "plan": {"dataset_name": "golden", "part": "validation", "a": A, "b": B, "alpha": 0.05},
        "report": {
            "items": 60,
            "a": TOTALS,
            "b": TOTALS,
            "comparisons": list(comparisons) or [comparison()],
            "decision": decision if conclusion is not None else None,
            "position_bias": {},
            **report,
        },
        "holdout_reads_before": None,
    }


def ready(api: AdminApi, found: dict[str, Any]) -> None:
    """An API that does evaluations at once."""
    api.answers["POST", "/api/v1/evals"] = job("queued")
    api.answers["GET", "/api/v1/jobs/eval-1"] = job()
    api.answers["GET", "/api/v1/evals/eval-1"] = found


def test_run_sends_what_was_asked(run: Run, api: AdminApi) -> None:
    """Each option under its name; scorers and gates as often as given."""
    ready(api, evaluation())
    code, out, _ = run(
        *RUN,
        *("--scorer", "length:words", "--release", "new", "--baseline", "old", "--part", "holdout"),
        *("--why", "the last word", "--gate", "exact:better", "--repeats", "2", "--alpha", "0.01"),
        *("--seed", "5", "--concurrency", "3", "--json", "--url", api.url),
    )
    assert code == 0
    assert api.asked[0][3] == {
        "dataset": "golden",
        "deployment": "support",
        "release": "new",
        "baseline": "old",
        "scorers": ["exact", "length:words"],
        "part": "holdout",
        "gates": ["exact:better"],
        "repeats": 2,
        "alpha": 0.01,
        "seed": 5,
        "concurrency": 3,
        "why": "the last word",
    }
    found = json.loads(out)
    assert (found["id"], found["report"]["items"]) == ("eval-1", 60)


@pytest.mark.parametrize(("conclusion", "code"), [(None, 0), ("pass", 0), ("fail", 1), ("inconclusive", 1)])
def test_gates_answer_by_exit_code(run: Run, api: AdminApi, conclusion: str | None, code: int) -> None:
    """0 where all pass, 1 otherwise; in words and in JSON alike."""
    ready(api, evaluation(conclusion=conclusion))
    found, out, _ = run(*RUN, "--url", api.url)
    assert found == code
    assert ("gates:" in out) == (conclusion is not None)
    assert run(*RUN, "--json", "--url", api.url)[0] == code


def test_the_report_as_a_table(run: Run, api: AdminApi) -> None:
    """One line a scorer: both means, the difference with its interval, p and a verdict; then what to know."""
    comparisons = [
        comparison(),
        comparison("polite", difference=interval(-0.1, -0.2, -0.01), p_adjusted=0.01),
        comparison("brief", difference=interval(0.01, -0.2, 0.2), p_adjusted=0.9),
        comparison("latency", metric={"name": "latency", "bounds": None, "higher_is_better": False}),
        comparison("tone", difference=None, p_adjusted=None, labels={"dry": [3, 5]}),
        comparison(
            "schema",
            difference=None,
            p_adjusted=None,
            pairs=0,
            mean_a=None,
            mean_b=None,
            unscored_a=60,
            unscored_b=60,
            causes={"needs a schema": 120},
        ),
    ]
    found = evaluation(*comparisons, position_bias={"judge": {"items": 60, "consistent": 50}})
    ready(api, {**found, "holdout_reads_before": 2})
    _, out, _ = run("eval", "show", "eval-1", "--url", api.url)
    for line in (
        "exact 60 0.25 0.75 +0.5 (+0.3 to +0.7) 0.0001 better",
        "polite 60 0.25 0.75 -0.1 (-0.2 to -0.01) 0.0100 worse",
        "brief 60 0.25 0.75 +0.01 (-0.2 to +0.2) 0.9000 no difference shown",
        "latency 60 0.25 0.75 +0.5 (+0.3 to +0.7) 0.0001 worse",
        "dry 3:5",
        "unscored",
        "A: 60 answers, 0 errors, $0.5",
        "schema: of 60 items 60 unscored for A and 60 for B: 120 x needs a schema",
        "judge: the same vote in both orders for 50 of 60 items",
        "the holdout had been read 2 times before",
    ):
        assert line in " ".join(out.split()), out


def test_one_release_by_itself(run: Run, api: AdminApi) -> None:
    """No A, no difference: the score with its interval."""
    alone = comparison(
        difference=None, p_adjusted=None, test=None, pairs=0, mean_a=None, mean_b=interval(0.75, 0.6, 0.85)
    )
    found = evaluation(alone, a=None)
    found["plan"]["a"] = found["summary"]["a"] = None
    ready(api, found)
    api.answers["GET", "/api/v1/evals"] = {"evals": [found["summary"]]}
    _, out, _ = run(*RUN, "--url", api.url)
    assert "0.6 to 0.85" in out
    assert "answers, of judges too: 120 asked" in out
    assert "run it again" not in out
    found["report"]["b"] = {**TOTALS, "errors": 2}
    assert "run it again: what was answered is kept" in run(*RUN, "--url", api.url)[1]
    found["plan"]["anew"] = True  # an alarm does, and asks everything then
    assert "run it again" not in run(*RUN, "--url", api.url)[1]
    assert "held against" not in out
    assert "new bbbbbbbb" in run("eval", "list", "--url", api.url)[1]


def test_one_that_is_held_to_another(run: Run, api: AdminApi) -> None:
    """An alarm's: A is what that one found."""
    found = evaluation()
    found["plan"] |= {"held_to": "eval-0", "anew": True}
    ready(api, found)
    _, out, _ = run("eval", "show", "eval-1", "--url", api.url)
    assert ", as it was in eval-0, which B is held against" in out


def test_a_list_has_what_was_scored(run: Run, api: AdminApi) -> None:
    """A's mean and B's by scorer, as far as there are any, of one dataset if asked for."""
    found = evaluation()["summary"] | {"scorers": ["exact", "tone", "cost"]}
    found |= {"mean_a": {"exact": 0.25}, "mean_b": {"exact": 0.75, "cost": 0.001}}
    api.answers["GET", "/api/v1/evals"] = {"evals": [found]}
    out = run("eval", "list", "--dataset", "golden", "--url", api.url)[1]
    assert "exact 0.25 → 0.75, tone, cost 0.001" in " ".join(out.split())
    assert api.asked[-1][2] == {"limit": "50", "dataset": "golden"}


def test_an_evaluation_that_is_not_done(run: Run, api: AdminApi) -> None:
    """Show says how far it is, and why it failed if it did."""
    found = evaluation()
    found["report"] = None
    found["summary"] |= {"state": "failed", "done": 3, "error": "the dataset is gone"}
    ready(api, found)
    _, out, _ = run("eval", "show", "eval-1", "--url", api.url)
    assert "3 of 60 items; 120 asked" in out
    assert "the dataset is gone" in out
    api.answers["GET", "/api/v1/evals"] = {"evals": []}
    assert "no evaluations yet" in run("eval", "list", "--url", api.url)[2]


@pytest.mark.parametrize(
    ("state", "said"),
    [("failed", "eval-1 failed: the gateway is away"), ("cancelled", "was cancelled after 3 of 9")],
)
def test_a_job_that_ends_badly(run: Run, api: AdminApi, state: str, said: str) -> None:
    """Exit code 1, with why."""
    ready(api, evaluation())
    api.answers["GET", "/api/v1/jobs/eval-1"] = job(state, error="the gateway is away")
    code, _, err = run(*RUN, "--url", api.url)
    assert (code, said in err) == (1, True)


def test_detach_does_not_wait(run: Run, api: AdminApi) -> None:
    """It prints the id, and `--wait` of show waits later."""
    ready(api, evaluation())
    assert run(*RUN, "--detach", "--url", api.url)[:2] == (0, "eval-1\n")
    assert json.loads(run(*RUN, "--detach", "--json", "--url", api.url)[1]) == {"id": "eval-1"}
    assert ("GET", "/api/v1/jobs/eval-1") not in [asked[:2] for asked in api.asked]
    assert run("eval", "show", "eval-1", "--wait", "--json", "--url", api.url)[0] == 0
    assert ("GET", "/api/v1/jobs/eval-1") in [asked[:2] for asked in api.asked]


def test_a_wrong_part_is_refused(run: Run, api: AdminApi) -> None:
    """Before anything is sent."""
    assert run(*RUN, "--part", "test", "--url", api.url)[0] == 2
    assert api.asked == []


def test_jobs(run: Run, api: AdminApi) -> None:
    """List, show and cancel, for people and as JSON."""
    api.answers["GET", "/api/v1/jobs"] = {"jobs": [job("failed", error="away [red]")]}
    api.answers["GET", "/api/v1/jobs/eval-1"] = job("failed", error="away")
    api.answers["POST", "/api/v1/jobs/eval-1/cancel"] = job("cancelled")
    _, out, _ = run("job", "list", "--kind", "eval", "--limit", "5", "--url", api.url)
    assert "eval-1  failed    3/9  away [red]" in out
    assert api.asked[0][2] == {"kind": "eval", "limit": "5"}
    assert json.loads(run("job", "list", "--json", "--url", api.url)[1])["id"] == "eval-1"
    assert run("job", "show", "eval-1", "--url", api.url)[1].endswith("\naway\n")
    assert json.loads(run("job", "show", "eval-1", "--json", "--url", api.url)[1])["state"] == "failed"
    assert run("job", "cancel", "eval-1", "--url", api.url)[1] == "eval-1 is cancelled after 3 of 9 steps\n"
    api.answers["GET", "/api/v1/jobs"] = {"jobs": []}
    assert "no jobs yet" in run("job", "list", "--url", api.url)[2]


class Answers:
    """An `Api` that gives answers in turn; an exception among them is raised."""

    running = True

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked = 0

    def get(self, _path: str, _params: object = None) -> Any:
        """The next answer; the last stays."""
        self.asked += 1
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(found, BaseException):
            raise found
        return found

    def get_file(self, _path: str, _params: object) -> bytes:
        """Never asked."""
        raise AssertionError

    def post(self, _path: str, _body: object) -> Any:
        """Never asked."""
        raise AssertionError


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow without pauses."""
    monkeypatch.setattr(follow_job, "POLL_S", 0.0)


def test_following_outlives_a_restart(quick: None) -> None:
    """A controller that does not answer for a while is waited for; the job's end is what is returned."""
    away = Unreachable("no connection")
    api = Answers(job("queued"), away, away, job("running"), job(result={"run": "eval-1"}))
    found = follow(api, "eval-1", as_json=True, label="x")
    assert (found.state, bytes(found.result or b"")) == ("done", b'{"run":"eval-1"}')
    assert api.asked == 5


def test_what_was_found_is_asked_for_until_it_is_told(
    quick: None, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where the controller is started again between an evaluation's end and its report."""
    away = Unreachable("no connection")
    api = Answers(job(), away, evaluation())
    monkeypatch.setattr(follow_job, "reach", lambda *_: nullcontext(api))
    code, out, said = run("eval", "show", "eval-1", "--wait", "--json", "--data-dir", str(tmp_path))
    assert (code, json.loads(out)["state"], said) == (0, "done", "")


def test_following_ends(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is not there, and a controller that stays away, are not waited for."""
    with pytest.raises(AirbossError, match="no job"):
        follow(Answers(AirbossError("no job")), "eval-1", as_json=True, label="x")
    monkeypatch.setattr(follow_job, "GONE_S", 0.05)
    with pytest.raises(Unreachable):
        follow(Answers(Unreachable("away")), "eval-1", as_json=True, label="x")


def test_ctrl_c_leaves_the_job_running(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how to see it, and the verb ends as a shell would have it."""
    with pytest.raises(SystemExit) as ended:
        follow(Answers(KeyboardInterrupt()), "eval-1", as_json=True, label="x")
    assert ended.value.code == 130
    assert "eval-1 goes on without you; see it with `airboss job show eval-1`" in capsys.readouterr().err


def test_a_bar_shows_how_far_it_is(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal every state of the job is drawn, the first without a total included."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    found = follow(
        Answers(job("queued", done=0, total=0), job("running"), job()), "eval-1", as_json=False, label="[x]"
    )
    assert found == read_job(job())


def test_scorers_of_files_are_read_here(tmp_path: Path) -> None:
    """A schema's file becomes a table; other scorers go as they are written."""
    (tmp_path / "s.json").write_text('{"type": "object"}')
    table = {"kind": "json_schema", "schema": {"type": "object"}}
    assert scorer_of(f"json_schema:{tmp_path}/s.json", None) == table
    assert scorer_of(f"form=json_schema:{tmp_path}/s.json", None) == {**table, "name": "form"}
    for text in ("exact", r"regex:^a=\d:x$", "contains:please", "polite=contains:please", "json_schema"):
        assert scorer_of(text, None) == text
    assert scorer_of('{"kind": "exact"}', None) == {"kind": "exact"}
    (tmp_path / "broken.json").write_text("{")
    for text in ('{"kind"', "json_schema:nowhere.json", f"json_schema:{tmp_path}/broken.json"):
        with pytest.raises(WrongCall):
            scorer_of(text, None)


def test_python_is_put_into_the_data_directory(tmp_path: Path) -> None:
    """Under a name that follows from its content, for its owner alone; never sent to an Airboss elsewhere."""
    file, data = tmp_path / "tone.py", tmp_path / "data"
    file.write_text("def score(item, answer):\n    return True\n")
    sent = scorer_of(f"python:{file}:score", data)
    assert isinstance(sent, dict)
    place, _, function = sent["function"].rpartition(":")
    assert (function, sent["name"], sent["kind"]) == ("score", "score", "python")
    assert (data / "scorers" / place).read_bytes() == file.read_bytes()
    assert stat.S_IMODE((data / "scorers").stat().st_mode) == 0o700
    assert scorer_of(f'{{"kind": "python", "function": "{file}:score"}}', data) == {
        "kind": "python",
        "function": sent["function"],
    }
    file.write_text("def score(item, answer):\n    return False\n")
    changed = scorer_of(f"dry=python:{file}:score", data)
    assert isinstance(changed, dict)
    assert (changed["function"] != sent["function"], changed["name"]) == (True, "dry")
    assert scorer_of(f"python:{file}:score", None) == {
        "kind": "python",
        "function": f"{file}:score",
        "name": "score",
    }
    assert scorer_of("python:there.py:score", data) == {
        "kind": "python",
        "function": "there.py:score",
        "name": "score",
    }


def judge(**more: Any) -> dict[str, Any]:
    """A judge as the API tells of it."""
    part = {"estimate": 0.83, "low": 0.72, "high": 0.9, "confidence": 0.95, "method": "wilson"}
    by = {"n": 60, "yes_no": True, "agreement": part, "kappa": None, "sensitivity": part, "specificity": None}
    mean = {
        "scored": 2000,
        "sampled": 40,
        "judge_mean": 0.8,
        "error": part,
        "people": part,
        "corrected": part,
    }
    given = {"deployment": "support", "judge": "quality", "people": "right", "agreement": by, "sampled": 40}
    return {**given, "corrected": mean, "why": None, "rescaled": False, "only_ones": False, **more}


def test_judges_are_told_number_by_number(run: Run, api: AdminApi) -> None:
    """With their intervals, and why there is no corrected mean; --json has one a line."""
    found = [judge(), judge(judge="tone", corrected=None, why="labels have no mean")]
    api.answers["GET", "/api/v1/judges"] = {"judges": found}
    code, out, err = run("eval", "judges", "--deployment", "support", "--url", api.url)
    assert (code, err) == (0, "")
    assert "support: quality against right, as people judge" in out
    for line in ("0.830 (0.720 to 0.900) of people's yes", "2,000 scored calls", "none: labels have no mean"):
        assert line in out
    asked = api.asked[-1][2]
    assert (asked["deployment"], asked["cut"], "since" in asked, "judge" in asked) == (
        "support",
        "0.5",
        True,
        False,
    )
    assert "if it is one star" not in out
    api.answers["GET", "/api/v1/judges"] = {"judges": [*found, judge(only_ones=True)]}
    assert "if it is one star" in run("eval", "judges", "--url", api.url)[1]
    api.answers["GET", "/api/v1/judges"] = {"judges": found}
    code, out, _ = run("eval", "judges", "--url", api.url, "--json")
    assert [json.loads(line) for line in out.splitlines()] == found


def test_without_judges_it_says_what_to_do(run: Run, api: AdminApi) -> None:
    """One sentence."""
    api.answers["GET", "/api/v1/judges"] = {"judges": []}
    code, _, err = run("eval", "judges", "--url", api.url)
    assert (code, "airboss records score" in err) == (0, True)


def answer(item: str, side: str, **given: Any) -> dict[str, Any]:
    """An answer of an evaluation as the admin API gives it."""
    plain = {"item": item, "side": side, "expected": "yes", "answer": "no [b]", "error": None}
    return {**plain, "scores": {"exact": False}, "unscored": {}, "comments": {}, **given}


def test_items_are_a_table_all_of_them_as_json_or_a_file(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """JSON goes through every page; a table says that there are more; a file is as its ending says."""
    pages = {
        "": {"answers": [answer("q1", "a"), answer("q1", "b", unscored={"tone": "?"})], "next": "q1"},
        "q1": {"answers": [answer("q2", "b", scores={"tone": 0.25})], "next": None},
    }

    def items(params: dict[str, str]) -> Any:
        return b"a,b" if params.get("format") == "csv" else pages[params.get("after", "")]

    api.answers["GET", "/api/v1/evals/eval-1/items"] = items
    code, out, _ = run("eval", "items", "eval-1", "--json", "--url", api.url)
    assert [json.loads(line)["item"] for line in out.splitlines()] == ["q1", "q1", "q2"]
    code, out, _ = run("eval", "items", "eval-1", "--url", api.url)
    assert code == 0
    for words in ("no [b]", "unscored", "there are more"):
        assert words in out
    file = tmp_path / "x.csv"
    code, out, _ = run("eval", "items", "eval-1", "--out", str(file), "--url", api.url)
    assert (code, file.read_bytes()) == (0, b"a,b")
    assert run("eval", "items", "eval-1", "--out", str(tmp_path / "x.xls"), "--url", api.url)[0] == 2


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("--alpha", "nan"), "alpha is nan"),
        (("--scorer", '{"kind": "latency", "most_ms": Infinity}'), "scorers.most_ms is inf"),
    ],
)
def test_a_number_that_is_none_is_named(run: Run, api: AdminApi, given: tuple[str, ...], named: str) -> None:
    """JSON has no such number, and nothing is sent."""
    ask = ("eval", "run", "--dataset", "golden", "--deployment", "d", "--scorer", "exact", "--url", api.url)
    said = f"airboss: what is given cannot be sent as JSON: {named}\n"
    assert run(*ask, *given) == (2, "", said)
    assert api.asked == []
