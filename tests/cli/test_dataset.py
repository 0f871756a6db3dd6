"""`airboss dataset`: what it sends, what it prints, what it refuses before anything is sent."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run

DATASET: dict[str, Any] = {
    "name": "golden",
    "digest": "ab" * 32,
    "created_at": "2026-11-24T14:00:00+00:00",
    "shares": {"seed": 0, "train": 0.6, "validation": 0.2},
    "sizes": {"train": 6, "validation": 2, "holdout": 2},
    "erased": 0,
    "holdout_reads": 1,
}
CREATED = {"dataset": DATASET, "new": True, "left_out": {}}
ITEM: dict[str, Any] = {
    "id": "q",
    "input": {"messages": [{"role": "user", "content": "é?"}], "variables": {}, "params": {}},
    "expected": "yes",
    "tags": [],
    "group": None,
    "part": None,
    "record": "r",
    "user": "ann",
}


def test_create_sends_the_file_whole(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """With the shares of the split, and the file's name for messages."""
    file = tmp_path / "f.jsonl"
    file.write_text('{"input": "é"}\n', encoding="utf-8")
    api.answers["POST", "/api/v1/datasets"] = CREATED
    code, out, _ = run(
        *("dataset", "create", "golden", "--file", str(file), "--split", "60/20/20", "--seed", "7"),
        *("--url", api.url),
    )
    assert code == 0
    assert out == "golden abababababab: train 6, validation 2, holdout 2; holdout read 1 time\n"
    assert api.asked[0][3] == {
        "name": "golden",
        "jsonl": '{"input": "é"}\n',
        "source": str(file),
        "train": 0.6,
        "validation": 0.2,
        "seed": 7,
    }


