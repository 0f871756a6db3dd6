"""The ledger under processes that die, meet, or find a database that will not do."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.pool import QueuePool

from airboss.domain.errors import SetupError
from airboss.domain.ports import ApiKey
from airboss.store import ledger_postgres, ledger_psycopg, ledger_trouble
from airboss.store.ledger import SqlLedger
from airboss.store.ledger_trouble import LedgerAway, LedgerTrouble
from tests.store.ledgers import KINDS, deployment, empty_url, plan
from tests.support import postgres
from tests.support.between import between
from tests.support.kept_keys import put_key
from tests.support.small_disk import small_disk
from tests.support.wait import hold_still, until

KEY = ApiKey(name="k", sha256="0" * 64, created_at=datetime(2026, 11, 30, tzinfo=UTC))
PUBLISHER = """
import sys
from airboss.store.ledger import SqlLedger
from airboss.store.ledger_trouble import LedgerTrouble
from tests.store.ledgers import deployment, plan

ledger = SqlLedger(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for at in range(int(sys.argv[2])):
    names = [f"{sys.argv[3]}-{at}-{each}" for each in range(20)]
    published = ledger.publish("\\n".join(names), plan(*(deployment(name, name) for name in names)))
    print(published.number, flush=True)
"""


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind: who comes first makes the tables."""
    return empty_url(request.param, tmp_path)


def publisher(url: str, count: int, name: str) -> subprocess.Popen[str]:
    """A process that publishes so many plans of twenty releases each once it is told to."""
    return subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, url, str(count), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
    )


def told(process: subprocess.Popen[str]) -> None:
    """Let a publisher go."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> str:
    """The next line of a publisher."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ended(process: subprocess.Popen[str]) -> None:
    """Wait for a publisher and close its pipes."""
    process.communicate(timeout=30)


def test_processes_make_and_fill_one_database_together(address: str) -> None:
    """Processes that make one database at the same time, and publish at once, get every number once."""
    processes = [publisher(address, 8, f"p{at}") for at in range(3)]
    assert [heard(process) for process in processes] == ["ready"] * 3
    for process in processes:
        told(process)
    numbers = sorted(int(heard(process)) for process in processes for _ in range(8))
    for process in processes:
        ended(process)
        assert process.returncode == 0
    assert numbers == list(range(1, 25))


