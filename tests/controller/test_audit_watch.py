"""A ledger that was put back or cut is noticed, by a checkpoint that is kept beside the audit log's key."""

from __future__ import annotations

import errno
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from airboss.controller.audit_watch import AuditWatch
from airboss.governance.audit import Sealer
from airboss.governance.audit_verify import Verdict, verify
from airboss.governance.checkpoint import Signer, read_kept
from airboss.store.audit import SqlAuditLog
from airboss.store.datadir import DataDir
from tests.controller.journals import FixedClock

NOW = datetime(2026, 11, 30, tzinfo=UTC)
SECRET = "ab_" + "k" * 43


class House:
    """An audit log, and who looks after it; both can be opened anew, as by another process."""

    def __init__(self, root: Path) -> None:
        self.data = DataDir(root)
        self.data.create()
        self.secret = SECRET
        self.clock = FixedClock()
        self.open()

    def open(self) -> None:
        """In a new process."""
        signer = Signer(self.secret)
        self.log = SqlAuditLog(self.data.ledger_url, Sealer(signer))
        self.watch = AuditWatch(
            self.log,
            signer,
            self.clock,
            kept=lambda: self.data.kept_secret("audit_head"),
            keep=lambda text: self.data.write_secret("audit_head", text),
        )

    def add(self, leaves: int, what: str = "x") -> None:
        """Things are done."""
        for number in range(leaves):
            self.log.append(what, actor="admin", subject="y", detail={"number": number}, at=NOW)

    def look(self) -> str | None:
        """What is seen at the next look."""
        self.clock.at += datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC) - datetime(2026, 1, 1, tzinfo=UTC)
        self.watch.tick()
        return self.watch.trouble

    def verified(self) -> Verdict:
        """What `airboss audit verify` finds without a checkpoint from elsewhere."""
        with self.log.whole() as whole:
            own = read_kept(self.data.kept_secret("audit_head"))
            key = Signer(self.secret).public_key
            return verify(whole, public_key=key, own=own, own_gone=own is None)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A log of eleven leaves that has been looked at, as before its first."""
    made = House(tmp_path / "data")
    assert made.look() is None
    made.add(10)
    assert made.look() is None
    yield made
    made.log.close()


def test_an_honest_log_grows(house: House) -> None:
    """The checkpoint follows, over restarts, and the log extends it."""
    for _ in range(3):
        kept = read_kept(house.data.kept_secret("audit_head"))
        assert kept is not None
        house.add(2)
        assert house.look() is None
        now = read_kept(house.data.kept_secret("audit_head"))
        assert now is not None
        assert now.size == kept.size + 2
        assert house.verified().valid
        house.log.close()
        house.open()


def put_back(house: House) -> None:
    """An older copy of the whole ledger, on which things are done as before."""
    house.add(5)
    house.look()
    house.log.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{house.data.ledger_path}{suffix}").unlink(missing_ok=True)
    shutil.copyfile(house.data.path / "older.db", house.data.ledger_path)
    house.open()


def put_back_and_grown(house: House) -> None:
    """And more is done on it than there was."""
    put_back(house)
    house.add(50, "other")


def cut(house: House) -> None:
    """The newest leaves are gone, and the head is one that was signed then."""
    with closing(sqlite3.connect(house.data.path / "older.db")) as older:
        head = older.execute("select size, root, at, signature, peaks from audit_head").fetchone()
    house.add(5)
    house.look()
    with closing(sqlite3.connect(house.data.ledger_path)) as ledger, ledger:
        ledger.execute("delete from audit_leaves where number >= 11")
        ledger.execute("delete from audit_names where leaf >= 11")
        ledger.execute("update audit_head set size = ?, root = ?, at = ?, signature = ?, peaks = ?", head)


def emptied(house: House) -> None:
    """Nothing is there."""
    with closing(sqlite3.connect(house.data.ledger_path)) as ledger, ledger:
        for table in ("audit_leaves", "audit_names", "audit_head"):
            ledger.execute(f"delete from {table}")


def another_key(house: House) -> None:
    """The key was replaced, and all written again with it."""
    emptied(house)
    house.log.close()
    house.secret = "ab_" + "o" * 43
    house.open()
    house.add(20)


def edited_checkpoint(house: House) -> None:
    """It says less than it did."""
    text = str(house.data.kept_secret("audit_head"))
    house.data.write_secret("audit_head", text.replace('"size":11', '"size":5'))


def spoilt_checkpoint(house: House) -> None:
    """It says nothing."""
    house.data.write_secret("audit_head", "x")


OWN = "its checkpoint in secrets/audit_head"
NOT_SIGNED = "secrets/audit_head is not as it was signed"
EDITS: dict[str, tuple[Callable[[House], None], str, str]] = {
    "older copy": (put_back, "leaf 15, its last", f"{OWN} is of 16 leaves, and there are 12"),
    "older copy, grown": (put_back_and_grown, "leaf 15, its last", f"does not extend {OWN}"),
    "cut to an earlier head": (cut, "leaf 15, its last", f"{OWN} is of 16 leaves, and there are 12"),
    "emptied": (emptied, "leaf 10, its last", f"{OWN} is of 11 leaves, and there are 2"),
    "another key": (another_key, "another key", f"{OWN} was signed with another key"),
    "checkpoint edited": (edited_checkpoint, NOT_SIGNED, f"the signature of {OWN} does not fit"),
    "checkpoint spoilt": (spoilt_checkpoint, NOT_SIGNED, f"the signature of {OWN} does not fit"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_is_put_back_or_cut_is_noticed(
    house: House, edit: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By who looks, again and again and told in the log once, and by `audit verify`; the checkpoint stays."""
    with (
        closing(sqlite3.connect(house.data.ledger_path)) as ledger,
        closing(sqlite3.connect(house.data.path / "older.db")) as older,
    ):
        ledger.backup(older)
    change, seen, verified = EDITS[edit]
    change(house)
    kept = house.data.kept_secret("audit_head")
    caplog.set_level(logging.ERROR)
    assert seen in str(house.look())
    house.add(1)
    assert seen in str(house.look())
    assert len([each for each in caplog.messages if "the audit log:" in each]) == 1
    assert house.data.kept_secret("audit_head") == kept
    verdict = house.verified()
    assert not verdict.valid
    assert verified in str(verdict.problem), verdict.problem


