"""The audit log holds what it was told, and no edit of its data goes unseen."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.governance import audit, merkle
from airboss.governance.audit import Sealer, known_names
from airboss.governance.audit_verify import Verdict, verify
from airboss.governance.checkpoint import Checkpoint, Signer
from airboss.store.audit import SqlAuditLog
from tests.support.merkle_proofs import is_included

SECRET = "ab_" + "k" * 43
OTHER_SECRET = "ab_" + "o" * 43
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
SIGNER = Signer(SECRET)


def url(root: Path) -> str:
    """The ledger's."""
    return f"sqlite:///{root / 'ledger.db'}"


def filled(root: Path, count: int = 12) -> SqlAuditLog:
    """A log of `audit.begin` and so many more; every third is about a person."""
    log = SqlAuditLog(url(root), Sealer(SIGNER))
    for number in range(1, count):
        log.append(
            "keys.create",
            actor="admin",
            subject=f"key {number}",
            detail={"number": number},
            at=NOW + timedelta(seconds=number),
            user="ann" if number % 3 == 0 else None,
        )
    return log


def checked(
    root: Path, checkpoint: Checkpoint | None = None, *, secret: str = SECRET, begun: bool = True
) -> Verdict:
    """What a fresh reader finds."""
    log = SqlAuditLog(url(root), Sealer(Signer(secret)))
    try:
        with log.whole() as data:
            return verify(data, public_key=Signer(secret).public_key, checkpoint=checkpoint, begun=begun)
    finally:
        log.close()


@contextmanager
def opened(root: Path) -> Iterator[sqlite3.Connection]:
    """The tables, as a tamperer has them."""
    with closing(sqlite3.connect(root / "ledger.db")) as found, found:
        yield found


def checkpoint_of(root: Path, secret: str = SECRET) -> Checkpoint:
    """The signed head of now."""
    log = SqlAuditLog(url(root), Sealer(SIGNER))
    with log.whole() as data:
        head = data.head
        assert head is not None
    log.close()
    return Signer(secret).sign(size=head.size, root=head.root, at=head.at)


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoint:
    """A checkpoint of a log of 8 leaves that has 12 by now."""
    log = filled(tmp_path, 8)
    checkpoint = checkpoint_of(tmp_path)
    for number in range(8, 12):
        log.append("x", actor="admin", subject="y", detail={"number": number}, at=NOW)
    log.close()
    return checkpoint


def test_a_leaf_comes_back_as_it_was_told(tmp_path: Path) -> None:
    """Action, names, detail and time are there, numbered from the beginning; the newest come first."""
    log = filled(tmp_path, 1)
    number = log.append(
        "keys.create", actor="admin", subject="key team-a", detail={"deployments": ["a"]}, at=NOW, user="ann"
    )
    assert number == 1
    newest, begin = log.newest(limit=10)
    leaf = audit.read_leaf(newest.leaf.content)
    assert (leaf.number, leaf.action, leaf.detail, leaf.at) == (
        *(1, "keys.create", {"deployments": ["a"]}),
        NOW.isoformat(),
    )
    assert known_names(newest.names) == {"actor": "admin", "subject": "key team-a", "user": "ann"}
    assert begin.leaf.action == audit.BEGIN
    log.close()


def test_leaves_are_found_by_action_time_and_page(tmp_path: Path) -> None:
    """Filters narrow the list, and `before` goes on where a page ended."""
    log = filled(tmp_path)
    log.append("erase", actor="admin", subject="erasure 1", detail={}, at=NOW + timedelta(hours=1))

    def numbers(**asked: Any) -> list[int]:
        return [each.leaf.number for each in log.newest(**{"limit": 100, **asked})]

    assert numbers(action="erase") == [12]
    assert numbers(since=NOW + timedelta(seconds=10)) == [12, 11, 10]
    assert numbers(until=NOW + timedelta(seconds=3)) == [2, 1, 0]
    assert numbers(limit=3) == [12, 11, 10]
    assert numbers(limit=3, before=10) == [9, 8, 7]
    log.close()


def test_leaves_hold_no_name(tmp_path: Path) -> None:
    """What is hashed names nobody, and two leaves about one person do not look alike."""
    filled(tmp_path).close()
    with opened(tmp_path) as found:
        texts = [text for (text,) in found.execute("select content from audit_leaves order by number")]
    assert not [text for text in texts if "ann" in text or "admin" in text or "key 1" in text]
    users = [json.loads(text).get("user") for text in texts]
    assert len({user for user in users if user}) == 3


