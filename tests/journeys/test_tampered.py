"""Files of a running Airboss are replaced and deleted: it says so, loses no call that was answered, and takes
no history for whole that was put back."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import msgspec

from airboss.testing import FakeProvider
from tests.journeys.configs import fake
from tests.support.airboss import Airboss, run_airboss, run_up
from tests.support.wait import until

QUICK = 'fake:{"words": 3}'


def asked(airboss: Airboss, *args: str) -> tuple[int, str]:
    """A verb's exit code and all that it says."""
    done = run_airboss(*args, "--data-dir", str(airboss.data), cwd=airboss.root)
    return done.returncode, done.stdout + done.stderr


def remotely(airboss: Airboss) -> CompletedProcess[str]:
    """`audit verify` as from another machine."""
    env, there = {"AIRBOSS_ADMIN_KEY": airboss.ready["admin_key"]}, ("--url", airboss.ready["console_url"])
    return run_airboss("audit", "verify", *there, cwd=airboss.root, env=env)


def says_what_is_sure(airboss: Airboss, kept: Path) -> None:
    """Of a log whose own checkpoint was gone `audit verify` says that one would show more, and with one that
    was kept what that shows."""
    code, said = asked(airboss, "audit", "verify")
    assert (code, "tells that secrets/audit_head was gone: whether all of before is here" in said) == (
        0,
        True,
    )
    code, said = asked(airboss, "audit", "verify", "--checkpoint", str(kept))
    leaves = json.loads(kept.read_text())["size"]
    assert f"what your checkpoint has of before, {leaves} leaves, is here; whether all that came" in said
    assert (code, "whether all of before" in said) == (0, False)


def leaves_kept(airboss: Airboss) -> int:
    """How many leaves the audit log had when that was last written down."""
    path = airboss.data / "secrets" / "audit_head"
    return int(msgspec.json.decode(path.read_bytes())["size"]) if path.exists() else 0


def test_an_older_ledger_that_is_put_back_is_noticed(provider: FakeProvider, tmp_path: Path) -> None:
    """While it runs nothing more is taken by a ledger that would be lost, and calls go on; the next start
    goes on with what is there and says that it is not what was, until that is said to be on purpose."""
    airboss = Airboss(tmp_path / "a", fake(provider.url))
    ledger, older = airboss.data / "ledger.db", tmp_path / "older.db"
    with closing(airboss.start()):
        (tmp_path / "kept.json").write_text(airboss.verb("audit", "checkpoint"))
        with closing(sqlite3.connect(ledger)) as source, closing(sqlite3.connect(older)) as copy:
            source.backup(copy)
        airboss.verb("keys", "create", "made-since")
        leaves = len(airboss.verb("audit", "list", "--json", "--limit", "1000").splitlines())
        until(lambda: leaves_kept(airboss) >= leaves)
        shutil.copyfile(older, tmp_path / "new.db")
        (tmp_path / "new.db").replace(ledger)
        code, said = asked(airboss, "keys", "create", "into-nothing")
        assert code != 0
        assert f"the ledger {ledger} was replaced by another file while Airboss had it open" in said
        answer = airboss.chat(QUICK, model="support")
        assert answer.status_code == 200
        assert airboss.stop() == 0, airboss.log[-5000:]
        for suffix in ("-wal", "-shm"):  # of the ledger that was: with these nothing is older
            Path(f"{ledger}{suffix}").unlink(missing_ok=True)
        airboss.start()
        found = until(lambda: airboss.api("status")["audit_trouble"])
        assert "the ledger was put back from an older copy" in found
        until(lambda: f"the audit log: {found}" in airboss.log)
        code, said = asked(airboss, "status")
        assert (code, "the audit log is not what it was" in said) == (1, True)
        code, said = asked(airboss, "audit", "verify")
        assert (code, "TAMPERED" in said, "secrets/audit_head" in said) == (1, True, True)
        airboss.settled()
        assert answer.headers["x-request-id"] in {each["id"] for each in airboss.records()}
        (airboss.data / "secrets" / "audit_head").unlink()
        until(lambda: airboss.api("status")["audit_trouble"] is None)
        until(lambda: leaves_kept(airboss))
        says_what_is_sure(airboss, tmp_path / "kept.json")
        with closing(sqlite3.connect(ledger, timeout=60)) as file, file:
            file.execute("update plans set config = config || '#' where number = 1")
        code, said = asked(airboss, "audit", "verify")
        assert (code, "the configuration of plan 1 is not what leaf" in said) == (1, True)
        there, env = (
            ("--url", airboss.ready["console_url"]),
            {"AIRBOSS_ADMIN_KEY": airboss.ready["admin_key"]},
        )
        done = run_airboss("audit", "verify", *there, cwd=airboss.root, env=env)
        assert (done.returncode, "the configuration of plan 1 is not what leaf" in done.stdout) == (1, True)
        with closing(sqlite3.connect(ledger, timeout=60)) as file, file:
            file.execute("update plans set config = rtrim(config, '#') where number = 1")
        assert remotely(airboss).returncode == 0
        with closing(sqlite3.connect(ledger, timeout=60)) as file, file:
            file.execute("update audit_head set signature = 'x' || signature")
        done = remotely(airboss)
        assert (done.returncode, "is not signed by the key" in done.stdout) == (1, True), done.stdout
        assert "is not as it was signed" in asked(airboss, "audit", "checkpoint")[1]
        with closing(sqlite3.connect(ledger, timeout=60)) as file, file:
            file.execute("update audit_head set signature = substr(signature, 2)")
        assert airboss.stop() == 0
    with closing(sqlite3.connect(ledger, timeout=60)) as file:
        assert file.execute("select count(*) from audit_leaves").fetchone() == (leaves_kept(airboss),)
    (airboss.data / "secrets" / "audit_head").rename(tmp_path / "audit_head")
    code, said = asked(airboss, "audit", "verify")
    assert (code, "TAMPERED: secrets/audit_head is gone" in said) == (1, True), said
    (tmp_path / "audit_head").rename(airboss.data / "secrets" / "audit_head")
    ledger.unlink()
    done = run_up("--json", "--port", "0", "--console-port", "0", cwd=airboss.root)
    assert done.returncode == 2, done.stderr
    assert f"the ledger of {airboss.data} is empty, and it was not before" in done.stderr


