"""The plan kept on disk: what is used of it, and when."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Event, Timer

import psycopg
import pytest

from airboss.domain.errors import SetupError
from airboss.domain.ports import ApiKey, Snapshot
from airboss.governance.keys import hash_key
from airboss.store import kept_plan
from airboss.store.kept_plan import BYTES_MAX, OLD, UNKNOWN, KeptPlans, PlanFile, needed
from airboss.store.ledger import SqlLedger
from airboss.store.ledger_trouble import LedgerAway
from tests.store.ledgers import plan
from tests.support import postgres
from tests.support.gateway import deployment

URL = "postgresql://airboss:first-password@db.example.com/airboss"
NOW = datetime(2025, 5, 1, 12, tzinfo=UTC)
CONFIG = "gateway.fsync_ms = 20\n"


def snapshot(revision: int = 3, prompts: int = 1) -> Snapshot:
    """What a ledger may say."""
    key = ApiKey(name="app", sha256=hash_key("ab_secret"), created_at=NOW)
    served = [deployment("http://127.0.0.1:9/v1", name=f"d{n}") for n in range(prompts)]
    return Snapshot(revision=revision, plan=plan(*served), keys=(key,))


@pytest.fixture
def file(tmp_path: Path) -> PlanFile:
    """One that holds revision 3."""
    file = PlanFile(tmp_path / "plan", URL)
    file.keep(CONFIG, snapshot(), NOW, now=NOW)
    return file


def test_what_was_kept_is_served(file: PlanFile, tmp_path: Path) -> None:
    """As it was, with when, but under a revision that no ledger has; another password is the same ledger."""
    for each in (file, PlanFile(tmp_path / "plan", URL.replace("first", "other"))):
        kept, config = each.read(NOW + timedelta(hours=1))
        assert (kept.plan, kept.keys) == (snapshot().plan, snapshot().keys)
        assert (kept.revision, kept.kept_at, config) == (UNKNOWN, NOW, CONFIG)
    raw = (tmp_path / "plan/last").read_bytes()
    assert (b"password" in raw, b"ab_secret" in raw) == (False, False)


def cut(path: Path) -> None:
    """Torn."""
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    """Another revision than was written."""
    path.write_bytes(path.read_bytes().replace(b'"revision":3', b'"revision":4'))


def open_to_all(path: Path) -> None:
    """Others can read it."""
    path.chmod(0o644)


def link(path: Path) -> None:
    """It is somewhere else."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def pipe(path: Path) -> None:
    """Nothing that has an end: whoever waited for its writer would never start."""
    path.unlink()
    os.mkfifo(path, 0o600)


def grow(path: Path) -> None:
    """More than is read into memory, of which the disk holds nothing."""
    os.truncate(path, BYTES_MAX + 1)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (cut, "torn, or was changed"),
        (flip, "torn, or was changed"),
        (lambda path: path.write_bytes(b""), "torn, or was changed"),
        (open_to_all, "no file of this user's alone"),
        (link, "symbolic link"),
        (pipe, "no file of this user's alone"),
        (grow, "no file of this user's alone"),
        (Path.unlink, "no plan was kept"),
    ],
)
def test_what_is_in_doubt_is_not_used(
    file: PlanFile, tmp_path: Path, spoil: Callable[[Path], object], why: str
) -> None:
    """It is refused, and says why; what the ledger says next takes its place."""
    spoil(tmp_path / "plan/last")
    with pytest.raises(SetupError, match=why):
        file.read(NOW)
    file.keep(CONFIG, snapshot(), NOW, now=NOW)
    assert file.read(NOW)[0].keys == snapshot().keys