def test_an_honest_log_is_valid(tmp_path: Path, kept: Checkpoint) -> None:
    """All leaves are read, and the log extends the checkpoint kept and one of now."""
    found = checked(tmp_path, kept)
    assert (found.valid, found.checked, found.extends, found.problem) == (True, 12, 8, None)
    assert checked(tmp_path, checkpoint_of(tmp_path)).extends == 12
    assert checked(tmp_path).root == checkpoint_of(tmp_path).root


def test_the_root_is_that_of_the_leaves(tmp_path: Path) -> None:
    """A log kept in tables has the root of the plain tree over the same texts, and proofs about it hold."""
    filled(tmp_path, 21).close()
    log = SqlAuditLog(url(tmp_path), Sealer(SIGNER))
    with log.whole() as data:
        hashes = [merkle.leaf_hash(each.leaf.content.encode()) for each in data.leaves()]
        assert data.head is not None
        root = bytes.fromhex(data.head.root)
    log.close()
    assert merkle.root_of(hashes) == root
    assert is_included(hashes[7], 7, 21, root, merkle.inclusion_proof(hashes, 7))


Edit = Callable[[sqlite3.Connection], object]


def edited_detail(found: sqlite3.Connection) -> None:
    """The tamperer keeps the text well-formed."""
    found.execute(
        """update audit_leaves set content = replace(content, '"number":5', '"number":5 ') where number = 5"""
    )
    found.execute("update audit_leaves set content = replace(content, 'keys.create', 'keys.revoke'),"
                  " action = 'keys.revoke' where number = 5")  # fmt: skip


def edited_with_its_root(found: sqlite3.Connection) -> None:
    """The tamperer recomputes the root beside the leaf, not those after it."""
    edited_detail(found)
    tree = merkle.Tree()
    for (text,) in found.execute("select content from audit_leaves where number <= 5 order by number"):
        tree.append(merkle.leaf_hash(text.encode()))
    found.execute("update audit_leaves set root = ? where number = 5", [tree.root().hex()])


def hashed_anew(found: sqlite3.Connection) -> None:
    """All roots and the head are made to fit the texts; only the key is missing."""
    tree = merkle.Tree()
    for number, text in found.execute("select number, content from audit_leaves order by number").fetchall():
        tree.append(merkle.leaf_hash(text.encode()))
        found.execute("update audit_leaves set root = ? where number = ?", [tree.root().hex(), number])
    found.execute("update audit_head set size = ?, root = ?, peaks = ?",
                  [tree.size, tree.root().hex(), b"".join(tree.peaks).hex()])  # fmt: skip


def edited_with_all_roots(found: sqlite3.Connection) -> None:
    """The tamperer leaves nothing that does not add up."""
    edited_detail(found)
    hashed_anew(found)


def unsigned_with_all_roots(found: sqlite3.Connection) -> None:
    """The tamperer takes the signature away as well."""
    (text,) = found.execute("select content from audit_leaves where number = 5").fetchone()
    leaf = json.loads(text) | {"signature": None, "detail": {}}
    found.execute("update audit_leaves set content = ? where number = 5", [json.dumps(leaf)])
    hashed_anew(found)


def spaced_with_all_roots(found: sqlite3.Connection) -> None:
    """The same words, written otherwise."""
    found.execute("update audit_leaves set content = replace(content, ':5,', ': 5,') where number = 5")
    hashed_anew(found)


def unsigned_with_odd_names(found: sqlite3.Connection) -> None:
    """A log from before leaves were signed, and an erasure in it of names that none can have."""
    for number, text in found.execute("select number, content from audit_leaves").fetchall():
        leaf = json.loads(text) | {"signature": None}
        if number == 5:
            leaf |= {"action": "erase.done", "detail": {"names": [[[], "actor"], [{}, 1], ["a", 1]]}}
            found.execute("update audit_leaves set action = 'erase.done' where number = 5")
        found.execute("update audit_leaves set content = ? where number = ?", [json.dumps(leaf), number])
    found.execute("delete from audit_names where leaf = 6")
    hashed_anew(found)


