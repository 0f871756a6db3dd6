"""`airboss records export` and `import`, on the data of stopped Airbosses."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from airboss.cli import api as cli_api
from airboss.cli import records_files
from airboss.compose.stopped import stopped_desk
from airboss.domain.ports import JournalMove
from airboss.domain.score import Score
from airboss.store import record_file
from airboss.store.csv_cells import cell
from airboss.store.datadir import DataDir
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.joining import Row
from airboss.store.ledger import SqlLedger
from airboss.store.record_file import PREFIX, RecordFileWriter
from tests.cli.admin_api import AdminApi
from tests.cli.conftest import Run
from tests.store.samples import START, call_id, record, record_json
from tests.store.test_erase import score
from tests.support.small_disk import fill, small_disk
from tests.support.started import started

COUNT = 450


def given(number: int) -> Score:
    """A score of another kind for each record that has one."""
    values: list[Any] = [0.5, True, "rude"]
    return score(number, number, value=values[number % 3], user=None, comment=f"c{number}")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped Airboss with records; each test has a copy of it."""
    path = empty(tmp_path_factory.mktemp("kept") / "from")
    log = DuckDBRecordLog(DataDir(path).records_path)
    bodies: dict[str, Any] = {"request": msgspec.Raw('{"n":100000000000000000000,"t":"é\\u0000"}'.encode())}
    records = [record_json(number, user=f"u{number % 7}", **bodies) for number in range(COUNT)]
    log.apply(JournalMove(segment="w/1", start=0, end=1, records=tuple(records)))
    log.put_scores([given(number) for number in range(0, COUNT, 10)])
    log.close()
    return path


@pytest.fixture
def data(kept: Path, tmp_path: Path) -> Path:
    """A stopped Airboss with records, of the test's own."""
    return shutil.copytree(kept, tmp_path / "from")


def empty(path: Path) -> Path:
    """A stopped Airboss without any."""
    DataDir(path).create()
    SqlLedger(DataDir(path).ledger_url).close()
    return path


def lines(run: Run, data_dir: Path) -> list[dict[str, Any]]:
    """Every record, as --json prints it."""
    code, out, err = run("records", "--json", "--limit", "10000", "--data-dir", str(data_dir))
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize(
    ("which", "count"),
    [
        (["--user", "u3"], 64),
        (["--user", "nobody"], 0),
        (["--status", "error"], 0),
        (["--score", "helpfulness=rude"], 15),
        (["--user", "u3", "--model", "none"], 0),
    ],
)
def test_an_export_is_narrowed_as_a_list_is(
    run: Run, data: Path, tmp_path: Path, which: list[str], count: int
) -> None:
    """By the same filters, to the same records."""
    file = tmp_path / "records.parquet"
    code, out, err = run("records", "export", str(file), *which, "--json", "--data-dir", str(data))
    assert (code, json.loads(out)["records"]) == (0, count), err
    listed = run("records", "--json", "--limit", "10000", *which, "--data-dir", str(data))[1].splitlines()
    assert len(listed) == count
    found = duckdb.execute("select id from read_parquet(?)", [str(file)]).fetchall()
    assert sorted(each for (each,) in found) == sorted(json.loads(line)["id"] for line in listed)


def test_what_is_exported_and_imported_is_the_same(run: Run, data: Path, tmp_path: Path) -> None:
    """Every field, body and score; twice adds nothing."""
    file = tmp_path / "records.parquet"
    code, out, err = run("records", "export", str(file), "--json", "--data-dir", str(data))
    assert (code, json.loads(out)) == (0, {"file": str(file), "records": COUNT, "scores": 45}), err
    other = empty(tmp_path / "to")
    for scores in (45, 0):
        code, out, err = run("records", "import", str(file), "--json", "--data-dir", str(other))
        assert (code, json.loads(out)) == (0, {"file": str(file), "records": COUNT, "scores": scores}), err
    assert lines(run, other) == lines(run, data)
    logs = [DuckDBRecordLog(DataDir(path).records_path) for path in (data, other)]
    ids = [call_id(number) for number in range(COUNT)]
    wanted = [given(number) for number in range(0, COUNT, 10)]
    for log in logs:
        assert sorted(log.scores_of(ids), key=lambda each: each.subject_id) == wanted
        log.close()


