"""Answers kept for the next who asks the same, in a SQLite file beside the ledger that every worker shares.

Nothing is lost with it: a file that is broken or of another version is begun anew. So writes do not wait for
the disk. What was looked at last is not known; the answers that were kept longest go first.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from airboss.domain.record import Redacted

log = logging.getLogger(__name__)

T = TypeVar("T")

WAIT_S: Final = 2.0
"""So long one worker waits for another to write."""
SWEEP: Final = 64
"""At most so many answers that are over go with each one that is kept, or at a time."""
TRIES: Final = 3
"""So often a file that is broken or gone is begun anew for one thing to do."""
TRUNCATE: Final = "pragma wal_checkpoint(truncate)"
_VERSION: Final = 3
_SCHEMA: Final = """
create table answers (
    key blob primary key,
    deployment text not null,
    user blob,
    kept_at real not null,
    size integer not null,
    answer blob not null
);
create index answers_kept on answers (deployment, kept_at);
create index answers_user on answers (user);
create table vectors (
    scope blob not null,
    kept_at real not null,
    key blob not null,
    text text not null,
    vector blob not null,
    primary key (scope, kept_at, key)
) without rowid;
create index vectors_key on vectors (key);
create table totals (
    deployment text primary key, entries integer not null, bytes integer not null, ttl_s real not null
);
create table forgotten (user blob primary key, at real not null);
"""


VECTORS_MAX: Final = 10_000
"""So many of a scope are looked at, those kept last."""


class Meaning(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared of a question: its text and its vector, with those of its `scope` alone."""

    scope: bytes
    text: str
    vector: bytes


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to keep: since when, and who asked first (None: nobody said). `asked_at` is when the call
    began. Times are seconds since 1970."""

    key: bytes
    deployment: str
    user: str | None
    asked_at: float
    kept_at: float
    answer: Redacted
    meaning: Meaning | None = None


class SqliteAnswers:
    """Safe to call from several threads, and by several processes on one file. Nothing is raised for a file
    that cannot be used: then nothing is kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        """Which file `_connection` has: others may have begun it anew since."""

    def get(self, key: bytes, since: float) -> bytes | None:
        """The answer to what has this key, if there is one that was kept since then."""

        def ask(connection: sqlite3.Connection) -> bytes | None:
            asked = (key, since)
            row = connection.execute(
                "select answer from answers where key = ? and kept_at > ?", asked
            ).fetchone()
            return None if row is None else bytes(row[0])

        with self._lock:
            return self._tried(ask)

    def vectors(self, scope: bytes, since: float) -> list[tuple[bytes, bytes]]:
        """The keys and vectors of the questions of a scope whose answers were kept since then."""

        def ask(connection: sqlite3.Connection) -> list[tuple[bytes, bytes]]:
            return connection.execute(
                "select key, vector from vectors where scope = ? and kept_at > ?"
                " order by kept_at desc limit ?",
                (scope, since, VECTORS_MAX),
            ).fetchall()

        with self._lock:
            return self._tried(ask) or []

    def text(self, key: bytes) -> str | None:
        """The question that was kept under a key, if it still is."""

        def ask(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("select text from vectors where key = ?", (key,)).fetchone()
            return None if row is None else str(row[0])

        with self._lock:
            return self._tried(ask)

    def put(self, kept: KeptAnswer, *, ttl_s: float, entries_max: int, bytes_max: int) -> None:
        """Keep an answer, unless its person was forgotten since the call began; of its deployment's others
        those go that are older than `ttl_s`, and so many that both bounds hold."""
        user = None if kept.user is None else _digest(kept.user)

        def write(connection: sqlite3.Connection) -> None:
            forgotten = connection.execute("select at from forgotten where user = ?", (user,)).fetchone()
            if forgotten is not None and kept.asked_at <= forgotten[0]:
                return
            over = connection.execute(
                "select key from answers where deployment = ? and kept_at <= ? limit ?",
                (kept.deployment, kept.kept_at - ttl_s, SWEEP),
            ).fetchall()
            _drop(connection, [(kept.key,), *over])
            meant, size = kept.meaning, len(kept.answer)
            if meant is not None:
                size += len(meant.vector) + len(meant.text)
            if size > bytes_max:
                return  # all others would go for it, and then it
            if meant is not None:
                connection.execute(
                    "insert into vectors values (?, ?, ?, ?, ?)",
                    (meant.scope, kept.kept_at, kept.key, meant.text, meant.vector),
                )
            row = (kept.key, kept.deployment, user, kept.kept_at, size, kept.answer)
            connection.execute("insert into answers values (?, ?, ?, ?, ?, ?)", row)
            connection.execute(
                "insert into totals values (?, 1, ?, ?) on conflict (deployment) do update"
                " set entries = entries + 1, bytes = bytes + excluded.bytes, ttl_s = excluded.ttl_s",
                (kept.deployment, size, ttl_s),
            )
            _bound(connection, kept.deployment, entries_max, bytes_max)

        with self._lock:
            self._tried(lambda connection: _written(connection, write))

    def sweep(self, now: float, ttls: Mapping[str, float]) -> int:
        """Delete answers that are over, SWEEP at most: by what `ttls` says of their deployment, or if it says
        nothing, by what was so when its last answer was kept. Returns how many went."""
        if not self._path.exists():
            return 0  # nobody has kept anything

        def write(connection: sqlite3.Connection) -> int:
            changed = [(ttl_s, deployment, ttl_s) for deployment, ttl_s in ttls.items()]
            connection.executemany("update totals set ttl_s = ? where deployment = ? and ttl_s <> ?", changed)
            over = connection.execute(
                "select key from totals cross join answers using (deployment) where kept_at <= ? - ttl_s"
                " limit ?",
                (now, SWEEP),
            ).fetchall()
            _drop(connection, over)
            return len(over)

        with self._lock:
            found = self._tried(lambda connection: _written(connection, write)) or 0
            if 0 < found < SWEEP:  # the last of them: what was said is not to stay in the log beside the file
                self._tried(lambda connection: connection.execute(TRUNCATE).fetchall())
        return found

    def forget(self, user: str, at: float) -> int:
        """Delete what the calls of a person that began until then put here, and keep out what they still may;
        returns how many answers went."""
        who = _digest(user)

        def write(connection: sqlite3.Connection) -> int:
            keys = connection.execute("select key from answers where user = ?", (who,)).fetchall()
            _drop(connection, keys)
            connection.execute("insert or replace into forgotten values (?, ?)", (who, at))
            return len(keys)

        with self._lock:
            found = self._tried(lambda connection: _written(connection, write)) or 0
            self._tried(lambda connection: connection.execute(TRUNCATE).fetchall())
        return found

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._let_go()

    def _tried(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `work` gives; None if the file cannot be used now. A broken one is begun anew, and what was
        done in a file that is gone by then, where no erasure comes, is done again in the one there."""
        for _ in range(TRIES):
            try:
                done = work(self._opened())
                if self._is_there():
                    return done
                self._let_go()
            except (sqlite3.OperationalError, OSError) as error:  # locked, no room, or begun anew by another
                log.warning("no answer is cached: %s", error)
                self._let_go()  # one that was opened where nothing could be written stays for reading alone
                break
            except sqlite3.DatabaseError as error:
                log.warning("%s is broken, and is begun anew: %s", self._path, error)
                self._begin_anew()
        return None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.touch(0o600)
            self._file = self._found()  # if another comes before it is opened, `_is_there` says so
            connection = sqlite3.connect(
                self._path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
            )
            try:
                for pragma in ("journal_mode = wal", "synchronous = off", "secure_delete = on"):
                    connection.execute(f"pragma {pragma}")
                self._path.chmod(0o600)
                if not _is_made(connection):  # looked for first: who only reads waits for nobody who writes
                    _written(connection, _made)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _found(self) -> tuple[int, int] | None:
        """Which file is there now."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _is_there(self) -> bool:
        """Whether the file that was opened last is still the one that others open."""
        return self._file is not None and self._found() == self._file

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begin_anew(self) -> None:
        self._let_go()
        if self._is_there():  # else another has begun it anew
            for end in ("-wal", "-shm", ""):  # so that none goes from beside one that is new
                self._path.with_name(self._path.name + end).unlink(missing_ok=True)


def _written(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Do it in one transaction."""
    connection.execute("begin immediate")
    try:
        done = work(connection)
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")
    return done


def _is_made(connection: sqlite3.Connection) -> bool:
    """Whether the tables of this version are there."""
    ((version,),) = connection.execute("pragma user_version").fetchall()
    return bool(version == _VERSION)


def _made(connection: sqlite3.Connection) -> None:
    """Make the tables, unless they are there; those of another version go. The file stays: other workers may
    have it open, and would go on with one that no erasure finds."""
    if not _is_made(connection):
        tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (name,) in tables:
            connection.execute(f'drop table "{name}"')
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"pragma user_version = {_VERSION}")


def _drop(connection: sqlite3.Connection, keys: Iterable[tuple[bytes]]) -> None:
    """Delete these, where they are, and count them out."""
    for key in keys:
        connection.execute("delete from vectors where key = ?", key)
        gone = connection.execute(
            "delete from answers where key = ? returning deployment, size", key
        ).fetchall()
        connection.executemany(
            "update totals set entries = entries - 1, bytes = bytes - ? where deployment = ?",
            [(size, deployment) for deployment, size in gone],
        )


def _bound(connection: sqlite3.Connection, deployment: str, entries_max: int, bytes_max: int) -> None:
    """Let those go that were kept first, until both bounds hold."""
    while True:
        ((entries, size),) = connection.execute(
            "select entries, bytes from totals where deployment = ?", (deployment,)
        ).fetchall()
        if entries <= entries_max and size <= bytes_max:
            return
        oldest = connection.execute(
            "select key from answers where deployment = ? order by kept_at limit ?",
            (deployment, min(SWEEP, max(1, entries - entries_max))),
        ).fetchall()
        if not oldest:
            return
        _drop(connection, oldest)


def _digest(user: str) -> bytes:
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).digest()