def closed_up(found: sqlite3.Connection) -> None:
    """Leaf 5 goes without a gap: texts, rows and names after it say a smaller number."""
    found.execute("delete from audit_leaves where number = 5")
    found.execute("delete from audit_names where leaf = 5")
    for number in range(6, 12):
        found.execute(
            "update audit_leaves set number = ?, content = replace(content, ?, ?) where number = ?",
            [number - 1, f'"number":{number},', f'"number":{number - 1},', number],
        )
        found.execute("update audit_names set leaf = ? where leaf = ?", [number - 1, number])
    hashed_anew(found)


def renumbered(found: sqlite3.Connection) -> None:
    """Leaf 5 goes, and those after it move up."""
    found.execute("delete from audit_leaves where number = 5")
    found.execute("update audit_leaves set number = number - 1 where number > 5")


def swapped(found: sqlite3.Connection) -> None:
    """Leaves 5 and 6 change places, with all that belongs to them."""
    for old, new in ((5, -5), (6, 5), (-5, 6)):
        found.execute("update audit_leaves set number = ? where number = ?", [new, old])
        found.execute("update audit_names set leaf = ? where leaf = ?", [new, old])


def swapped_texts(found: sqlite3.Connection) -> None:
    """The texts of leaves 5 and 6 change places."""
    texts = dict(found.execute("select number, content from audit_leaves where number in (5, 6)"))
    for number in (5, 6):
        found.execute("update audit_leaves set content = ? where number = ?", [texts[11 - number], number])


def inserted(found: sqlite3.Connection) -> None:
    """A leaf of the tamperer's at 5; the rest moves down, from the end."""
    for number in range(11, 4, -1):
        found.execute("update audit_leaves set number = ? where number = ?", [number + 1, number])
    found.execute(
        "insert into audit_leaves select 5, at, action, content, root from audit_leaves where number = 4"
    )


def appended(found: sqlite3.Connection) -> None:
    """A leaf past the end, well-formed but for the head."""
    (at, action, text, root), *_ = found.execute(
        "select at, action, content, root from audit_leaves where number = 11"
    )
    text = text.replace('"number":11,"', '"number":12,"')
    found.execute("insert into audit_leaves values (12, ?, ?, ?, ?)", [at, action, text, root])


def head_rolled_back(found: sqlite3.Connection) -> None:
    """The last leaf goes and the head says so, unsigned."""
    found.execute("delete from audit_leaves where number = 11")
    found.execute("delete from audit_names where leaf = 11")
    tree = merkle.Tree()
    for (text,) in found.execute("select content from audit_leaves order by number"):
        tree.append(merkle.leaf_hash(text.encode()))
    found.execute("update audit_head set size = 11, root = ?, peaks = ?",
                  [tree.root().hex(), b"".join(tree.peaks).hex()])  # fmt: skip


def sql(*statements: str) -> Edit:
    """The edit that these statements make."""
    return lambda found: found.executescript(";".join(statements))


def on_leaf(change: str) -> Edit:
    """An edit of the row of leaf 5."""
    return sql(f"update audit_leaves set {change} where number = 5")


def on_head(change: str) -> Edit:
    """An edit of the head."""
    return sql(f"update audit_head set {change}")


def on_name(change: str) -> Edit:
    """An edit of the user that leaf 6 commits to."""
    return sql(f"update audit_names set {change} where leaf = 6 and field = 'user'")


ALL = ("delete from audit_leaves", "delete from audit_names")
TAIL = ("delete from audit_leaves where number >= 9", "delete from audit_names where leaf >= 9")

