"""`airboss records dead`, on the data of a stopped Airboss, and against a server."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import msgspec

from airboss.controller.dead_letters import DeadLetters
from airboss.domain.ports import JournalMove, RecordFilter
from airboss.store.datadir import DataDir
from airboss.store.duckdb import DuckDBRecordLog
from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run
from tests.cli.test_records_files import empty
from tests.store.samples import call_id, closed_json, opened_json, record_json
from tests.store.test_contract_scores import score


def test_letters_are_shown_and_tried_again(run: Run, tmp_path: Path) -> None:
    """What becomes a record, or finds it, is gone from the list; the exit code says whether any are left."""
    path = empty(tmp_path / "data")
    data = DataDir(path)
    with closing(DuckDBRecordLog(data.records_path)) as log:
        log.apply(JournalMove(segment="w/1", start=0, end=1, records=(record_json(4),)))
    data.journal_dir.mkdir(exist_ok=True)
    letters = DeadLetters(data.journal_dir / "dead-letters.jsonl")
    letters.add("w-1/000001", 0, "it was refused", opened_json(1))
    letters.add("w-1/000001", 900, "it was refused", closed_json(1))
    letters.add("feedback/s", 0, "its record has not come", msgspec.json.encode(score(1, 4, 0.5)))
    letters.add("w-1/000001", 99, "damaged", b"\x00[bold]")
    at = ("--data-dir", str(path))
    code, out, err = run("records", "dead", "--json", *at)
    assert (code, err) == (0, "")
    found = [json.loads(line) for line in out.splitlines()]
    assert [each["why"] for each in found][:2] == ["damaged", "its record has not come"]
    assert set(found[0]) == {"segment", "offset", "why", "bytes", "excerpt"}
    code, out, _ = run("records", "dead", "--retry", *at)
    assert (code, out.splitlines()[0]) == (1, "3 letters taken, 1 left")
    assert "[bold]" in out
    code, out, _ = run("records", "dead", "--retry", "--json", *at)
    said = json.loads(out)
    assert (code, said["taken"], said["left"], said["letters"][0]["why"]) == (1, 0, 1, "damaged")
    with closing(DuckDBRecordLog(data.records_path)) as log:
        assert {each.id for each in log.records(RecordFilter(), limit=9, bodies=False)} == {
            call_id(1),
            call_id(4),
        }
        assert len(log.scores_of([call_id(4)])) == 1
    code, out, _ = run("audit", "list", "--json", *at)
    assert [json.loads(line)["detail"] for line in out.splitlines() if "records.retry" in line] == [
        {"taken": 0, "left": 1},
        {"taken": 3, "left": 1},
    ]
    readings = [json.loads(line)["detail"] for line in out.splitlines() if "records.read" in line]
    assert readings == [{"dead_letters": True}] * 3, "who reads them is written down each time"


def test_none_is_well(run: Run, api: AdminApi) -> None:
    """Nothing put away is said, and is no failure; more than are told are counted."""
    api.answers["GET", "/api/v1/dead-letters"] = {"count": 0, "letters": []}
    code, _, err = run("records", "dead", "--url", api.url)
    assert (code, "no dead letters" in err) == (0, True)
    api.answers["POST", "/api/v1/dead-letters/retry"] = {"taken": 1, "left": 0, "letters": []}
    assert run("records", "dead", "--retry", "--url", api.url)[:2] == (0, "1 letter taken, 0 left\n")
    one = {"segment": "w/1", "offset": 0, "why": "damaged", "bytes": 1, "excerpt": "x"}
    api.answers["GET", "/api/v1/dead-letters"] = {"count": 1_201, "letters": [one]}
    assert run("records", "dead", "--url", api.url)[1].endswith("and 1,200 older ones\n")
