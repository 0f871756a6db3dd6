"""A database whose file is replaced or deleted under it takes nothing that would be lost with the old one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.domain.ports import ApiKey, RecordFilter
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.ledger import SqlLedger
from airboss.store.opened_file import OpenedFile
from tests.store.samples import move
from tests.support.kept_keys import put_key

KEY = ApiKey(name="k", sha256="0" * 64, created_at=datetime(2026, 11, 30, tzinfo=UTC))


def replaced(path: Path) -> None:
    """Another file, with the same in it, under the same name."""
    shutil.copyfile(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def deleted(path: Path) -> None:
    """None there."""
    path.unlink()


AWAY = {"deleted or moved away": deleted, "replaced by another file": replaced}


@pytest.mark.parametrize("what", AWAY)
def test_a_ledger_that_is_not_its_file_any_more(tmp_path: Path, what: str) -> None:
    """It says so to who reads and who writes, and goes on once its own file is back."""
    file = tmp_path / "ledger.db"
    with closing(SqlLedger(f"sqlite:///{file}")) as ledger:
        put_key(ledger, KEY)
        before = ledger.revision()
        own = tmp_path / "own"
        own.hardlink_to(file)
        AWAY[what](file)
        asked: tuple[Callable[[], object], ...] = (
            ledger.revision,
            ledger.snapshot,
            lambda: put_key(ledger, KEY),
            lambda: ledger.change_key("k", lambda _: KEY),
        )
        for ask in asked:
            with pytest.raises(SetupError, match=f"the ledger {file} was {what} while Airboss had it open"):
                ask()
        with pytest.raises(SetupError, match=what), ledger.together():
            put_key(ledger, KEY)
        own.replace(file)
        assert ledger.revision() == before
        put_key(ledger, KEY)


@pytest.mark.parametrize("what", AWAY)
def test_records_are_not_taken_into_a_file_that_is_gone(tmp_path: Path, what: str) -> None:
    """The move is refused, so that its journal stays; put back, or opened anew, the store takes it."""
    file = tmp_path / "records.duckdb"
    with closing(DuckDBRecordLog(file)) as log:
        log.apply(move(1))
        own = tmp_path / "own"
        own.hardlink_to(file)
        AWAY[what](file)
        with pytest.raises(StoreUnavailable, match=f"the record store {file} was {what}"):
            log.apply(move(2, start=100))
        own.replace(file)
        log.apply(move(2, start=100))
        assert log.count(RecordFilter()) == 2


def test_a_file_that_may_not_be_looked_at(tmp_path: Path) -> None:
    """Is not said to be gone."""
    file = tmp_path / "a" / "file"
    file.parent.mkdir()
    file.touch()
    opened = OpenedFile(file)
    assert opened.trouble() is None
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "a").touch()
    assert "cannot be looked at: Not a directory" in str(opened.trouble())
