"""The data directory: made closed, held by one, and its secrets kept."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from airboss.domain.errors import DataDirLocked, SetupError
from airboss.store import datadir_lock
from airboss.store.datadir import MAX_SECRET_BYTES, DataDir, Secret, read_secret, socket_path
from airboss.store.ledger import SqlLedger
from tests.support.wait import until

HOLDER = """
import subprocess, sys
from airboss.store.datadir import DataDir

lock = DataDir(sys.argv[1]).lock()
if sys.argv[2] == "child":  # which gets the lock, and outlives us
    subprocess.Popen(
        [sys.executable, "-c", "import sys; print('held', flush=True); sys.stdin.read()"], pass_fds=[lock.fd]
    )
else:
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A data directory that has been made."""
    made = DataDir(tmp_path / "data")
    made.create()
    return made


@pytest.fixture
def short_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temp directory of our own, with a short path."""
    with tempfile.TemporaryDirectory(prefix="ab-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def mode(path: Path) -> int:
    """A file's permissions."""
    return stat.S_IMODE(path.lstat().st_mode)


def holder(data: DataDir, how: str) -> subprocess.Popen[str]:
    """A process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data.path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def let_go(process: subprocess.Popen[str]) -> None:
    """End a holder and what it started."""
    process.communicate(timeout=60)


def test_everything_is_made_and_closed_to_others(tmp_path: Path) -> None:
    """The directory and all of its folders are 0700, whatever the umask; its ledger is 0600."""
    before = os.umask(0)
    try:
        data = DataDir(tmp_path / "deep" / "data")
        data.create()
    finally:
        os.umask(before)
    folders = [
        data.path,
        data.secrets_dir,
        data.journal_dir,
        data.weights_dir,
        data.run_dir,
        data.metrics_dir,
    ]
    assert {mode(folder) for folder in folders} == {0o700}
    assert mode(data.ledger_path) == 0o600
    assert data.ledger_url == f"sqlite:///{data.path}/ledger.db"


@pytest.mark.parametrize("name", ["50%20", "a b", "#1", "a?b"])
def test_its_ledger_is_in_it_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    """In a folder whose name means something else in a URL too; said as it is, or as in a URL, it is that."""
    data = DataDir(tmp_path / name)
    data.create()
    SqlLedger(data.ledger_url).close()
    assert data.has_ledger_file
    assert [each.name for each in tmp_path.iterdir()] == [name]
    data.check_ledger(data.ledger_url)
    if name == "a b":
        data.check_ledger(f"sqlite:///{data.ledger_path}")
    with pytest.raises(SetupError, match="another database"):
        data.check_ledger(f"{data.ledger_url}.other")


def test_making_it_again_changes_nothing(data: DataDir) -> None:
    """A second start finds what the first one left."""
    data.ledger_path.write_bytes(b"x")
    (data.journal_dir / "w").mkdir()
    data.create()
    assert data.ledger_path.read_bytes() == b"x"
    assert (data.journal_dir / "w").is_dir()


def test_a_directory_of_the_users_keeps_its_mode_and_ours_are_closed(tmp_path: Path) -> None:
    """Nobody's own folder is shut; what we keep in it is."""
    tmp_path.chmod(0o755)
    (tmp_path / "secrets").mkdir(mode=0o755)
    DataDir(tmp_path).create()
    assert mode(tmp_path) == 0o755
    assert mode(tmp_path / "secrets") == 0o700


def test_what_is_not_a_directory_is_refused(tmp_path: Path) -> None:
    """A file under that name, or a link under the name of one of our folders, is said with the way out."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(SetupError, match=r"cannot be used: .*choose another with --data-dir"):
        DataDir(tmp_path / "file").create()
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data" / "secrets").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SetupError, match="is a link, not a folder"):
        DataDir(tmp_path / "data").create()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    """Who owns the directory could read what is kept there."""
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", 12345, -1)
    with pytest.raises(SetupError, match="belongs to user 12345"):
        DataDir(tmp_path / "data").create()


def test_a_relative_path_means_the_folder_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is called `.airboss` stays the same directory when the process moves on."""
    monkeypatch.chdir(tmp_path)
    assert DataDir(".airboss").path == tmp_path / ".airboss"


def test_only_one_may_have_it_open(data: DataDir) -> None:
    """A second Airboss is told the directory, the process that has it, and what to do."""
    with data.lock() as lock:
        assert data.holder() == os.getpid()
        assert not os.get_inheritable(lock.fd)
        with pytest.raises(DataDirLocked) as caught:
            data.lock()
    assert str(data.path) in str(caught.value)
    assert f"process {os.getpid()}" in str(caught.value)
    assert "--data-dir" in str(caught.value)
    data.lock().release()


def test_another_process_is_named(data: DataDir) -> None:
    """The pid is of the process that holds it, not of whoever asks."""
    process = holder(data, "self")
    with pytest.raises(DataDirLocked, match=f"process {process.pid}"):
        data.lock()
    let_go(process)
    data.lock().release()


def test_a_child_that_got_the_lock_keeps_it(data: DataDir) -> None:
    """While a child of a killed supervisor lives nobody else comes in, and the message says why."""
    process = holder(data, "child")
    process.wait(timeout=60)
    with pytest.raises(DataDirLocked, match=f"process {process.pid}, which is gone, but its children"):
        data.lock()
    let_go(process)
    data.lock(wait_s=60).release()


def test_one_can_wait_for_it(data: DataDir) -> None:
    """A start right after a stop waits for the last child instead of failing."""
    first = data.lock()
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(data.lock(wait_s=60).fd))
    thread.start()
    assert not got
    first.release()
    thread.join(60)
    assert got
    os.close(got[0])


