"""`airboss dataset add`: what it sends, what it prints, what it refuses before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run
from tests.cli.test_dataset import DATASET

ADDED: dict[str, Any] = {
    "dataset": DATASET,
    "added": 3,
    "parts": {"validation": 2, "train": 1},
    "left_out": {},
}
NOTHING = {**ADDED, "added": 0, "parts": {}, "left_out": {"is there already": 1}}
PATH = "/api/v1/datasets/golden/add"


def test_records_are_named_by_their_ids(run: Run, api: AdminApi) -> None:
    """And how many were added, and where, is told, with how the dataset is now."""
    api.answers["POST", PATH] = ADDED
    code, out, err = run(
        *("dataset", "add", "golden", "--record", "r1", "--record", "r2", "--approved", "helpfulness:4"),
        *("--group-by", "session", "--part", "train", "--create", "--url", api.url),
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "added 3 items (train 1, validation 2)",
        "golden abababababab: train 6, validation 2, holdout 2; holdout read 1 time",
    ]
    assert api.asked[0][3] == {
        "part": "train",
        "create": True,
        "records": {
            "ids": ["r1", "r2"],
            "expected": None,
            "answered": False,
            "approved": "helpfulness",
            "at_least": 4.0,
            "group_by": "session",
        },
    }


def test_what_is_there_already_is_told_on_stderr(run: Run, api: AdminApi) -> None:
    """And is no failure: adding again what a script added before is done."""
    api.answers["POST", PATH] = NOTHING
    code, out, err = run("dataset", "add", "golden", "--record", "r1", "--expected", "no", "--url", api.url)
    assert (code, err) == (0, "airboss: 1 item left out: is there already\n")
    assert out.startswith("added 0 items\n")
    assert api.asked[0][3]["records"]["expected"] == "no"
    code, out, err = run("dataset", "add", "golden", "--record", "r1", "--json", "--url", api.url)
    assert (code, json.loads(out), err) == (0, NOTHING, "")


def test_all_calls_that_match_are_asked_for_at_once(run: Run, api: AdminApi) -> None:
    """By the filters of records; what is left out is told by cause."""
    api.answers["POST", PATH] = {**ADDED, "left_out": {"is there already": 2, "ended as error": 1}}
    code, _, err = run(
        *(
            "dataset",
            "add",
            "golden",
            "--from-records",
            "--deployment",
            "support",
            "--score",
            "helpfulness<0.5",
        ),
        *("--tag", "team=blue", "--since", "2026-11-01T00:00:00Z", "--slower-ms", "900", "--limit", "50"),
        *("--approved", "golden", "--only-approved", "--part", "validation", "--url", api.url),
    )
    assert (code, err.splitlines()) == (
        0,
        ["airboss: 2 items left out: is there already", "airboss: 1 item left out: ended as error"],
    )
    assert api.asked[0][3] == {
        "part": "validation",
        "create": False,
        "matching": {
            "filters": {
                "deployment": "support",
                "since": "2026-11-01T00:00:00+00:00",
                "score": "helpfulness<0.5",
                "tag": "team=blue",
                "slower_ms": "900",
            },
            "limit": 50,
            "only": True,
            "approved": "golden",
            "at_least": 1.0,
            "group_by": None,
        },
    }
    assert run("dataset", "add", "golden", "--from-records", "--url", api.url)[0] == 0
    assert (api.asked[1][3]["matching"]["filters"], api.asked[1][3]["matching"]["limit"]) == ({}, 1_000)


@pytest.mark.parametrize("verb", ["add", "create"])
def test_how_many_were_put_right_is_told(run: Run, api: AdminApi, verb: str) -> None:
    """Those whose items expect what people wrote."""
    path = PATH if verb == "add" else "/api/v1/datasets"
    for count, said in ((2, "2 items expect what people wrote"), (1, "1 item expects"), (0, "")):
        api.answers["POST", path] = {**ADDED, "new": True, "corrected": count}
        _, out, _ = run("dataset", verb, "golden", "--from-records", "--url", api.url)
        assert said in out
        assert ("in place of the answer\n" in out) == (count > 0)


def test_how_many_took_it_since_is_told(run: Run, api: AdminApi) -> None:
    """Also where nothing else came of it."""
    for count, said in ((1, "1 item was there and expects"), (2, "2 items were there and expect")):
        api.answers["POST", PATH] = {**NOTHING, "left_out": {}, "changed": count}
        _, out, err = run("dataset", "add", "golden", "--from-records", "--url", api.url)
        assert (out.splitlines()[1], err) == (f"{said} now what people wrote in place of the answer", "")


def test_a_file_is_sent_whole(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """As `create` sends it."""
    file = tmp_path / "f.csv"
    file.write_text("input\né\n", encoding="utf-8")
    api.answers["POST", PATH] = ADDED
    assert run("dataset", "add", "golden", "--file", str(file), "--url", api.url)[0] == 0
    assert api.asked[0][3] == {"jsonl": "input\né\n", "source": str(file), "part": None, "create": False}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either --record ID, as often as you like, or --file FILE, or --from-records"),
        (("--from-records", "--record", "r"), "either --record ID"),
        (("--record", "r", "--tag", "a=b"), "filters, --limit and --only-approved are for --from-records"),
        (("--file", "f.jsonl", "--limit", "5"), "are for --from-records"),
        (("--from-records", "--answered"), "--approved says it of calls that match"),
        (("--from-records", "--user", ""), "--user is empty"),
        (("--record", "r", "--file", "f.jsonl"), "either --record ID"),
        (("--file", "f.jsonl", "--expected", "x"), "are for --record"),
        (("--file", "f.jsonl", "--group-by", "user"), "are for --record"),
        (("--file", "f.jsonl", "--answered"), "are for --record"),
        (("--record", "r", "--group-by", "team"), "--group-by 'team' is none"),
        (("--record", "r", "--part", "test"), "--part 'test' is none"),
        (("--record", "r", "--approved", "x:y"), "SCORE or SCORE:LEAST"),
        (("--file", "nowhere.jsonl"), "nowhere.jsonl cannot be read"),
    ],
)
def test_what_is_wrong_is_refused(run: Run, api: AdminApi, arguments: tuple[str, ...], message: str) -> None:
    """With exit code 2, and nothing sent."""
    code, _, err = run("dataset", "add", "golden", *arguments, "--url", api.url)
    assert code == 2
    assert message in err
    assert api.asked == []


@pytest.mark.parametrize("as_json", [False, True], ids=["words", "json"])
def test_nothing_that_matches_is_no_failure(run: Run, api: AdminApi, as_json: bool) -> None:
    """A job that runs each night finds nothing in some: it hears so, and goes on."""
    none: dict[str, Any] = {"dataset": None, "added": 0, "parts": {}, "left_out": {}}
    api.answers["POST", PATH] = none
    said = ("dataset", "add", "golden", "--from-records", "--create", *["--json"] * as_json)
    code, out, err = run(*said, "--url", api.url)
    said_so = "no record matches; nothing was added to 'golden'; no dataset was made"
    assert (code, err) == (0, f"airboss: {said_so}\n")
    assert out == ("" if not as_json else json.dumps(none, separators=(",", ":")) + "\n")
    api.answers["POST", PATH] = {**none, "dataset": ADDED["dataset"]}
    code, out, _ = run(*said, "--url", api.url)
    assert (code, out.startswith('{"dataset":{' if as_json else "added 0 items\n")) == (0, True)
    api.answers["POST", PATH] = {**none, "dataset": ADDED["dataset"], "left_out": {"ended as error": 2}}
    code, _, err = run(*said, "--url", api.url)
    assert (code, err) == (0, "" if as_json else "airboss: 2 items left out: ended as error\n")
