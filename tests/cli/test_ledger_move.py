"""`airboss ledger move`: what it refuses, what it says, and what a kill leaves."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from airboss.compose.governing import looking_at_audit
from airboss.compose.stores import open_audit
from airboss.domain.errors import SetupError
from airboss.store.datadir import DataDir
from airboss.store.ledger import SqlLedger
from tests.cli.conftest import Run
from tests.cli.running import COMMAND, environment
from tests.store.ledgers import key, plan
from tests.support import postgres
from tests.support.kept_keys import put_key
from tests.support.older_ledger import without_versions
from tests.support.started import started
from tests.support.wait import until

NOW = datetime(2026, 11, 30, tzinfo=UTC)
PASSWORD = "s3cret"
ENV = "THE_LEDGER"


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A stopped Airboss with a past."""
    (tmp_path / "a").mkdir()
    data = DataDir(tmp_path / "a" / "data")
    data.create()
    begin(data)
    return data


def begin(data: DataDir) -> None:
    """Give its ledger a past."""
    with closing(SqlLedger(data.ledger_url)) as ledger:
        ledger.publish("", plan())
        put_key(ledger, key("team"))
    with open_audit(data) as audit:
        looking_at_audit(audit, data).look()
        for number in range(3):
            audit.append("a", actor="ann\0", subject=f"s{number}", detail={}, at=NOW)


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database of PostgreSQL, named in a variable."""
    (tmp_path / "b").mkdir()
    url = postgres.database(tmp_path / "b")
    monkeypatch.setenv(ENV, url)
    return url


def move(run: Run, data: DataDir, to: str = f"env:{ENV}") -> tuple[int, str, str]:
    """What it says."""
    return run("ledger", "move", "--to", to, "--data-dir", str(data.path))


def is_whole(data: DataDir) -> bool:
    """Whether the ledger has its key still."""
    with closing(SqlLedger(data.ledger_url)) as ledger:
        return [each.name for each in ledger.all_keys()] == ["team"]


def rows(url: str, table: str) -> int:
    """How many rows there are."""
    with psycopg.connect(url) as server:
        found = server.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert found is not None
    return int(found[0])


def test_what_was_moved_is_told_with_what_to_do_now(run: Run, data: DataDir, target: str) -> None:
    """For people and for programs; after that the data directory has its ledger there, and nowhere else."""
    code, out, err = move(run, data)
    assert (code, err) == (0, "")
    assert "every table has the same there, and the audit log of 4 leaves is valid" in out
    assert '[store]\nledger = "env:THE_LEDGER"\n\nThen `airboss up`' in out
    assert f"The old ledger, {data.ledger_path}, is opened by no Airboss any more" in out
    assert data.ledger_url == target
    assert is_whole(data)
    code, out, _ = run("audit", "verify", "--json", "--data-dir", str(data.path))
    assert (code, json.loads(out)["checked"]) == (0, 5)
    code, _, err = move(run, data)
    assert (code, "is there already" in err) == (2, True)
    back = f"sqlite:///{data.path / 'again.db'}"
    code, out, _ = run("ledger", "move", "--to", back, "--json", "--data-dir", str(data.path))
    said = json.loads(out)
    assert (code, said["setting"], said["leaves"], said["tables"]["keys"]["rows"]) == (0, back, 5, 1)
    assert data.ledger_url == back
    with pytest.raises(SetupError, match="was moved to another database"):
        SqlLedger(target)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        (f"postgresql://u:{PASSWORD}@h/d", "holds a password"),
        (f"postgresql:///d?host=/run&password={PASSWORD}", "holds a password"),
        ("mysql://h/d", "cannot be used; expected"),
        ("", "cannot be used; expected"),
        ("sqlite:///here.db", "cannot be used; expected"),
        ("env:", "cannot be used; expected"),
        ("postgresql://h:port/d", "cannot be used; expected"),
        ("env:NOT_SET_HERE", "set that variable"),
        ("file:/nowhere/url", "there is no file"),
        ("sqlite:////nowhere/ledger.db", "make its folder"),
    ],
)
def test_a_target_that_is_none_is_refused(run: Run, data: DataDir, to: str, said: str) -> None:
    """Before anything is touched, and without a word of a password."""
    code, out, err = move(run, data, to)
    assert (code, out, said in err) == (2, "", True), err
    assert PASSWORD not in err
    assert data.ledger_choice() is None
    assert is_whole(data)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{PASSWORD}@127.0.0.1:1/d",
        f"postgresql://u:top@{PASSWORD}@127.0.0.1:1/d",
        f"postgresql://u:12?{PASSWORD}@127.0.0.1:1/d",
        f"postgresql:///d?host=/nowhere&password={PASSWORD}",
        f"postgresql://u:{PASSWORD}@h/d?{PASSWORD}=1",
        f"mysql://u:{PASSWORD}@h/d",
        f"u:{PASSWORD}",
    ],
)
def test_a_password_is_never_shown(
    run: Run, data: DataDir, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """However the URL is wrong."""
    monkeypatch.setenv(ENV, url)
    code, out, err = move(run, data)
    assert (code, out) == (2, "")
    assert PASSWORD not in err.replace(f'option "{PASSWORD}"', "")
    assert is_whole(data)


def test_where_nothing_can_be_moved_that_is_said(
    run: Run, tmp_path: Path, data: DataDir, target: str
) -> None:
    """No data, the data of a machine that has joined, a ledger that is empty."""
    nowhere = DataDir(tmp_path / "nowhere")
    code, _, err = move(run, nowhere)
    assert (code, "there is no Airboss data in" in err, nowhere.path.exists()) == (2, True, False)
    data.node_name()
    code, _, err = move(run, data)
    assert (code, "beside another Airboss" in err) == (2, True)
    empty = DataDir(tmp_path / "empty")
    empty.create()
    SqlLedger(empty.ledger_url).close()
    empty.secret("audit_key")
    code, _, err = move(run, empty)
    assert (code, "is empty, so there is nothing to move" in err) == (2, True)


def test_an_audit_log_that_is_not_valid_is_not_moved(run: Run, data: DataDir, target: str) -> None:
    """What is wrong is told, there is nothing at the target, and all is as it was; also where the log alone
    was put back from an older copy, or its key is gone."""
    with closing(SqlLedger(data.ledger_url)) as ledger, ledger._writer.begin() as connection:
        connection.exec_driver_sql("UPDATE audit_names SET name = 'eve' WHERE leaf = 2 AND field = 'actor'")
    code, _, err = move(run, data)
    assert code == 2
    assert "the audit log is not valid, there as here: the actor of leaf 2 is not the one" in err
    assert (rows(target, "keys"), rows(target, "audit_leaves")) == (0, 0)
    assert is_whole(data)
    (data.secrets_dir / "audit_key").rename(data.secrets_dir / "key")
    code, _, err = move(run, data)
    assert (code, "audit_key is gone" in err) == (2, True)


def test_the_checkpoint_beside_the_key_must_hold(run: Run, data: DataDir, target: str) -> None:
    """A ledger that was put back from an older copy does not become the truth by a move."""
    older = data.ledger_path.read_bytes()
    with open_audit(data) as audit:
        audit.append("later", actor="a", subject="s", detail={}, at=NOW)
        looking_at_audit(audit, data).look()
    for file in data.path.glob("ledger.db-*"):
        file.unlink()
    data.ledger_path.write_bytes(older)
    code, _, err = move(run, data)
    assert (code, "its checkpoint in secrets/audit_head is of 5 leaves, and there are" in err) == (2, True), (
        err
    )
    assert rows(target, "keys") == 0


def test_a_ledger_of_an_older_airboss_is_brought_forward(run: Run, data: DataDir, target: str) -> None:
    """As a start would; one of a newer one is refused."""
    with closing(SqlLedger(data.ledger_url)) as ledger, ledger._writer.begin() as connection:
        connection.exec_driver_sql("DROP TABLE user_spends")
        connection.exec_driver_sql("DROP TABLE proposals")
        without_versions(connection.exec_driver_sql)
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0005'")
    (data.path / "newer").mkdir()
    code, _, err = move(run, data)
    assert (code, err) == (0, "")
    assert rows(target, "user_spends") == 0
    with psycopg.connect(target) as server:
        server.execute("UPDATE alembic_version SET version_num = '0999'")
    code, _, err = move(run, data, f"sqlite:///{data.path / 'next.db'}")
    assert (code, "was written by a newer Airboss" in err) == (2, True)


def airboss_connections(url: str) -> list[str]:
    """What ours at a database wait for."""
    asked = (
        "SELECT coalesce(wait_event_type, '') FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'airboss'"
    )
    with psycopg.connect(url) as server:
        return [each for (each,) in server.execute(asked).fetchall()]


@contextmanager
def held_up(url: str, lock: str, data: DataDir, to: str, name: str = ENV) -> Iterator[None]:
    """A move in a process of its own that waits at a lock of the database `url` until it is killed there; in
    the block nothing of it runs any more."""
    command = [*COMMAND, "ledger", "move", "--to", f"env:{name}", "--data-dir", str(data.path)]
    with psycopg.connect(url) as server:
        server.execute(lock.encode())
        with started(command, env=environment(**{name: to}), stderr=subprocess.PIPE) as process:
            until(lambda: "Lock" in airboss_connections(url), timeout_s=60)
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait(60) == -signal.SIGKILL
    until(lambda: not airboss_connections(url) and not airboss_connections(to))
    yield


def test_a_move_that_is_killed_midway_leaves_nothing(run: Run, data: DataDir, target: str) -> None:
    """`kill -9` while rows are written: the target is empty, the ledger is where it was; again does it."""
    SqlLedger(target).close()
    with held_up(target, "LOCK TABLE plans IN SHARE MODE", data, target):
        assert (rows(target, "keys"), rows(target, "audit_leaves"), rows(target, "plans")) == (0, 0, 0)
        assert data.ledger_choice() is None
        assert is_whole(data)
    code, _, err = move(run, data)
    assert (code, err) == (0, "")
    assert rows(target, "keys") == 1


def test_a_move_that_is_killed_on_its_last_steps_is_ended_by_another(
    run: Run, tmp_path: Path, data: DataDir, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill -9` when all is there, and the old one is not marked yet: the data directory has the old one,
    until the verb is called again."""
    assert move(run, data)[0] == 0
    (tmp_path / "c").mkdir()
    third = postgres.database(tmp_path / "c")
    monkeypatch.setenv("THIRD", third)
    with held_up(target, "SELECT * FROM alembic_version FOR UPDATE", data, third, "THIRD"):
        assert rows(third, "keys") == 1
        assert (data.ledger_url, is_whole(data)) == (target, True)
    code, out, err = move(run, data, "env:THIRD")
    assert (code, err, data.ledger_url) == (0, "", third)
    assert "the move that was broken off is done now" in out
    with pytest.raises(SetupError, match="was moved to another database"):
        SqlLedger(target)


