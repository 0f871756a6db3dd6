"""The data directory: where everything that Airboss keeps lies, and who may have it open.

lock                     held by the running Airboss; its pid is inside
ledger.db                SQLite (WAL)
records.duckdb           the record store's
secrets/                 0700; files 0600: admin_key, api_key, session_key, provider-NAME
journal/WORKER-ID/       one for each gateway worker that lived
scorers/                 Python scorers that the owner has put there
finetune/JOB/            examples that a model is being trained on
adapters/SHA256.gguf     adapters that were trained here
weights/SHA256.gguf
cache.db                 SQLite: answers that deployments with a cache keep
brought                  ids of the calls that imports have stored lately
ended                    sessions of the console that were signed out of
node                     what this machine is called where it has joined
plan/last                the plan that gateways start from while a ledger on a server is away
nodes.json               the machines that have joined this one
prices.toml              a table of prices that was put in place of the shipped one
counters/                what limits have counted, for a process that is killed
run/                     up.json, alone.json, metrics/PROCESS.json, store.sock: nothing that outlives a stop
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from airboss.domain.errors import DataDirLocked, SetupError
from airboss.store.datadir_lock import DataDirLock, take
from airboss.store.ledger_url import file_of, same, url_of
from airboss.store.whole_file import sync_folder

MAX_SECRET_BYTES = 64 * 1024
"""No secret file is longer."""

_SOCKET_PATH_BYTES = 100
"""The kernel takes 107 bytes on Linux and 103 on macOS."""
LEDGER_SECRET = "ledger"  # noqa: S105 - its name
"""The secret that says where the ledger is, if not in the data directory."""
_SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret in use. `preset` means that it came from the environment and is not kept here."""

    value: str
    preset: bool

    def __repr__(self) -> str:
        """Says nothing of the value, so that no log or trace can."""
        return f"Secret(preset={self.preset})"