def test_another_ledger_schema_version_or_age_is_not_used(
    file: PlanFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one of the future."""
    with pytest.raises(SetupError, match="of another ledger"):
        PlanFile(tmp_path / "plan", f"{URL}2").read(NOW)
    with pytest.raises(SetupError, match="over 24 h ago"):
        file.read(NOW + OLD + timedelta(seconds=1))
    with pytest.raises(SetupError, match="yet to come"):
        file.read(NOW - timedelta(minutes=2))
    for name, other in (("SCHEMA", "9999"), ("__version__", "99.0")):
        with monkeypatch.context() as patched:
            patched.setattr(kept_plan, name, other)
            with pytest.raises(SetupError, match="wrote it, and this is"):
                file.read(NOW)


def test_its_folder_is_this_users_alone(file: PlanFile, tmp_path: Path) -> None:
    """Who may list it could tell when plans change."""
    assert file.read(NOW)
    assert stat.S_IMODE((tmp_path / "plan").stat().st_mode) == 0o700


def test_a_file_of_another_user_is_not_used(file: PlanFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wrote it could say whose calls are served, and where they go."""
    assert file.read(NOW)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(SetupError, match="no file of this user's alone"):
        file.read(NOW)


def test_one_from_the_future_gives_way(file: PlanFile) -> None:
    """Its clock was wrong once: else nothing would be kept until that time has come."""
    file.keep(CONFIG, snapshot(9), NOW + timedelta(days=300), now=NOW)
    file.keep(CONFIG, snapshot(4), NOW, now=NOW)
    assert file.read(NOW)[0].keys == snapshot().keys


def test_the_newer_stays(file: PlanFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several gateways one may be behind; where the newer cannot be written, the older goes."""
    file.keep(CONFIG, snapshot(4), NOW + timedelta(seconds=1), now=NOW + timedelta(minutes=1))
    file.keep(CONFIG, snapshot(5, prompts=2), NOW, now=NOW + timedelta(minutes=1))
    assert len(file.read(NOW)[0].plan.deployments) == 1
    monkeypatch.setattr(kept_plan, "replace_file", full_disk)
    with pytest.raises(OSError, match="full"):
        file.keep(CONFIG, snapshot(5), NOW + timedelta(seconds=2), now=NOW + timedelta(minutes=1))
    with pytest.raises(SetupError, match="no plan was kept"):
        file.read(NOW)


def full_disk(*_: object) -> None:
    """No room."""
    raise OSError(28, "the disk is full")


WRITER = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from airboss.store.kept_plan import PlanFile
from tests.store.test_kept_plan import CONFIG, URL, snapshot
file = PlanFile(Path(sys.argv[1]), URL)
for revision in range(int(sys.argv[2]), 1 << 30):
    now = datetime.now(UTC)
    file.keep(CONFIG + f"gateway.responses_days = {revision}\\n", snapshot(revision, 400), now, now=now)
    print(revision, flush=True)
"""


def test_whoever_is_killed_as_it_writes_leaves_a_whole_one(tmp_path: Path) -> None:
    """And no older one than was being served."""
    rng, revision = Random(11), 1
    for _ in range(6):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "plan"), str(revision)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline()]
            Event().wait(rng.uniform(0.0, 0.05))
            os.kill(writer.pid, signal.SIGKILL)
            said += writer.stdout.readlines()
        kept, config = PlanFile(tmp_path / "plan", URL).read(datetime.now(UTC))
        found = int(config.split()[-1])
        assert (len(kept.plan.deployments), found >= int(said[-1])) == (400, True)
        revision = found + 1


class Said:
    """A ledger that says what it is told to, or is away."""

    def __init__(self) -> None:
        self.error: SetupError | None = None
        self.has = snapshot(7, prompts=2)
        self.lets = Event()
        self.lets.set()

    def _asked(self) -> Snapshot:
        assert self.lets.wait(60)
        if self.error is not None:
            raise self.error
        return self.has

    def revision(self) -> int:
        """As `PlanSource`."""
        return self._asked().revision

    def snapshot(self) -> Snapshot:
        """As `PlanSource`."""
        return self._asked()

    def config(self) -> str:
        """As `PlanSource`."""
        self._asked()
        return (
            'deployments.a.model = "b"\n[gateway]\nfsync_ms = 30\n[store]\nledger = "postgresql://u:p@h/d"\n'
        )


def plans_of(ledger: Said, file: PlanFile) -> KeptPlans:
    """As a gateway has them, an hour later."""
    return KeptPlans(ledger, file, now=lambda: NOW + timedelta(hours=1))


def test_it_is_served_until_the_ledger_answers(file: PlanFile) -> None:
    """What that says then is served whatever its revision is, and kept."""
    ledger = Said()
    ledger.error = LedgerAway("gone")
    plans = plans_of(ledger, file)
    plans.begin()
    for _ in range(3):
        served = plans.snapshot()
        assert served is not None
        assert (plans.revision(), served.revision, plans.config()) == (UNKNOWN, UNKNOWN, CONFIG)
    ledger.error = None
    assert (plans.revision(), plans.snapshot()) == (7, ledger.has)
    assert plans.config() == ledger.config()
    kept, config = file.read(NOW + timedelta(hours=1))
    assert (kept.plan, config) == (ledger.has.plan, "gateway.fsync_ms = 30\n")
    ledger.error = LedgerAway("gone")
    with pytest.raises(LedgerAway):  # who runs on serves what it holds, and says so
        plans.revision()


