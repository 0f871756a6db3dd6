"""`airboss dataset expect` and `remove`: what they send, what they print, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run
from tests.cli.test_dataset import DATASET

DONE: dict[str, Any] = {"dataset": DATASET, "removed": 0, "changed": 1, "same": 0}
PATH = "/api/v1/datasets/golden/change"
SUMMARY = "golden abababababab: train 6, validation 2, holdout 2; holdout read 1 time"


@pytest.mark.parametrize(
    ("arguments", "sent", "came"),
    [
        (
            ("expect", "golden", "q7", "--expected", "y"),
            {"expected": {"q7": "y"}},
            ({}, "1 item changed"),
        ),
        (("expect", "golden", "q7", "--nothing"), {"expected": {"q7": None}}, ({}, "1 item changed")),
        (
            ("expect", "golden", "q7", "--expected", "y"),
            {"expected": {"q7": "y"}},
            ({"changed": 0, "same": 1}, "0 items changed, 1 as before"),
        ),
        (
            ("remove", "golden", "q7", "q8"),
            {"remove": ["q7", "q8"]},
            ({"removed": 2, "changed": 0}, "2 items taken out"),
        ),
    ],
)
def test_items_are_named_by_their_ids(
    run: Run, api: AdminApi, arguments: tuple[str, ...], sent: Any, came: tuple[Any, str]
) -> None:
    """And what came of it is told, with how the dataset is now."""
    done, said = came
    api.answers["POST", PATH] = DONE | done
    code, out, err = run("dataset", *arguments, "--url", api.url)
    assert (code, out.splitlines(), err) == (0, [said, SUMMARY], "")
    assert api.asked[0][3] == sent
    code, out, _ = run("dataset", *arguments, "--json", "--url", api.url)
    assert (code, json.loads(out)) == (0, DONE | done)


def test_a_file_is_sent_whole(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """As `create` sends it."""
    file = tmp_path / "f.csv"
    file.write_text("id,input,expected\nq7,é,x\n", encoding="utf-8")
    api.answers["POST", PATH] = DONE
    assert run("dataset", "expect", "golden", "--file", str(file), "--url", api.url)[0] == 0
    assert api.asked[0][3] == {"jsonl": "id,input,expected\nq7,é,x\n", "source": str(file)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("expect", "golden"), "give ITEM with either --expected TEXT or --nothing, or --file"),
        (("expect", "golden", "q7"), "either --expected TEXT or --nothing"),
        (("expect", "golden", "q7", "--expected", "x", "--nothing"), "either --expected TEXT or --nothing"),
        (("expect", "golden", "--nothing"), "give ITEM with"),
        (("expect", "golden", "q7", "--file", "f.csv"), "or --file FILE"),
        (("expect", "golden", "--file", "nowhere.csv"), "nowhere.csv cannot be read"),
        (("remove", "golden"), "ITEM"),
    ],
)
def test_what_is_wrong_is_refused(run: Run, api: AdminApi, arguments: tuple[str, ...], message: str) -> None:
    """With exit code 2, and nothing sent."""
    code, _, err = run("dataset", *arguments, "--url", api.url)
    assert code == 2
    assert message in err
    assert api.asked == []