class DataDir:
    """One data directory, by its absolute path. Making the object touches no file."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would ask the disk, and follow links

    def __repr__(self) -> str:
        return f"DataDir({str(self.path)!r})"

    @property
    def lock_path(self) -> Path:
        """Flocked by the running Airboss."""
        return self.path / "lock"

    @property
    def brought_path(self) -> Path:
        """Which calls imports have stored lately."""
        return self.path / "brought"

    @property
    def ended_path(self) -> Path:
        """Which sessions of the console were signed out of."""
        return self.path / "ended"

    @property
    def ledger_path(self) -> Path:
        """The ledger's SQLite file."""
        return self.path / "ledger.db"

    @property
    def ledger_url(self) -> str:
        """What `SqlLedger` opens: the database that was chosen at the first start, else a file in here.
        Raises SetupError if the choice names a secret that is not there."""
        chosen = self.ledger_choice()
        return url_of(self.ledger_path) if chosen is None else resolved(chosen)

    def ledger_choice(self) -> str | None:
        """The URL of the ledger's database, or `env:NAME` or `file:/PATH` of one; None where it is a file in
        here."""
        try:
            return _read(self._secret_path(LEDGER_SECRET), ours=True)
        except FileNotFoundError:
            return None

    def choose_ledger(self, wanted: str | None) -> None:
        """Remember where the ledger is, at the first start, and later how its URL is to be found. Raises
        SetupError as `check_ledger` does."""
        if wanted is None:
            return
        if not self.has_ledger:
            self.put_ledger(wanted)
            self.ledger_path.unlink(missing_ok=True)  # it is empty
        self.check_ledger(wanted)
        if wanted != self.ledger_choice():  # another variable, say, with the same URL
            self.put_ledger(wanted)

    @contextlib.contextmanager
    def choosing_ledger(self, wanted: str | None) -> Iterator[Callable[[], None]]:
        """As `choose_ledger`, for a start that opens the ledger in the block and closes it there. A first
        start that fails before it calls what it is given leaves neither a choice nor a ledger: the next one
        may name another URL."""
        settled = self.has_ledger

        def settle() -> None:
            nonlocal settled
            settled = True

        try:
            self.choose_ledger(wanted)
            yield settle
        except BaseException:
            if not settled:
                self._choose_none()
            raise

    def _choose_none(self) -> None:
        """Take the choice back, with the file, which has nothing but its tables."""
        with contextlib.suppress(OSError):  # what failed is told
            self._secret_path(LEDGER_SECRET).unlink(missing_ok=True)
            sync_folder(self.secrets_dir)
            for end in ("", "-wal", "-shm"):
                self.ledger_path.with_name(f"{self.ledger_path.name}{end}").unlink(missing_ok=True)

    def put_ledger(self, wanted: str) -> None:
        """Let the ledger be there from now on, whatever was before."""
        if file_of(resolved(wanted)) == self.ledger_path:
            self._secret_path(LEDGER_SECRET).unlink(missing_ok=True)  # so the directory may be moved
            sync_folder(self.secrets_dir)
        else:
            self.write_secret(LEDGER_SECRET, wanted)

    def check_ledger(self, wanted: str | None) -> None:
        """Raise SetupError if the ledger is elsewhere: it does not move by itself. None is wherever it is."""
        if wanted is not None and not same(resolved(wanted), self.ledger_url):
            raise SetupError(
                f"[store] ledger is {wanted}, another database than the one that {self.path} has its ledger "
                f"in, and a ledger does not move by itself: `airboss ledger move --to '{wanted}'` brings it "
                "over with all it holds, while Airboss is stopped. Or take the setting back, or start with "
                "another --data-dir"
            )

    @property
    def has_ledger(self) -> bool:
        """Whether it is settled where the ledger is: one was chosen, or there is one in here."""
        return self.ledger_choice() is not None or self.has_ledger_file

    @property
    def has_ledger_file(self) -> bool:
        """Whether there is a ledger in here, be it one that was moved elsewhere."""
        try:
            return self.ledger_path.stat().st_size > 0
        except FileNotFoundError:
            return False

    @property
    def records_path(self) -> Path:
        """The record store's DuckDB file."""
        return self.path / "records.duckdb"

    @property
    def secrets_dir(self) -> Path:
        """Keys, one a file."""
        return self.path / "secrets"

    @property
    def journal_dir(self) -> Path:
        """The root of the workers' journals."""
        return self.path / "journal"

    @property
    def plan_dir(self) -> Path:
        """The plan that was served last, kept for a start without the ledger."""
        return self.path / "plan"

    @property
    def nodes_path(self) -> Path:
        """The machines that have joined this one."""
        return self.path / "nodes.json"

    @property
    def has_joined(self) -> bool:
        """Whether this machine has been given a name to join under."""
        return (self.path / "node").exists()

    def node_name(self) -> str:
        """What this machine is called where it joins: its host's name and some digits, for good."""
        path = self.path / "node"
        with contextlib.suppress(FileNotFoundError):
            return _read(path, ours=True)
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:60].strip(".-") or "node"
        _write_once(path, f"{host}-{secrets.token_hex(4)}")
        return _read(path, ours=True)

    def lead(self) -> None:
        """Say that this machine leads: if it had joined another one before, it has not any more."""
        (self.path / "node").unlink(missing_ok=True)

    @property
    def weights_dir(self) -> Path:
        """Model weights by their sha256."""
        return self.path / "weights"

    @property
    def finetune_dir(self) -> Path:
        """The training files of fine-tunings that run."""
        return self.path / "finetune"

    @property
    def adapters_dir(self) -> Path:
        """Adapters that were trained here, by their sha256."""
        return self.path / "adapters"

    @property
    def cache_path(self) -> Path:
        """The answers that are kept for the next who asks the same."""
        return self.path / "cache.db"

    @property
    def prices_path(self) -> Path:
        """The table of prices that was put in place of the shipped one."""
        return self.path / "prices.toml"

    @property
    def run_dir(self) -> Path:
        """What only the running Airboss needs."""
        return self.path / "run"

    @property
    def metrics_dir(self) -> Path:
        """The metrics of each process."""
        return self.run_dir / "metrics"

    @property
    def socket_path(self) -> Path:
        """The record store's socket."""
        return socket_path(self.path)

    @property
    def counters_socket(self) -> Path:
        """The socket of who counts for several gateways."""
        return socket_path(self.path, "counters.sock")

    @property
    def counters_path(self) -> Path:
        """What has been counted, as far as it must outlive a kill."""
        return self.path / "counters" / "state"

    def create(self) -> None:
        """Make the directory and what is in it, 0700; nothing happens to what is there already, but our own
        folders are closed to others. Raises SetupError if it cannot be made or belongs to somebody else.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_foreign(self.path)
            for folder in ("secrets", "journal", "weights", "run", "run/metrics"):
                _private_dir(self.path / folder)
            if self.ledger_choice() is None:
                # SQLite gives the files beside it the same mode, and keys' digests are nobody's business.
                os.close(os.open(self.ledger_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            for file in (self.records_path, self.records_path.with_name(f"{self.records_path.name}.wal")):
                if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
                    _tighten(file, 0o600)
        except OSError as error:
            what = f"{error.filename}: " if error.filename not in (None, str(self.path)) else ""
            raise SetupError(
                f"the data directory {self.path} cannot be used: {what}{error.strerror or error}; "
                "choose another with --data-dir"
            ) from error

    def lock(self, *, wait_s: float = 0.0) -> DataDirLock:
        """Take the directory for this process, waiting up to `wait_s` seconds for it.

        The directory must exist. Raises DataDirLocked, which names the process that has it.
        """
        deadline = time.monotonic() + wait_s
        while True:
            held = take(self.path, self.lock_path)
            if held is not None:
                return held
            if time.monotonic() >= deadline:
                raise DataDirLocked(self.lock_message())
            time.sleep(0.02)

    def holder(self) -> int | None:
        """The pid in the lock file, whether or not that process lives; None if there is none."""
        try:
            return int(self.lock_path.read_bytes()[:32])
        except (OSError, ValueError):
            return None

    def secret(self, name: str, preset: str | None = None) -> Secret:
        """The secret of this name: `preset` if there is one (never written to disk), else the one kept in
        `secrets/NAME`, which is made at random the first time: `ab_` and 43 characters.

        Raises SetupError if the file is not a plain file of ours.
        """
        if preset:
            return Secret(value=preset, preset=True)
        path = self._secret_path(name)
        with contextlib.suppress(FileNotFoundError):
            return Secret(value=_read(path, ours=True), preset=False)
        _write_once(path, "ab_" + secrets.token_urlsafe(32))
        return Secret(value=_read(path, ours=True), preset=False)  # the one of whoever came first

    def kept_secret(self, name: str) -> str | None:
        """The secret of this name that is kept; None: there is none. Raises SetupError as `secret` does."""
        try:
            return _read(self._secret_path(name), ours=True)
        except FileNotFoundError:
            return None

    def write_secret(self, name: str, value: str) -> Path:
        """Keep a secret that was given to us, in place of an older one; returns the file."""
        path = self._secret_path(name)
        with _temporary(path, value) as written:
            written.replace(path)
        sync_folder(path.parent)
        return path

    def _secret_path(self, name: str) -> Path:
        if not _SECRET_NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a secret")
        return self.secrets_dir / name

    def lock_message(self) -> str:
        """Who has the directory, and what to do."""
        pid = self.holder()
        who = "another Airboss" if pid is None else f"another Airboss (process {pid})"
        if pid is not None and not alive(pid):
            return (
                f"{self.path} was opened by process {pid}, which is gone, but its children "
                "have not ended yet; wait a moment and try again"
            )
        return f"{self.path} is open in {who}; stop that one, or choose another with --data-dir"


def resolved(reference: str) -> str:
    """What `env:NAME` or `file:/PATH` stands for; anything else is itself. Raises SetupError where it is not
    there."""
    if reference.startswith("env:"):
        found = os.environ.get(reference.removeprefix("env:"), "").strip()
        if not found:
            raise SetupError(f"{reference!r} is named in the configuration and not set; set that variable")
        return found
    if reference.startswith("file:"):
        return read_secret(Path(reference.removeprefix("file:")))
    return reference


def read_secret(path: Path) -> str:
    """The secret in a file that the configuration names, without white space around it.

    Raises SetupError with what to do if there is none.
    """
    try:
        return _read(path, ours=False)
    except FileNotFoundError:
        raise SetupError(f"there is no file {path}; write the secret into it") from None


def socket_path(data_dir: Path, file: str = "store.sock") -> Path:
    """Where the record store of a data directory, or who else has a socket there, listens: in it, or in a
    private folder under the temp directory where that path would be longer than a socket's may be. Makes that
    folder.
    """
    inside = data_dir / "run" / file
    if len(os.fsencode(inside)) <= _SOCKET_PATH_BYTES:
        return inside
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"airboss-{os.getuid()}-{name}"
    _private_dir(folder)
    return folder / file


@contextlib.contextmanager
def private() -> Iterator[None]:
    """What is made within is closed to others: nobody can tell DuckDB what modes its files are to have, and
    the data directory may be a folder of the user's that is open to all. It holds for the whole process."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _private_dir(path: Path) -> None:
    """Make it 0700, or close it to others. Raises SetupError if it is a link or somebody else's."""
    path.mkdir(mode=0o700, exist_ok=True)
    seen = path.lstat()
    if not stat.S_ISDIR(seen.st_mode):
        raise SetupError(f"{path} is a link, not a folder; move it away")
    _refuse_foreign(path)
    if stat.S_IMODE(seen.st_mode) & 0o077:
        _tighten(path, 0o700)