def test_records_and_journals_that_are_deleted_under_it(provider: FakeProvider, tmp_path: Path) -> None:
    """No record is moved into a file that is gone, nor written to a segment that is: calls that are answered
    after the look that found it have a record, at the latest after the next start."""
    airboss = Airboss(tmp_path / "a", fake(provider.url))
    with closing(airboss.start()):
        assert airboss.chat(QUICK, model="support").status_code == 200
        airboss.settled()
        (airboss.data / "records.duckdb").unlink()
        (journal,) = (airboss.data / "journal").glob("gateway-0-*")
        shutil.rmtree(journal)
        lost = airboss.chat(QUICK, model="support")  # the look that finds it
        assert lost.status_code == 200
        until(lambda: ".seg was deleted or moved away" in airboss.log)  # the store says so of its own file
        ids = [airboss.chat(QUICK, model="support").headers["x-request-id"] for _ in range(5)]

        def told() -> str:
            journal = airboss.api("status")["journal"]
            return "" if journal["store_up"] else str(journal["store_detail"])

        until(lambda: "records.duckdb was deleted or moved away while Airboss had it open" in told())
        assert airboss.stop() == 0, airboss.log[-5000:]
        airboss.start()
        airboss.settled()
        assert set(ids) <= {each["id"] for each in airboss.records()}
        assert airboss.stop() == 0


def test_a_lock_file_that_is_deleted_lets_nobody_in(provider: FakeProvider, tmp_path: Path) -> None:
    """Verbs ask the Airboss that runs, and leave what it says of itself alone; a second one is refused."""
    airboss = Airboss(tmp_path / "a", fake(provider.url))
    with closing(airboss.start()):
        (airboss.data / "lock").unlink()
        assert airboss.verb("keys", "list")
        done = run_up("--json", "--port", "0", "--console-port", "0", cwd=airboss.root)
        assert done.returncode == 2, done.stderr
        assert f"{airboss.data} is open in another Airboss" in done.stderr
        assert airboss.chat(QUICK, model="support").status_code == 200
        airboss.settled()
        assert len(airboss.records()) == 1
        assert airboss.stop() == 0, airboss.log[-5000:]


def test_a_data_directory_that_is_moved_away_can_be_moved_back(
    provider: FakeProvider, tmp_path: Path
) -> None:
    """Nothing is made in its place; calls are refused meanwhile, and each that was answered after has its
    record."""
    airboss = Airboss(tmp_path / "a", fake(provider.url))
    with closing(airboss.start()):
        assert airboss.chat(QUICK, model="support").status_code == 200
        airboss.settled()
        old = airboss.data.rename(tmp_path / "old")

        def told_to_put_back() -> bool:  # whose record was promised room before is told where to look
            said = airboss.chat(QUICK, model="support")
            return said.status_code == 503 and f"put {airboss.data} back" in said.text

        until(told_to_put_back)
        until(lambda: "how things stand is not written into" in airboss.log)
        assert not airboss.data.exists()
        old.rename(airboss.data)
        ids = [airboss.chat(QUICK, model="support").headers["x-request-id"] for _ in range(3)]
        until(lambda: set(ids) <= {each["id"] for each in airboss.records()})
        assert airboss.stop() == 0, airboss.log[-5000:]