EDITS: dict[str, tuple[Edit, int | None, str]] = {
    "detail changed": (edited_detail, 5, "does not give the root"),
    "detail changed, root beside it too": (edited_with_its_root, 5, "it was rewritten"),
    "detail changed, every root and the head too": (edited_with_all_roots, 5, "it was rewritten"),
    "signature taken off, every root and the head too": (unsigned_with_all_roots, 5, "is not signed, though"),
    "only its spaces changed, every root and the head too": (spaced_with_all_roots, 5, "it was rewritten"),
    "leaf deleted, rest renumbered within, all hashed anew": (closed_up, 5, "it was rewritten"),
    "text is no JSON": (on_leaf("content = '{'"), 5, "cannot be read"),
    "text is a blob": (on_leaf("content = x'7b'"), 5, "is no text"),
    "text is no UTF-8": (on_leaf("content = cast(x'7bff' as text)"), 5, "cannot be read"),
    "root is no UTF-8": (on_leaf("root = cast(x'ff' as text)"), 5, "does not give the root"),
    "salt is no UTF-8": (on_name("salt = cast(x'ff' as text)"), 6, "sealed with"),
    "head's time is no UTF-8": (on_head("at = cast(x'ff' as text)"), None, "not signed"),
    "root changed": (on_leaf("root = '00'"), 5, "does not give the root"),
    "listed under another action": (on_leaf("action = 'z'"), 5, "another time or action"),
    "listed under another time": (on_leaf("at = '2020'"), 5, "another time or action"),
    "leaf deleted": (sql("delete from audit_leaves where number = 5"), 5, "leaf 5 is missing"),
    "leaf deleted, rest moved up": (renumbered, 5, "says that it is leaf 6"),
    "first leaf deleted": (sql("delete from audit_leaves where number = 0"), 0, "leaf 0 is missing"),
    "tail deleted": (sql(TAIL[0]), 9, "names are kept"),
    "tail deleted, names too": (sql(*TAIL), 9, "leaf 9 is missing"),
    "all deleted": (sql(*ALL), 0, "leaf 0 is missing"),
    "everything deleted": (sql(*ALL, "delete from audit_head"), 0, "the log is empty"),
    "two swapped": (swapped, 5, "says that it is leaf 6"),
    "two texts swapped": (swapped_texts, 5, "says that it is leaf 6"),
    "one inserted": (inserted, 5, "says that it is leaf 4"),
    "one appended": (appended, 12, "does not give the root"),
    "negative number": (on_leaf("number = -1"), -1, "stands where none can"),
    "name changed": (on_name("name = 'bob'"), 6, "sealed with"),
    "salt changed": (on_name("salt = 'ff'"), 6, "sealed with"),
    "name moved to another field": (on_name("field = 'other'"), 6, "sealed with"),
    "name moved to a field that is a blob": (on_name("field = x'75'"), 6, "sealed with"),
    "nothing signed, odd names erased": (unsigned_with_odd_names, 6, "no erasure tells"),
    "name deleted": (sql("delete from audit_names where leaf = 6 and field = 'user'"), 6, "no erasure tells"),
    "name added": (sql("insert into audit_names values (5, 'user', 'ff', 'bob')"), 5, "sealed with"),
    "name of no leaf": (sql("insert into audit_names values (99, 'user', 'ff', 'bob')"), 99, "is not there"),
    "leaves dropped": (sql("drop table audit_leaves"), None, "lacks the table audit_leaves"),
    "names dropped": (sql("drop table audit_names"), None, "lacks the table audit_names"),
    "head dropped": (sql("drop table audit_head"), None, "lacks the table audit_head"),
    "head deleted": (sql("delete from audit_head"), None, "head is gone"),
    "head's root changed": (on_head("root = '00'"), None, "not that of these"),
    "head's peaks changed": (on_head("peaks = '00'"), None, "not that of these"),
    "head's time changed": (on_head("at = '2020'"), None, "not signed"),
    "head's signature changed": (on_head("signature = '00'"), None, "not signed"),
    "head's signature in capitals": (on_head("signature = upper(signature)"), None, "not signed"),
    "head's signature with a blank": (on_head("signature = signature || ' '"), None, "not signed"),
    "head's signature is a blob": (on_head("signature = x'00'"), None, "what no head does"),
    "head's size is a text": (on_head("size = 'abc'"), None, "what no head does"),
    "head's size is a fraction": (on_head("size = 1.5"), None, "what no head does"),
    "head doubled": (
        sql("insert into audit_head select 2, size, root, at, signature, peaks from audit_head"),
        None,
        "there are 2 signed heads",
    ),
    "head and tail rolled back": (head_rolled_back, None, "not signed"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_every_edit_is_found(tmp_path: Path, edit: str) -> None:
    """Each way to edit the tables makes the log invalid, and the first leaf that does not fit is named."""
    filled(tmp_path).close()
    assert checked(tmp_path).valid
    change, leaf, words = EDITS[edit]
    with opened(tmp_path) as found:
        change(found)
    verdict = checked(tmp_path)
    assert not verdict.valid
    assert (verdict.leaf, words in str(verdict.problem)) == (leaf, True), verdict


def test_a_rewritten_history_does_not_extend_a_checkpoint(tmp_path: Path, kept: Checkpoint) -> None:
    """Who has the key can write a whole new log that is valid in itself; a checkpoint kept elsewhere shows
    it."""
    (tmp_path / "ledger.db").rename(tmp_path / "old.db")
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"ledger.db{suffix}").unlink(missing_ok=True)
    filled(tmp_path, 20).close()
    assert checked(tmp_path).valid
    verdict = checked(tmp_path, kept)
    assert not verdict.valid
    assert "does not extend the checkpoint" in str(verdict.problem)
    assert "leaves 0 to 7" in str(verdict.problem)


def test_a_log_cut_to_before_the_checkpoint_is_found(tmp_path: Path, kept: Checkpoint) -> None:
    """An older copy put back is valid in itself, and too short for the checkpoint."""
    (tmp_path / "ledger.db").unlink()
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"ledger.db{suffix}").unlink(missing_ok=True)
    filled(tmp_path, 5).close()
    assert checked(tmp_path).valid
    verdict = checked(tmp_path, kept)
    assert (verdict.valid, verdict.leaf) == (False, 5)
    assert "8 leaves, and there are 5" in str(verdict.problem)