def test_a_plan_that_is_long_in_force_is_not_called_old(
    file: PlanFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the ledger still has it is written down every minute."""
    ledger, hours = Said(), 1
    plans = KeptPlans(ledger, file, now=lambda: NOW + timedelta(hours=hours))
    plans.begin()
    plans.snapshot()
    hours = 30
    plans.revision()
    with pytest.raises(SetupError, match="over 24 h ago"):
        file.read(NOW + timedelta(hours=hours))
    monkeypatch.setattr(kept_plan, "AGAIN_S", 0.0)
    plans.snapshot()
    hours = 31
    plans.revision()
    assert file.read(NOW + timedelta(hours=hours))[0].kept_at == NOW + timedelta(hours=hours)


def test_without_a_plan_a_ledger_that_hangs_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says at last is what holds, a refusal too."""
    monkeypatch.setattr(kept_plan, "SILENT_S", 0.05)
    slow = Said()
    slow.lets.clear()
    slow.error = SetupError("password authentication failed")
    opened = Timer(0.2, slow.lets.set)
    opened.start()
    with pytest.raises(SetupError, match="authentication"):
        plans_of(slow, PlanFile(tmp_path / "none", URL)).begin()
    opened.join()


def test_a_ledger_that_hangs_is_away_and_one_that_refuses_is_not(
    file: PlanFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gets in by a plan on disk whom the database has shut out; without a plan it is waited for."""
    monkeypatch.setattr(kept_plan, "SILENT_S", 0.05)
    hangs = Said()
    hangs.lets.clear()
    plans = plans_of(hangs, file)
    plans.begin()
    assert plans.revision() == UNKNOWN
    hangs.lets.set()
    refuses = Said()
    refuses.error = SetupError("password authentication failed")
    with pytest.raises(SetupError, match="authentication"):
        plans_of(refuses, file).begin()
    gone = Said()
    gone.error = LedgerAway("gone")
    with pytest.raises(LedgerAway):
        plans_of(gone, PlanFile(tmp_path / "none", URL)).begin()


def test_what_postgresql_says_is_told_apart(tmp_path: Path) -> None:
    """No server, or none yet, is away; a wrong database or user is not."""
    url = postgres.database(tmp_path)
    for wrong, away in (
        ("postgresql://airboss@127.0.0.1:9/airboss", True),
        ("postgresql://airboss@nowhere.invalid/airboss", True),
        (f"postgresql:///airboss?host={tmp_path}", True),
        (url.replace("/ab_", "/not_there_"), False),
        (f"{url}&user=nobody", False),
        (f"{url}&sslmode=nonsense", False),
    ):
        ledger = SqlLedger(wrong, late=True)
        with pytest.raises(SetupError) as told:
            ledger.revision()
        ledger.close()
        assert isinstance(told.value, LedgerAway) is away, told.value
    late = SqlLedger(url, late=True)
    assert late.revision() == 0, "its schema is made when it is first asked"
    late.close()


def test_who_joins_brings_no_ledger_forward(tmp_path: Path) -> None:
    """The Airboss that leads may still be of the version before, and could not start on it any more."""
    url = postgres.database(tmp_path)
    SqlLedger(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0007'")
        late = SqlLedger(url, late=True)
        with pytest.raises(SetupError, match=r"earlier Airboss \(schema 0007; this one has .*leads first"):
            late.revision()
        late.close()
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        assert found == ("0007",)


def test_of_the_configuration_nothing_secret_is_kept() -> None:
    """What a gateway starts with, and no more; of one that cannot be read nothing."""
    text = '[gateway]\nfsync_ms = 5\n[gateway.limits]\nconcurrency = 1\n[tls]\ncert = "é"\nkey = "k"\n'
    text += '[store]\nledger = "env:L"\ncounters = "env:V"\nrecords = "env:R"\n[notifiers.a]\nwebhook = "https://x/y"\n'
    assert needed(text) == 'gateway.fsync_ms = 5\nstore.counters = "env:V"\ntls.cert = "é"\ntls.key = "k"\n'
    assert needed("=") == ""