def readable(path: Path) -> bool:
    """Whether this user may list a directory that is there, and open what is in it."""
    return os.access(path, os.R_OK | os.X_OK)


def _refuse_foreign(path: Path) -> None:
    owner = path.stat().st_uid
    if owner not in (0, os.geteuid()):
        raise SetupError(
            f"{path} belongs to user {owner}, who could read what is kept there; run airboss as that user, "
            "or choose another with --data-dir"
        )


def _tighten(path: Path, mode: int) -> None:
    try:
        path.chmod(mode)
    except OSError as error:
        raise SetupError(f"others can read {path}, and that cannot be changed: {error.strerror}") from error


def _read(path: Path, *, ours: bool) -> str:
    """Raises FileNotFoundError, and SetupError for all else that is wrong.

    A file of `ours` must be a plain file, and is closed to others. One that the user names may be
    a link and may be open to a group: that is how secrets are mounted into a container.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if ours else 0))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from error
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode):
            raise SetupError(f"{path} is no plain file; move it away")
        if ours and stat.S_IMODE(seen.st_mode) & 0o077:
            _tighten(path, 0o600)
        data = os.read(fd, MAX_SECRET_BYTES + 1)
    finally:
        os.close(fd)
    value = data.decode("utf-8", "replace").strip()
    if not value or len(data) > MAX_SECRET_BYTES or not value.isprintable():
        raise SetupError(f"{path} holds no secret of one line; write one into it, or delete it")
    return value


@contextlib.contextmanager
def _temporary(path: Path, value: str) -> Iterator[Path]:
    """A file beside `path` that holds `value` on the disk, gone at the end unless it has been renamed."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(value.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _write_once(path: Path, value: str) -> None:
    """Make the file whole or not at all; nothing happens if another process was first."""
    with _temporary(path, value) as written, contextlib.suppress(FileExistsError):
        os.link(written, path)
    sync_folder(path.parent)


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