def test_a_log_is_watched_from_before_its_first_leaf(tmp_path: Path) -> None:
    """A checkpoint of nothing is kept, which the log extends, so that none is missed for its being new."""
    house = House(tmp_path / "data")
    assert house.look() is None
    begun = house.data.kept_secret("audit_head")
    house.add(1)
    assert house.data.kept_secret("audit_head") == begun
    assert house.verified().valid
    assert house.look() is None
    assert house.data.kept_secret("audit_head") != begun
    assert house.verified().resumed == ()
    house.log.close()


def test_a_checkpoint_that_is_deleted_is_missed(house: House) -> None:
    """`verify` takes a log without it for whole only by one from elsewhere; who looks goes on, and the log
    says for good where that was, which counts less once a checkpoint that was kept elsewhere is newer."""
    with house.log.whole() as whole:
        assert whole.head is not None
        public = Signer(SECRET)
        then = public.sign(size=whole.head.size, root=whole.head.root, at=whole.head.at)
    (house.data.secrets_dir / "audit_head").unlink()
    assert "secrets/audit_head is gone" in str(house.verified().problem)
    with house.log.whole() as whole:
        assert verify(whole, public_key=public.public_key, checkpoint=then, own_gone=True).valid
    assert house.look() is None
    (told,) = house.log.newest(limit=1)
    assert (told.leaf.number, told.leaf.action) == (11, "audit.resume")
    assert house.look() is None
    assert house.verified().resumed == (11,)
    with house.log.whole() as whole:
        assert whole.head is not None
        now = public.sign(size=whole.head.size, root=whole.head.root, at=whole.head.at)
        assert verify(whole, public_key=public.public_key, checkpoint=then).resumed == (11,)
        assert verify(whole, public_key=public.public_key, checkpoint=now).resumed == ()


def test_a_checkpoint_that_cannot_be_kept_is_missed_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once for every look at a disk that is full: the log would grow by 17,000 leaves a day."""
    (house.data.secrets_dir / "audit_head").unlink()

    def full(_name: str, _text: str) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(house.data, "write_secret", full)
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                house.look()
    assert house.look() is None
    assert [each.leaf.action for each in house.log.newest(limit=2)] == ["audit.resume", "x"]
    assert house.verified().resumed == (11,)


def test_what_was_put_back_on_purpose_is_gone_on_with(house: House) -> None:
    """Once its checkpoint was deleted, as is said."""
    (house.data.path / "older.db").write_bytes(b"")
    emptied(house)
    house.add(3)
    assert "delete secrets/audit_head" in str(house.look())
    (house.data.secrets_dir / "audit_head").unlink()
    assert house.look() is None
    assert house.verified().valid


STRANGE: dict[str, str] = {
    "a root that is no text": "update audit_leaves set root = cast(x'ff41' as text) where number = 11",
    "a root that is no root": "update audit_leaves set root = 'x' where number = 11",
    "a number as large as there is": "update audit_leaves set number = 9223372036854775807 where number = 11",
    "a leaf that is rewritten": "update audit_leaves set content = replace(content, '2026-', '2027-'),"
    " at = replace(at, '2026-', '2027-') where number = 11",
    "a leaf that is no text": "update audit_leaves set content = x'ff' where number = 11",
    "a leaf that says nothing": "update audit_leaves set content = '[' where number = 11",
    "a leaf of another time": "update audit_leaves set at = 'x' where number = 11",
}


@pytest.mark.parametrize("strange", STRANGE)
def test_what_stands_in_the_last_leaf_is_signed_if_it_is_ours(house: House, strange: str) -> None:
    """Else it is told, again and again, and the checkpoint stays; once it is as it was all is well."""
    house.add(1)
    kept = house.data.kept_secret("audit_head")
    with closing(sqlite3.connect(house.data.ledger_path)) as ledger, ledger:
        ledger.execute("create table spare as select * from audit_leaves where number = 11")
        assert ledger.execute(STRANGE[strange]).rowcount == 1
    assert "is not as it was written" in str(house.look())
    assert "is not as it was written" in str(house.look())
    assert house.data.kept_secret("audit_head") == kept
    assert not house.verified().valid
    with closing(sqlite3.connect(house.data.ledger_path)) as ledger, ledger:
        ledger.execute("delete from audit_leaves where number not between 0 and 10")
        ledger.execute("insert into audit_leaves select * from spare")
    assert house.look() is None
    assert house.data.kept_secret("audit_head") != kept


def test_a_checkpoint_that_no_database_can_be_asked_for_is_told(house: House) -> None:
    """As one that was signed of whatever stood in the last leaf."""
    then = Signer(SECRET).sign(size=2**63, root="0" * 64, at="x")
    house.data.write_secret("audit_head", msgspec.json.encode(then).decode())
    assert "cannot be read" in str(house.look())