def test_the_ending_says_what_is_written(run: Run, data: Path, tmp_path: Path) -> None:
    """A CSV for spreadsheets has what the Parquet file has, in the same order; another ending is refused
    before anything is asked."""
    table, whole = tmp_path / "all.CSV", tmp_path / "all.parquet"
    for file in (table, whole):
        code, out, err = run("records", "export", str(file), "--json", "--data-dir", str(data))
        assert (code, json.loads(out)) == (0, {"file": str(file), "records": COUNT, "scores": 45}), err
    wanted = duckdb.connect()
    wanted.execute(f"select * replace (cost_usd::decimal(18, 6) as cost_usd) from '{whole}'")
    names = [name for name, *_ in wanted.description or ()]
    with table.open(encoding="utf-8", newline="") as text:
        head, *rows = csv.reader(text)
    assert head == names
    assert rows == [[str(cell(value)) for value in row] for row in wanted.fetchall()]
    assert rows[0][names.index("started_at")].endswith("Z")
    before = sorted(tmp_path.iterdir())
    for name in ("all.xlsx", "all.json", "all"):
        code, _, err = run("records", "export", str(tmp_path / name), "--data-dir", str(tmp_path / "none"))
        assert (code, ".csv" in err, ".parquet" in err) == (2, True, True), err
    assert sorted(tmp_path.iterdir()) == before
    code, _, err = run("records", "import", str(table), "--data-dir", str(data))
    assert (code, "is a CSV" in err, ".parquet" in err) == (2, True, True), err


def test_an_export_is_noted_once(run: Run, data: Path, tmp_path: Path) -> None:
    """However many pages it has: what left is in the audit log."""
    args = ("--deployment", "support", "--data-dir", str(data))
    assert run("records", "export", str(tmp_path / "records.parquet"), *args)[0] == 0
    code, out, err = run("audit", "list", "--json", "--data-dir", str(data))
    assert code == 0, err
    (noted,) = map(json.loads, out.splitlines()[:-1])  # the last is the log's beginning
    assert (noted["action"], noted["actor"], noted["detail"]) == (
        *("records.export", "local"),
        {"deployment": "support"},
    )


@pytest.mark.parametrize(("count", "size"), [(16_000, 2_000), (1_000, 100_000)])
def test_long_bodies_fit_into_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, size: int
) -> None:
    """Rows are written some at a time, in their order: all that DuckDB reads together may be long."""
    monkeypatch.setattr(record_file, "MEMORY", "64MB" if size == 2_000 else "128MB")
    file, chance = tmp_path / "long.parquet", random.Random(7)
    with RecordFileWriter(file, "parquet") as writer:
        for begin in range(0, count, 400):
            numbers = range(begin, min(begin + 400, count))
            words = [msgspec.Raw(b'"%s"' % chance.randbytes(size).hex().encode()) for _ in numbers]
            writer.add([Row(record=record(n, request=each)) for n, each in zip(numbers, words, strict=True)])
        writer.finish()
    found = duckdb.execute("select id from read_parquet(?)", [str(file)]).fetchall()
    assert [each for (each,) in found] == [call_id(number) for number in range(count)]
    but_one = "max(row_group_bytes / row_group_num_rows * (row_group_num_rows - 1))"
    found = duckdb.execute(f"select {but_one} from parquet_metadata(?)", [str(file)]).fetchall()
    assert found[0][0] < record_file.GROUP_BYTES


def test_what_another_program_wrote_in_one_row_group_is_read(run: Run, data: Path, tmp_path: Path) -> None:
    """However long its rows are: up to 2,048 of them are read together."""
    ours, theirs = tmp_path / "ours.parquet", tmp_path / "theirs.parquet"
    assert run("records", "export", str(ours), "--data-dir", str(data))[0] == 0
    long = """'"' || repeat(id, 9000) || '"' as request"""
    text = f"from (from read_parquet('{ours}') select * replace ({long})), range(3)"
    duckdb.connect().execute(f"copy (select * exclude range {text}) to '{theirs}' (format parquet)")
    assert sum(map(len, record_file.read(theirs))) == 3 * COUNT


