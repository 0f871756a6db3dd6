"""What verbs say where there is nothing to print."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run

V1 = "/api/v1/"
LISTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "approvals list": ("approvals", {"approvals": []}, "nothing waits for approval"),
    "approvals list --all": ("approvals", {"approvals": []}, "nothing was ever to be approved"),
    "audit list": ("audit", {"entries": [], "next": None}, "nothing was done yet"),
    "dataset list": ("datasets", {"datasets": []}, "no datasets yet; `airboss dataset create"),
    "eval judges": ("judges", {"judges": []}, "no judge can be held against people yet"),
    "eval items e": ("evals/e/items", {"answers": [], "next": None}, "no answers are there"),
    "eval list": ("evals", {"evals": []}, "no evaluations yet; `airboss eval run`"),
    "eval list --dataset d": ("evals", {"evals": []}, "no evals match"),
    "finetune list": ("finetunes", {"finetunes": []}, "nothing was fine-tuned yet"),
    "job list": ("jobs", {"jobs": []}, "no jobs yet"),
    "job list --kind x": ("jobs", {"jobs": []}, "no jobs of kind 'x'; kinds are"),
    "keys list": ("keys", {"keys": []}, "there are no keys yet; `airboss keys create NAME`"),
    "keys teams": ("teams", {"teams": []}, "there are no teams; write one as [teams.NAME]"),
    "keys tags": ("tags", {"tags": []}, "no tag has a budget; write one as [tags.NAME]"),
    "monitor drift": ("drift", {"deployments": []}, "no deployment is served"),
    "monitor list": ("alarms", {"alarms": []}, "there are no alarms; write [alarms.NAME]"),
    "node list": ("nodes", {"nodes": []}, "no machine has joined"),
    "policy list": ("config", {"config": ""}, "no policy; [policies.NAME] makes one"),
    "probe list": ("probes", {"probes": []}, "no probes yet"),
    "records": ("records", {"records": [], "next": None}, "no records match"),
    "records --search x": ("records", {"records": [], "next": None}, "no record holds these words"),
    "records --by user": (
        "usage",
        {"group_by": ["user"], "rows": [], "against": None, "compared": []},
        "nothing was used then",
    ),
    "records dead": ("dead-letters", {"count": 0, "letters": []}, "no dead letters"),
    "release list": ("releases", {"releases": []}, "no release yet; `airboss apply FILE`"),
    "replica list": ("status", {"replicas": [], "scaling": []}, "no model of this configuration runs here"),
    "rollout status": ("rollouts", {"rollouts": []}, "no rollout yet; `airboss rollout start"),
    "scoring list": ("scorings", {"scorings": []}, "nothing was scored so yet"),
    "tune list": ("tunes", {"tunes": []}, "nothing was tuned yet"),
}


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
@pytest.mark.parametrize("verb", LISTS)
def test_where_there_is_nothing_stderr_says_so(run: Run, api: AdminApi, verb: str, as_json: bool) -> None:
    """A script reads nothing from stdout, a person hears what to do, and it is no failure."""
    path, answer, words = LISTS[verb]
    api.answers["GET", V1 + "deployments"] = {"deployments": []}
    api.answers["GET", V1 + "keys"] = {"keys": []}
    api.answers["GET", V1 + path] = answer
    code, out, err = run(*verb.split(), *["--json"] * as_json, "--url", api.url)
    assert (code, out) == (0, "")
    assert err.startswith(f"airboss: {words}"), err
    assert err.count("\n") == 1


@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "json"])
@pytest.mark.parametrize("part", ["train", "holdout"])
def test_an_empty_part_is_told_with_the_others(run: Run, api: AdminApi, part: str, as_json: bool) -> None:
    """Whoever exports the part that is meant unless told otherwise hears where the items are."""
    empty = {"part": part, "items": []}
    api.answers["GET", V1 + "datasets/golden/items"] = api.answers["POST", V1 + "datasets/golden/holdout"] = (
        empty
    )
    sizes = {"train": 0, "validation": 1_250, "holdout": 0}
    api.answers["GET", V1 + "datasets/golden"] = {"dataset": {"sizes": sizes}, "readings": []}
    said = ("--part", part, *(["--why", "look"] if part == "holdout" else []), *["--json"] * as_json)
    code, out, err = run("dataset", "export", "golden", *said, "--url", api.url)
    assert (code, out) == (0, "")
    assert err == (
        f"airboss: {part} of 'golden' is empty: train has 0, validation has 1,250, holdout has 0; --part "
        "names another\n"
    )


def test_a_test_of_an_alarm_that_notifies_nobody_says_so(run: Run, api: AdminApi) -> None:
    """It was sent to all of none."""
    api.answers["POST", V1 + "alarms/slow/test"] = {"notifications": []}
    code, out, err = run("monitor", "test", "slow", "--url", api.url)
    assert (code, out) == (0, "")
    assert err == "airboss: alarm 'slow' notifies nobody; name whom as `notify` under [alarms.slow]\n"
