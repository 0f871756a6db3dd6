"""The file of kept answers where the disk fails."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from airboss.domain.record import Redacted
from airboss.store.answers import KeptAnswer, SqliteAnswers

HELLO = Redacted(b"hello")
ANSWER = KeptAnswer(key=b"k", deployment="support", user=None, asked_at=1.0, kept_at=2.0, answer=HELLO)


def test_a_file_that_is_writable_again_is_written_to(tmp_path: Path) -> None:
    """SQLite keeps for reading alone what could not be written as it was opened: it is opened anew."""
    with closing(SqliteAnswers(tmp_path / "cache.db")) as answers:

        def kept() -> bytes | None:
            answers.put(ANSWER, ttl_s=60.0, entries_max=9, bytes_max=999)
            return answers.get(b"k", 0.0)

        answers.forget("nobody", 0.0)  # which opens it
        assert answers._connection is not None
        answers._connection.execute("pragma query_only = on")
        assert kept() is None
        assert kept() == b"hello"


def test_who_reads_waits_for_nobody_who_writes(tmp_path: Path) -> None:
    """Not for one that hangs in the middle of it either, also where the file is opened only then."""
    path = tmp_path / "cache.db"
    with closing(SqliteAnswers(path)) as answers:
        answers.put(ANSWER, ttl_s=60.0, entries_max=9, bytes_max=999)
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as hangs,
        closing(SqliteAnswers(path)) as answers,
    ):
        hangs.execute("begin immediate")
        assert answers.get(b"k", 0.0) == b"hello"