def test_parts_that_are_too_small_are_said(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """On stderr where it is made, with --json too; where it is shown in the report, or the JSON."""
    uneven = [{"part": "validation", "words": "validation: 2 items of 1 user, asked for 20%; take more"}]
    api.answers["POST", "/api/v1/datasets"] = {**CREATED, "uneven": uneven}
    api.answers["GET", "/api/v1/datasets/golden"] = {"dataset": DATASET, "readings": [], "uneven": uneven}
    file = tmp_path / "f.jsonl"
    file.write_text('{"input": "?"}\n')
    for more in ((), ("--json",)):
        _, _, said = run("dataset", "create", "golden", "--file", str(file), "--url", api.url, *more)
        assert said == f"airboss: {uneven[0]['words']}\n"
    _, out, said = run("dataset", "show", "golden", "--url", api.url)
    assert (out.splitlines()[1], said) == (uneven[0]["words"], "")
    _, out, _ = run("dataset", "show", "golden", "--json", "--url", api.url)
    assert json.loads(out)["uneven"] == uneven


def test_create_reads_stdin(run: Run, api: AdminApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is stdin."""

    class Stdin:
        buffer = io.BytesIO(b'{"input": "x"}\n')

    monkeypatch.setattr("sys.stdin", Stdin())
    api.answers["POST", "/api/v1/datasets"] = CREATED
    code, out, _ = run("dataset", "create", "golden", "--file", "-", "--json", "--url", api.url)
    assert (code, json.loads(out)) == (0, CREATED)
    assert api.asked[0][3]["jsonl"] == '{"input": "x"}\n'


def test_create_from_records(run: Run, api: AdminApi) -> None:
    """The filters of `records` go along, and what was left out is told on stderr."""
    api.answers["POST", "/api/v1/datasets"] = {**CREATED, "left_out": {"ended as error": 3}}
    code, _, err = run(
        *("dataset", "create", "golden", "--from-records", "--deployment", "support", "--user", "ann"),
        *("--tag", "project=apollo", "--score", "helpfulness<1", "--slower-ms", "1500"),
        *("--limit", "9", "--approved", "helpfulness:4", "--only-approved", "--group-by", "session"),
        *("--url", api.url),
    )
    assert (code, err) == (0, "airboss: 3 records left out: ended as error\n")
    assert api.asked[0][3]["records"] == {
        "filters": {
            "deployment": "support",
            "user": "ann",
            "tag": "project=apollo",
            "score": "helpfulness<1",
            "slower_ms": "1500",
        },
        "limit": 9,
        "approved": "helpfulness",
        "at_least": 4.0,
        "only": True,
        "group_by": "session",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either --file FILE or --from-records"),
        (("--file", "f.jsonl", "--from-records"), "either --file"),
        (("--file", "nowhere.jsonl"), "nowhere.jsonl cannot be read"),
        (("--file", "nowhere.jsonl", "--user", "ann"), "filters are for --from-records"),
        (("--from-records", "--split", "60/20"), "three percents"),
        (("--from-records", "--split", "60/20/30"), "three percents"),
        (("--from-records", "--split", "a/b/c"), "three percents"),
        (("--from-records", "--split", "-10/60/50"), "three percents"),
        (("--from-records", "--approved", "x:y"), "SCORE or SCORE:LEAST"),
        (("--from-records", "--status", "fine"), "--status 'fine' is none"),
    ],
)
def test_create_refuses_what_is_wrong(
    run: Run, api: AdminApi, arguments: tuple[str, ...], message: str
) -> None:
    """With exit code 2, and nothing sent."""
    code, _, err = run("dataset", "create", "golden", *arguments, "--url", api.url)
    assert code == 2
    assert message in err
    assert api.asked == []


def test_a_file_that_is_not_utf_8_is_said(run: Run, api: AdminApi, tmp_path: Path) -> None:
    """With the line that it is in."""
    file = tmp_path / "f.jsonl"
    file.write_bytes(b'{"input": "x"}\n{"input": "\xff"}\n')
    code, _, err = run("dataset", "create", "golden", "--file", str(file), "--url", api.url)
    assert (code, "f.jsonl, line 2: not UTF-8" in err) == (2, True)


def test_a_file_that_is_too_large_is_said(
    run: Run, api: AdminApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not read further."""
    monkeypatch.setattr("airboss.cli.dataset_words.FILE_BYTES_MAX", 5)
    file = tmp_path / "f.jsonl"
    file.write_bytes(b"x" * 6)
    code, _, err = run("dataset", "create", "golden", "--file", str(file), "--url", api.url)
    assert (code, "divide it" in err) == (2, True)


def test_list_and_show(run: Run, api: AdminApi) -> None:
    """As a table and as JSON; show adds who has read the holdout."""
    api.answers["GET", "/api/v1/datasets"] = {"datasets": [DATASET]}
    reading = {"at": "2026-11-24T15:00:00+00:00", "who": "admin", "why": "the last word"}
    api.answers["GET", "/api/v1/datasets/golden"] = {"dataset": DATASET, "readings": [reading]}
    _, table, _ = run("dataset", "list", "--url", api.url)
    assert [word for word in table.splitlines()[1].split() if word] == [
        *("golden", "abababababab", "6", "2", "2", "0", "1", "2026-11-24", "14:00:00")
    ]
    _, listed, _ = run("dataset", "list", "--json", "--url", api.url)
    assert json.loads(listed) == DATASET
    _, shown, _ = run("dataset", "show", "golden", "--url", api.url)
    assert shown.splitlines()[1] == "holdout read 2026-11-24 15:00:00 by admin: the last word"
    _, shown, _ = run("dataset", "show", "golden", "--json", "--url", api.url)
    assert json.loads(shown) == {**DATASET, "readings": [reading], "uneven": []}
    api.answers["GET", "/api/v1/datasets"] = {"datasets": [DATASET, {**DATASET, "digest": "cd" * 32}]}
    _, table, _ = run("dataset", "list", "--url", api.url)
    assert ("abab" in table, "cdcd" in table) == (True, False)
    assert table.endswith("and 1 version of before; --json lists them\n")
    assert "cdcd" in run("dataset", "list", "--json", "--url", api.url)[1]
    api.answers["GET", "/api/v1/datasets"] = {"datasets": []}
    assert "no datasets yet" in run("dataset", "list", "--url", api.url)[2]


def test_export_prints_lines_that_create_takes(run: Run, api: AdminApi) -> None:
    """Each pinned to its part; what is not set is left out, and the holdout wants a reason."""
    api.answers["GET", "/api/v1/datasets/golden/items"] = {"part": "train", "items": [ITEM]}
    api.answers["POST", "/api/v1/datasets/golden/holdout"] = {"part": "holdout", "items": [ITEM]}
    _, out, _ = run("dataset", "export", "golden", "--url", api.url)
    assert json.loads(out) == {
        "id": "q",
        "input": ITEM["input"],
        "expected": "yes",
        "part": "train",
        "user": "ann",
    }
    _, out, _ = run("dataset", "export", "golden", "--part", "holdout", "--why", "look", "--url", api.url)
    assert json.loads(out)["part"] == "holdout"
    assert api.asked[-1][3] == {"why": "look"}
    asked = len(api.asked)
    assert run("dataset", "export", "golden", "--part", "holdout", "--url", api.url)[0] == 2
    assert run("dataset", "export", "golden", "--part", "test", "--url", api.url)[0] == 2
    assert len(api.asked) == asked


def test_delete_wants_a_yes(run: Run, api: AdminApi) -> None:
    """Without it nothing is sent."""
    api.answers["POST", "/api/v1/datasets/golden/delete"] = {"deleted": "golden"}
    assert run("dataset", "delete", "golden", "--url", api.url)[0] == 2
    assert api.asked == []
    assert run("dataset", "delete", "golden", "--yes", "--url", api.url)[:2] == (0, "deleted golden\n")
    _, out, _ = run("dataset", "delete", "golden", "--yes", "--json", "--url", api.url)
    assert json.loads(out) == {"deleted": "golden"}