@pytest.mark.parametrize("how", ["self", "child"])
def test_a_lock_whose_file_was_removed_holds_others_off(data: DataDir, how: str) -> None:
    """Also after the one that took it has gone, while a child lives that got it; and the file is not made
    anew."""
    process = holder(data, how)
    if how == "child":
        process.wait(timeout=60)
    data.lock_path.unlink()
    with pytest.raises(DataDirLocked, match="is open in another Airboss"):
        data.lock()
    assert not data.lock_path.exists()
    let_go(process)
    data.lock(wait_s=60).release()


def test_where_folders_cannot_be_locked_the_file_is(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS, which wants a descriptor that may write for that."""
    flock = fcntl.flock

    def refused(fd: int, how: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EBADF, "as NFS says")
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", refused)
    with data.lock() as lock:
        assert stat.S_ISREG(os.fstat(lock.fd).st_mode)
        with pytest.raises(DataDirLocked):
            data.lock()
    data.lock().release()


def test_a_lock_file_that_goes_while_it_is_taken_is_not_enough(
    data: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who locks a file that has just been removed has locked nothing, and tries again."""
    flocked, opened = datadir_lock._flocked, []

    def remove_first(fd: int) -> bool:
        opened.append(fd)
        if len(opened) == 1:
            data.lock_path.unlink()
        return flocked(fd)

    monkeypatch.setattr(datadir_lock, "_flocked", remove_first)
    with data.lock(wait_s=60) as lock:
        assert len(opened) == 2
        assert os.path.samestat(os.fstat(lock.file), data.lock_path.stat())


def test_a_lock_is_no_link(data: DataDir, tmp_path: Path) -> None:
    """A link would have us write into another file."""
    (tmp_path / "victim").write_text("precious")
    data.lock_path.symlink_to(tmp_path / "victim")
    with pytest.raises(SetupError, match="cannot be opened"):
        data.lock()
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_secret_is_made_once_and_kept(data: DataDir) -> None:
    """It has the shape of our keys, stands in a file of 0600, and is the same at the next start."""
    before = os.umask(0)
    try:
        first = data.secret("api_key")
    finally:
        os.umask(before)
    assert re.fullmatch(r"ab_[A-Za-z0-9_-]{43}", first.value)
    assert not first.preset
    assert mode(data.secrets_dir / "api_key") == 0o600
    assert DataDir(data.path).secret("api_key") == first
    assert data.secret("admin_key").value != first.value
    assert sorted(path.name for path in data.secrets_dir.iterdir()) == ["admin_key", "api_key"]


def test_a_preset_secret_is_used_and_not_written(data: DataDir) -> None:
    """What the environment gives stays there; an empty variable gives nothing."""
    assert data.secret("api_key", "preset-key") == Secret(value="preset-key", preset=True)
    assert list(data.secrets_dir.iterdir()) == []
    kept = data.secret("api_key", "")
    assert not kept.preset
    assert data.secret("api_key", "preset-key").value == "preset-key"
    assert data.secret("api_key") == kept


def test_a_secret_does_not_show_itself() -> None:
    """A log or trace that prints the object prints nothing secret."""
    assert "hidden" not in repr(Secret(value="hidden", preset=True))
    assert "hidden" not in f"{Secret(value='hidden', preset=True)}"


def test_all_that_ask_at_once_get_the_same_secret(data: DataDir) -> None:
    """Of many first askers one is first, and the others get what it made."""
    got: list[str] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        got.append(data.secret("session_key").value)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len(set(got)) == 1
    assert [path.name for path in data.secrets_dir.iterdir()] == ["session_key"]


def test_a_secret_that_others_could_read_is_closed(data: DataDir) -> None:
    """A copy or a restored backup may have opened it: it is shut, and goes on being used."""
    kept = data.secret("api_key")
    (data.secrets_dir / "api_key").chmod(0o644)
    assert data.secret("api_key") == kept
    assert mode(data.secrets_dir / "api_key") == 0o600


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no secret of one line"),
        (b" \n", "holds no secret of one line"),
        (b"two\nlines", "holds no secret of one line"),
        (b"nul\x00", "holds no secret of one line"),
        (b"x" * (MAX_SECRET_BYTES + 1), "holds no secret of one line"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(data: DataDir, content: bytes, message: str) -> None:
    """An empty or strange file is said, never used as a key nor overwritten."""
    path = data.secrets_dir / "api_key"
    path.write_bytes(content)
    with pytest.raises(SetupError, match=message):
        data.secret("api_key")
    with pytest.raises(SetupError, match=message):
        read_secret(path)
    assert path.read_bytes() == content


def test_a_secret_of_ours_is_a_plain_file(data: DataDir, tmp_path: Path) -> None:
    """A link, a folder and a pipe under its name are refused, without waiting."""
    (tmp_path / "other").write_text("other-secret")
    path = data.secrets_dir / "api_key"
    path.symlink_to(tmp_path / "other")
    with pytest.raises(SetupError, match="cannot be read"):
        data.secret("api_key")
    path.unlink()
    path.mkdir()
    with pytest.raises(SetupError, match="is no plain file"):
        data.secret("api_key")
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(SetupError, match="is no plain file"):
        data.secret("api_key")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 101])