def test_a_move_that_ends_before_the_data_directory_knows(
    run: Run, data: DataDir, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody goes on with the old one, and the verb ends it."""
    with monkeypatch.context() as patched:
        patched.setattr(DataDir, "put_ledger", lambda *_: (_ for _ in ()).throw(SetupError("no disk")))
        code, _, err = move(run, data)
        assert (code, "no disk" in err) == (2, True)
    with pytest.raises(SetupError, match="was moved to another database by `airboss ledger move`"):
        is_whole(data)
    code, out, _ = move(run, data)
    assert (code, "the move that was broken off is done now" in out) == (0, True)
    assert is_whole(data)


def test_a_move_is_done_though_the_checkpoint_beside_the_key_cannot_follow(
    run: Run, data: DataDir, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that is full by then: nothing was as before, and the next look makes up for it."""
    with monkeypatch.context() as patched:
        write = DataDir.write_secret

        def full(data: DataDir, name: str, value: str) -> Path:
            if name == "audit_head":
                raise OSError(errno.ENOSPC, "No space left on device", name)
            return write(data, name, value)

        patched.setattr(DataDir, "write_secret", full)
        code, out, err = move(run, data)
    assert (code, err) == (0, "")
    assert "every table has the same there" in out
    assert data.ledger_url == target
    code, out, _ = run("audit", "verify", "--json", "--data-dir", str(data.path))
    assert (code, json.loads(out)["valid"]) == (0, True)