def test_a_replaced_key_is_found(tmp_path: Path, kept: Checkpoint) -> None:
    """With another key the log does not verify, nor with the checkpoint, not even after a rewrite with that
    key."""
    assert checked(tmp_path, secret=OTHER_SECRET).leaf == 0
    verdict = checked(tmp_path, kept, secret=OTHER_SECRET)
    assert "the key was replaced" in str(verdict.problem)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 7},
        {"root": "00" * 32},
        {"at": "2020"},
        {"signature": "00" * 64},
        {"origin": "x"},
        {"public_key": "zz"},
    ],
    ids=str,
)
def test_an_edited_checkpoint_is_found(tmp_path: Path, kept: Checkpoint, change: dict[str, Any]) -> None:
    """Each field of a checkpoint is signed."""
    verdict = checked(tmp_path, msgspec.structs.replace(kept, **change))
    assert not verdict.valid
    assert "the signature of the checkpoint does not fit" in str(verdict.problem)


def test_a_forged_checkpoint_is_found(tmp_path: Path, kept: Checkpoint) -> None:
    """Signed whole, but by another key."""
    forged = Signer(OTHER_SECRET).sign(size=kept.size, root=kept.root, at=kept.at)
    assert "another key" in str(checked(tmp_path, forged).problem)


def test_erasing_a_person_leaves_the_log_valid(tmp_path: Path, kept: Checkpoint) -> None:
    """Their names and salts are gone, the leaves stand, and the log still extends the checkpoint from
    before."""
    log = SqlAuditLog(url(tmp_path), Sealer(SIGNER))
    gone = log.forget(
        "ann", action=audit.FORGOT, actor="admin", subject="erasure 1", detail={"id": 1}, at=NOW
    )
    again = log.forget(
        "ann", action=audit.FORGOT, actor="admin", subject="erasure 1", detail={"id": 1}, at=NOW
    )
    assert (gone, again) == (2, 0)
    verdict = checked(tmp_path, kept)
    assert (verdict.valid, verdict.checked, verdict.erased, verdict.extends) == (True, 14, 2, 8)
    names = [name.name for each in log.newest(limit=100) for name in each.names]
    assert "ann" not in names
    assert "key 3" in names
    log.close()
    with opened(tmp_path) as found:
        found.execute("insert into audit_names values (3, 'user', 'ff', 'ann')")
    assert checked(tmp_path).leaf == 3


def test_a_person_in_very_many_leaves_is_erased(tmp_path: Path) -> None:
    """What one leaf cannot hold is said in several."""
    log = SqlAuditLog(url(tmp_path), Sealer(SIGNER))
    for _ in range(600):
        log.append("x", actor="a", subject="b", detail={}, at=NOW, user="ann")
    assert log.forget("ann", action=audit.FORGOT, actor="a", subject="b", detail={}, at=NOW) == 600
    log.close()
    verdict = checked(tmp_path)
    assert (verdict.valid, verdict.erased, verdict.checked) == (True, 600, 1 + 600 + 2)


def test_an_empty_log_is_right_only_where_nothing_was_done(tmp_path: Path) -> None:
    """Before anything is done there is nothing to tell."""
    SqlAuditLog(url(tmp_path), Sealer(SIGNER)).close()
    assert checked(tmp_path, begun=False).valid
    assert not checked(tmp_path, begun=True).valid