def test_a_part_is_exported(run: Run, data: Path, tmp_path: Path) -> None:
    """Filters bound it, and the file has typed columns."""
    file = tmp_path / "records.parquet"
    since, until = START.isoformat(), START.replace(second=10).isoformat()
    assert (
        run("records", "export", str(file), "--since", since, "--until", until, "--data-dir", str(data))[0]
        == 0
    )
    found = (
        duckdb.connect().execute(f"select count(*), sum(cost_usd), min(started_at) from '{file}'").fetchone()
    )
    assert found is not None
    assert (found[0], str(found[1]), found[2]) == (10, "0.001230000000", START.replace(tzinfo=None))


def test_a_bad_file_changes_nothing(run: Run, data: Path, tmp_path: Path) -> None:
    """What is no Parquet file, or not ours, or holds a row that is no record, is refused with the reason."""
    other = empty(tmp_path / "to")
    broken, strange, odd = (tmp_path / name for name in ("broken.parquet", "strange.parquet", "odd.parquet"))
    broken.write_bytes(b"PAR1 nothing of that kind")
    good = tmp_path / "good.parquet"
    assert run("records", "export", str(good), "--data-dir", str(data))[0] == 0
    connection = duckdb.connect()
    connection.execute(f"copy (select 1 as one) to '{strange}' (format parquet)")
    row = f"case when id = '{call_id(3)}' then 'sideways' else status end as status"
    connection.execute(f"copy (select * replace ({row}) from '{good}') to '{odd}' (format parquet)")
    for file, why in ((broken, "Parquet"), (strange, "no column 'id'"), (odd, "row 447 is no record")):
        code, _, err = run("records", "import", str(file), "--data-dir", str(other))
        assert (code, why in err) == (2, True), err
    assert lines(run, other) == []
    assert run("records", "import", str(tmp_path / "none"), "--data-dir", str(other))[0] == 2


def test_a_file_that_cannot_be_written_is_named(run: Run, data: Path, tmp_path: Path) -> None:
    """As it was asked for, with what to do, never as a file of ours beside it; nothing is left there."""
    missing, inside = tmp_path / "no/such/place.parquet", tmp_path / "file/x.parquet"
    (tmp_path / "file").touch()
    for file, step in (
        (missing, f"make the folder {missing.parent}"),
        (inside, "a part of this path is a file"),
    ):
        code, _, err = run("records", "export", str(file), "--data-dir", str(data))
        assert code == 2
        assert err.startswith(f"airboss: {file} cannot be written: ")
        assert step in err
    before = sorted(tmp_path.iterdir())
    code, _, err = run("records", "export", str(tmp_path), "--data-dir", str(data))
    assert (code, err.startswith(f"airboss: {tmp_path} cannot be written: Is a directory")) == (2, True), err
    with small_disk(tmp_path / "disk", 1) as disk:
        ballast = fill(disk, but=10_000)
        code, _, err = run("records", "export", str(disk / "x.parquet"), "--data-dir", str(data))
        assert code == 2
        assert err.startswith(
            f"airboss: {disk / 'x.parquet'} cannot be written: No space left on device. Next: "
        )
        assert list(disk.iterdir()) == [ballast]
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "disk"])