def test_a_killed_publish_is_whole_or_not_there(address: str) -> None:
    """After `kill -9` at any moment every acknowledged plan is there, and every plan there is whole."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for round_ in range(5):
        process = publisher(address, 10_000, f"r{round_}")
        assert heard(process) == "ready"
        told(process)
        wanted = chance.randrange(1, 8)
        acknowledged = [int(heard(process)) for _ in range(wanted)]
        # Between two answers there is a whole publish: spin a random part of it, then kill.
        for _ in range(chance.randrange(200_000)):
            pass
        os.kill(process.pid, signal.SIGKILL)
        assert process.stdout is not None
        rest = process.stdout.read()  # `communicate` leaves out what was read ahead
        ended(process)
        acknowledged += [int(line) for line in rest.split("\n")[:-1]]
        assert_whole(address, acknowledged[-1], f"seed {seed}, round {round_}")


def assert_whole(address: str, acknowledged: int, label: str) -> None:
    """Every plan has its number, its configuration and its twenty releases; the revision counts them."""
    ledger = SqlLedger(address)
    snapshot = ledger.snapshot()
    assert snapshot is not None, label
    assert acknowledged <= snapshot.plan.number <= acknowledged + 1, label
    assert snapshot.revision == snapshot.plan.number, label
    for number in range(1, snapshot.plan.number + 1):
        found = ledger.plan(number)
        assert found is not None, f"{label}: plan {number} is missing"
        for each in found.deployments:
            assert ledger.release(each.stable.digest) == each.stable, f"{label}: plan {number}"
    assert ledger.config() == "\n".join(each.name for each in snapshot.plan.deployments), label
    with ledger._engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok", label
        count = connection.exec_driver_sql("SELECT count(*) FROM plans").scalar()
        assert count == snapshot.plan.number, label
    ledger.close()


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    """A gateway reads the last plan while another process is in the middle of a write."""
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.publish("one", plan())
    writer = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE revision SET value = 99")
    assert ledger.revision() == 1
    writer.execute("ROLLBACK")
    writer.close()
    ledger.close()


def test_a_ledger_of_a_newer_airboss_is_refused(tmp_path: Path) -> None:
    """An older program does not touch a schema that it does not know."""
    path = tmp_path / "ledger.db"
    SqlLedger(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(SetupError, match=r"written by a newer Airboss \(schema 9999; this one knows"):
        SqlLedger(f"sqlite:///{path}")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/at/all/ledger.db", "the ledger /nowhere/at/all/ledger.db cannot be used"),
        ("postgresql://u:secret@127.0.0.1:1/db", "the ledger postgresql://127.0.0.1:1/db cannot be used"),
        ("mysql://u:secret@h/db", "a ledger cannot be in mysql; expected sqlite:///PATH or postgresql://"),
        ("nonsense", "the ledger's URL cannot be read"),
    ],
)
def test_a_database_that_cannot_be_opened_is_said(url: str, message: str) -> None:
    """The error names the ledger, what to do, and no password."""
    with pytest.raises(SetupError, match=message) as caught:
        SqlLedger(url)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    """Something else under the ledger's name is refused and left as it is."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is not a database, but it is long enough to look like one" * 100)
    before = path.read_bytes()
    with pytest.raises(SetupError, match="cannot be used"):
        SqlLedger(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_damaged_file_is_said_whatever_stands_in_it(tmp_path: Path) -> None:
    """What SQLite says of it names a table, of which half the name may be left: no text at all."""
    path = tmp_path / "ledger.db"
    SqlLedger(f"sqlite:///{path}").close()
    whole = path.read_bytes()
    damaged = whole.replace(b"tableplansplans", b"tablepl\xffnspl\xffns").replace(
        b"TABLE plans", b"T\xffBLE plans"
    )
    assert damaged != whole
    path.write_bytes(damaged)
    with pytest.raises(SetupError, match="it is damaged: put a copy"):
        SqlLedger(f"sqlite:///{path}")


@pytest.mark.parametrize("edit", ["update keys set content = 'junk'", "update plans set content = '{}'"])
def test_a_row_that_somebody_edited_is_told(tmp_path: Path, edit: str) -> None:
    """To who reads it, as an error that is waited out: no process must end by it. What stands in it is not
    told."""
    path = tmp_path / "ledger.db"
    with closing(SqlLedger(f"sqlite:///{path}")) as ledger:
        ledger.publish("", plan())
        put_key(ledger, KEY)
        with closing(sqlite3.connect(path)) as theirs, theirs:
            theirs.execute(edit)
        with pytest.raises(SetupError, match=r"ledger\.db has a row that no Airboss of this version wrote"):
            ledger.snapshot()
        assert ledger.config() == "", "what is whole is read"


def test_a_table_that_is_gone_is_damage(tmp_path: Path) -> None:
    """Its disk has nothing to do with it."""
    path = tmp_path / "ledger.db"
    with closing(SqlLedger(f"sqlite:///{path}")) as ledger:
        with closing(sqlite3.connect(path)) as theirs, theirs:
            theirs.execute("drop table keys")
        with pytest.raises(SetupError, match="no such table: keys; it is damaged: put a copy"):
            put_key(ledger, KEY)


def test_a_disk_that_is_writable_again_is_written_to(tmp_path: Path) -> None:
    """What SQLite opens where it cannot write, while another process has it open, would stay for reading
    alone in all of this process for ever: so it is not opened then."""
    with small_disk(tmp_path / "disk", 20) as disk, ExitStack() as ends:
        SqlLedger(f"sqlite:///{disk}/ledger.db").close()
        holds = ends.enter_context(publisher(f"sqlite:///{disk}/ledger.db", 0, "holds"))
        ends.callback(told, holds)
        assert holds.stdout is not None
        assert holds.stdout.readline() == "ready\n"
        seen = tmp_path / "seen"
        seen.mkdir()
        subprocess.run(["mount", "--bind", disk, seen], check=True, timeout=60)
        ends.callback(lambda: subprocess.run(["umount", "--lazy", seen], check=True, timeout=60))
        subprocess.run(["mount", "-o", "remount,bind,ro", seen], check=True, timeout=60)
        with pytest.raises(LedgerTrouble, match="readonly; is its disk there"):
            SqlLedger(f"sqlite:///{seen}/ledger.db")
        subprocess.run(["mount", "-o", "remount,bind,rw", seen], check=True, timeout=60)
        with closing(SqlLedger(f"sqlite:///{seen}/ledger.db")) as ledger:
            put_key(ledger, KEY)
            assert ledger.all_keys() == (KEY,)


def test_a_write_waits_for_another(tmp_path: Path) -> None:
    """A publish while another process holds the write lock comes through when the lock is given back."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    SqlLedger(url).close()
    process = publisher(url, 1, "p")
    assert heard(process) == "ready"
    blocker = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    told(process)
    reader = SqlLedger(url)
    until(lambda: process.poll() is None and reader.snapshot() is None)
    blocker.execute("COMMIT")
    blocker.close()
    assert heard(process) == "1"
    ended(process)
    found = reader.plan(1)
    assert found is not None
    assert found.deployments[0] == deployment("p-0-0", "p-0-0")
    reader.close()


HOLDER = """
import sys
from airboss.domain.errors import SetupError
from airboss.store import ledger_postgres
from airboss.store.ledger import SqlLedger

ledger_postgres.HELD_MS_MAX = 500
try:
    with SqlLedger(sys.argv[1])._write():
        print("writes", flush=True)
        sys.stdin.readline()
except SetupError as error:
    print(type(error).__name__, flush=True)
"""


def test_a_writer_that_is_stopped_keeps_nobody_from_writing(tmp_path: Path) -> None:
    """In the middle of a transaction, and its machine answers for it: on a server its connection is ended, so
    that the others go on. It hears so once it goes on itself."""
    url = empty_url("postgresql", tmp_path)
    with closing(SqlLedger(url)) as ledger:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert heard(process) == "writes"
            hold_still(process.pid)
            put_key(ledger, KEY)
            process.send_signal(signal.SIGCONT)
            told(process)
            assert heard(process) == "LedgerAway"
            ended(process)
        finally:
            process.kill()
        assert ledger.all_keys() == (KEY,)


def test_a_database_that_hangs_on_every_connection_is_away(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes once all that a process may have are taken hears what who comes to none at all does: else
    whatever goes on while the ledger is away would end by a defect."""
    with closing(SqlLedger(address)) as ledger, ExitStack() as stuck:
        ledger.revision()
        pool = ledger._engine.pool
        assert isinstance(pool, QueuePool)
        monkeypatch.setattr(pool, "_timeout", 0.01)
        for _ in range(pool.size() + pool._max_overflow):
            stuck.enter_context(ledger._engine.connect())
        for used in (ledger.all_keys, lambda: put_key(ledger, KEY)):
            with pytest.raises(SetupError, match="it is silent on every connection"):
                used()
            with pytest.raises(SetupError, match="it is silent on every connection"), ledger.together():
                used()
        stuck.close()
        put_key(ledger, KEY)
        assert ledger.all_keys() == (KEY,)


def test_a_connection_that_says_nothing_any_more_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that has lost the server answers for it: who waits there is told that the ledger is away, and
    others, on connections of which nobody knew it yet, go on with new ones."""
    monkeypatch.setattr(ledger_postgres, "STATEMENT_S", 2)
    monkeypatch.setattr(ledger_postgres, "HELD_MS_MAX", 100)
    monkeypatch.setattr(ledger_psycopg, "ON_ITS_WAY_S", 0)
    with between(tmp_path) as (network, url), closing(SqlLedger(url)) as ledger:

        def goes_silent() -> None:
            with ledger.together():
                put_key(ledger, KEY)
                network.hold()
                ledger.all_keys()

        with pytest.raises(LedgerAway, match="silent for 2 s"):
            goes_silent()
        put_key(ledger, KEY)
        network.hold()
        assert ledger.all_keys() == (KEY,)


def test_a_database_that_was_read_only_for_a_while_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by who connected meanwhile, as to a server that had handed over to another: its connections, which
    stay as they began, are given up."""
    url = empty_url("postgresql", tmp_path)
    with closing(SqlLedger(url)), psycopg.connect(postgres.server(), autocommit=True) as outside:
        name = url.split("///")[1].split("?", maxsplit=1)[0]
        outside.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        with closing(SqlLedger(url)) as ledger:
            told = ledger.unwritable()
            assert told is not None
            assert "read-only" in told
            with pytest.raises(LedgerTrouble, match="read-only"):
                put_key(ledger, KEY)
            outside.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
            put_key(ledger, KEY)
            assert ledger.unwritable() is not None, "one write of a minute is no proof"
            monkeypatch.setattr(ledger_trouble, "TOLD_S", 0.0)
            assert ledger.unwritable() is None
            assert ledger.all_keys() == (KEY,)
