"""What `airboss up` keeps is for its user alone, wherever that is kept."""

from __future__ import annotations

from pathlib import Path

from airboss.store.joining import Row
from airboss.store.record_file import RecordFileWriter
from tests.cli.running import CONFIG, up, verb
from tests.store.samples import record
from tests.support.files import every_file, open_to_others
from tests.support.wait import until

LEDGER = '\n[store]\nledger = "{}"\n'


def test_no_file_is_open_to_others(tmp_path: Path) -> None:
    """Neither records in a data directory that is open to all, nor a ledger that lies elsewhere; verbs on a
    stopped one keep it so."""
    data, beside = tmp_path / "data", tmp_path / "ledgers"
    for folder in (data, beside):
        folder.mkdir()
        folder.chmod(0o755)
    (tmp_path / "airboss.toml").write_text(CONFIG + LEDGER.format(f"sqlite:///{beside}/ledger.db"))
    with up(tmp_path) as running:
        until(lambda: running.verb("status").returncode == 0, every_s=0.2)
        assert open_to_others([*data.iterdir(), *beside.iterdir()]) == []
        assert (data / "records.duckdb.wal").exists(), "it is not what DuckDB makes by itself"
    (data / "records.duckdb").chmod(0o644)
    with up(tmp_path) as running:
        until(lambda: running.verb("status").returncode == 0, every_s=0.2)
        assert open_to_others(data.iterdir()) == [], "an older Airboss left it open"
    assert verb(tmp_path, "records").returncode == 0
    assert open_to_others([*data.iterdir(), *beside.iterdir()]) == []


def test_nothing_that_is_written_is_open_to_others(tmp_path: Path) -> None:
    """By no process, what it only needs while it runs included, and by no verb on a stopped one."""
    (tmp_path / "airboss.toml").write_text(CONFIG)
    with up(tmp_path, "--workers", "2") as running:
        until(lambda: running.verb("status").returncode == 0, every_s=0.2)
        until(lambda: len(list((tmp_path / "data/run/metrics").iterdir())) >= 3)
        assert open_to_others(every_file(tmp_path / "data")) == []
    file = tmp_path / "one.parquet"
    with RecordFileWriter(file, "parquet") as writer:
        writer.add([Row(record=record(1))])
        writer.finish()
    (tmp_path / "data" / "records.duckdb").unlink()
    assert verb(tmp_path, "records", "import", str(file)).returncode == 0
    assert open_to_others(every_file(tmp_path / "data")) == []
    assert verb(tmp_path, "records", "export", str(file)).returncode == 0
    assert open_to_others([file]) == [file.name], "who may read an export is the user's to say"


def test_a_wrong_ledger_is_told_with_its_line(tmp_path: Path) -> None:
    """It is read before all else of the file, whose lines are counted all the same."""
    text = CONFIG + LEDGER.format("mysql://h/d")
    (tmp_path / "airboss.toml").write_text(text)
    told = verb(tmp_path, "up", "--port", "0", "--console-port", "0")
    line = 1 + text.splitlines().index('ledger = "mysql://h/d"')
    assert (told.returncode, f"airboss.toml:{line}: store.ledger cannot" in told.stderr) == (2, True), (
        told.stderr
    )


def test_a_literal_key_is_warned_of_at_the_first_start(tmp_path: Path) -> None:
    """As `airboss apply` does, and never shown; what is in force then says where it was moved."""
    key = "sk-" + "literal" * 4
    text = CONFIG.replace('kind = "openai-compatible"', f'kind = "openai-compatible"\napi_key = "{key}"')
    (tmp_path / "airboss.toml").write_text(text)
    for warned in (1, 0):
        with up(tmp_path) as running:
            said = [line["message"] for line in running.log() if line["level"] == "warning"]
            assert sum("providers.elsewhere.api_key is written out" in each for each in said) == warned
        assert key not in (tmp_path / "err.txt").read_text()