def test_what_a_killed_export_left_goes_with_the_next(run: Run, data: Path, tmp_path: Path) -> None:
    """It holds what people said. An export that is under way keeps its own, and so does who just begins."""
    writing = (
        "from pathlib import Path; from sys import stdin; from airboss.store.record_file import *\n"
        f"with RecordFileWriter(Path({str(tmp_path / 'killed')!r}), 'csv'):\n"
        "    print('there', flush=True); stdin.read()"
    )
    with started([sys.executable, "-c", writing], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        (left,) = tmp_path.glob(f"{PREFIX}*")
        new = tmp_path / f"{PREFIX}new"
        new.mkdir()
        os.utime(left, (0, 0))
        export = ("records", "export", str(tmp_path / "f.parquet"), "--data-dir", str(data))
        assert run(*export)[0] == 0
        assert set(tmp_path.glob(f"{PREFIX}*")) == {left, new}, "an export lost what it was writing"
        process.kill()
        process.wait()
    os.utime(left, (0, 0))
    assert run(*export)[0] == 0
    assert set(tmp_path.glob(f"{PREFIX}*")) == {new}


def test_history_is_no_news_at_the_next_start(run: Run, data: Path, tmp_path: Path) -> None:
    """What was imported while Airboss was stopped is known to who follows the log from the next start on;
    what was there before may be of just now."""
    file = tmp_path / "records.parquet"
    assert run("records", "export", str(file), "--data-dir", str(data))[0] == 0
    other = empty(tmp_path / "to")
    log = DuckDBRecordLog(DataDir(other).records_path)
    log.apply(JournalMove(segment="w/1", start=0, end=1, records=(record_json(7),)))
    log.close()
    assert run("records", "import", str(file), "--data-dir", str(other))[0] == 0
    with stopped_desk(other) as desk:
        known = [number for number in range(COUNT) if call_id(number) in desk.brought]
    assert known == [number for number in range(COUNT) if number != 7]


def test_the_forgotten_do_not_come_back(run: Run, data: Path, tmp_path: Path) -> None:
    """What was exported before an erasure comes without what tells of the person."""
    file = tmp_path / "records.parquet"
    assert run("records", "export", str(file), "--data-dir", str(data))[0] == 0
    other = empty(tmp_path / "to")
    assert run("erase", "--user", "u3", "--yes", "--data-dir", str(other))[0] == 0
    assert run("records", "import", str(file), "--data-dir", str(other))[0] == 0
    found = lines(run, other)
    assert len(found) == COUNT
    assert "u3" not in {each["user"] for each in found}
    blank = [each for each in found if each["user"] is None]
    assert len(blank) == COUNT // 7
    assert all(each["request"] is None and each["tags"] == {} for each in blank)


def failing(then: Any, *refusals: tuple[int, str]) -> Callable[[dict[str, str]], Any]:
    """An answer that comes once these have been given."""
    left = list(refusals)

    def answer(params: dict[str, str]) -> Any:
        if left:
            status, code = left.pop(0)
            return status, {"error": {"message": f"the store says {code}", "code": code}}
        return then(params) if callable(then) else then

    return answer


def test_an_export_outlasts_a_store_that_is_away(
    run: Run, api: AdminApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that cannot be given now is asked for again, and stderr says so; the first one is not."""
    monkeypatch.setattr(cli_api, "AGAIN_S", 0.01)
    rows = [{"record": json.loads(record_json(number)), "scores": []} for number in (3, 2, 1)]
    away = (503, "store_unavailable")

    def page(params: dict[str, str]) -> Any:
        if "before" not in params:
            return {"rows": rows[:2], "next": "2"}
        return second(params)

    last = failing({"rows": [], "next": None}, away)
    second = failing(
        lambda params: {"rows": rows[2:], "next": "1"} if params["before"] == "2" else last(params),
        away,
        away,
    )
    api.answers["GET", "/api/v1/transfer"] = page
    file = tmp_path / "all.parquet"
    code, out, err = run("records", "export", str(file), "--url", api.url, "--json")
    assert code == 0, err
    assert json.loads(out)["records"] == 3
    assert record_file.count(file) == 3
    assert err.count("trying again") == 2, "once for each page that was late"
    api.answers["GET", "/api/v1/transfer"] = failing(None, away)
    code, _, err = run("records", "export", str(file), "--url", api.url)
    assert (code, "trying again" in err) == (1, False)
    monkeypatch.setattr(cli_api, "PATIENCE_S", 0.0)
    api.answers["GET", "/api/v1/transfer"] = lambda params: (503, {}) if "before" in params else page(params)
    code, _, err = run("records", "export", str(tmp_path / "none.parquet"), "--url", api.url)
    assert code == 1, err
    assert not (tmp_path / "none.parquet").exists()


def test_an_import_outlasts_a_store_that_is_away(
    run: Run, api: AdminApi, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that cannot be taken now is given again: what it holds is stored once in any case."""
    monkeypatch.setattr(cli_api, "AGAIN_S", 0.01)
    monkeypatch.setattr(records_files, "BATCH_BYTES", 100_000)
    file = tmp_path / "all.parquet"
    assert run("records", "export", str(file), "--data-dir", str(data))[0] == 0
    answers: list[Any] = [{"records": 1, "scores": 1}, (503, {}), (503, {})]
    api.answers["POST", "/api/v1/transfer"] = lambda _: (
        answers.pop(0) if answers else {"records": 1, "scores": 1}
    )
    code, out, err = run("records", "import", str(file), "--url", api.url, "--json")
    assert code == 0, err
    given = [body["rows"] for *_, body in api.asked]
    assert given[1] == given[2] == given[3]
    assert json.loads(out)["records"] == len(given) - 2 > 1