def test_a_secrets_name_is_a_file_name(data: DataDir, name: str) -> None:
    """A name cannot lead out of the folder."""
    with pytest.raises(ValueError, match="cannot be the name of a secret"):
        data.write_secret(name, "value")


def test_a_given_secret_replaces_the_last_one(data: DataDir) -> None:
    """A provider's key is kept 0600 and can be replaced; nothing else is left behind."""
    path = data.write_secret("provider-p", "sk-one")
    assert data.write_secret("provider-p", "sk-two") == path
    assert read_secret(path) == "sk-two"
    assert mode(path) == 0o600
    assert list(data.secrets_dir.iterdir()) == [path]


def test_a_secret_that_the_user_names_may_be_mounted(tmp_path: Path) -> None:
    """Containers mount secrets as links to files that their group may read."""
    (tmp_path / "real").write_text(" sk-mounted\n")
    (tmp_path / "real").chmod(0o444)
    (tmp_path / "key").symlink_to(tmp_path / "real")
    assert read_secret(tmp_path / "key") == "sk-mounted"
    with pytest.raises(SetupError, match="write the secret into it"):
        read_secret(tmp_path / "none")


def test_the_socket_is_in_the_directory_where_it_fits(short_tmp: Path) -> None:
    """Up to 100 bytes the store listens at run/store.sock."""
    data = short_tmp / ("x" * (100 - len(str(short_tmp)) - len("//run/store.sock")))
    assert socket_path(data) == data / "run" / "store.sock"
    assert len(str(socket_path(data))) == 100


def test_a_long_path_gets_a_private_folder_elsewhere(short_tmp: Path, tmp_path: Path) -> None:
    """Beyond, it listens in a 0700 folder under the temp directory, one for each data directory."""
    long, other = tmp_path / ("x" * 100), tmp_path / ("y" * 100)
    path = socket_path(long)
    assert path.parent.parent == short_tmp
    assert len(os.fsencode(path)) <= 100
    assert mode(path.parent) == 0o700
    assert socket_path(long) == path
    assert socket_path(other) != path
    assert DataDir(long).socket_path == path


def test_a_prepared_socket_folder_is_refused(short_tmp: Path, tmp_path: Path) -> None:
    """In a temp directory that all may write to, somebody may have been there first."""
    long = tmp_path / ("x" * 100)
    folder = socket_path(long).parent
    folder.rmdir()
    (short_tmp / "trap").mkdir()
    folder.symlink_to(short_tmp / "trap")
    with pytest.raises(SetupError, match="is a link, not a folder"):
        socket_path(long)


def test_a_killed_process_gives_the_lock_back(data: DataDir) -> None:
    """After `kill -9` the next start finds the directory free."""
    process = holder(data, "self")
    process.kill()
    let_go(process)
    lock = until(lambda: data.lock(wait_s=1))
    assert data.holder() == os.getpid()
    lock.release()
