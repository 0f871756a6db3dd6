"""A worker's journal: what is written is there, whatever the disk and the process do."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import cast

import pytest

from airboss.domain.errors import BodyTooLarge, Unavailable
from airboss.domain.record import Redacted
from airboss.telemetry.frames import FRAME_BYTES_MAX, HEAD_BYTES, Frame, FrameKind, framed, read_frames
from airboss.telemetry.journal import (
    GROWTH_BYTES,
    LONG_BYTES,
    SEGMENT_SUFFIX,
    JournalWriter,
    segments_under,
)
from tests.support.files import opened_under
from tests.support.small_disk import fill, small_disk
from tests.support.started import started
from tests.support.wait import until


def redacted(text: str) -> Redacted:
    """Text taken for redacted: there are no secrets in these tests."""
    return cast("Redacted", text.encode())


def frames_of(directory: Path) -> list[Frame]:
    """Every frame in a journal, in order; torn tails are passed over."""
    return [
        frame
        for path in sorted(directory.glob("*.seg"))
        for frame in read_frames(path.read_bytes(), final=True, frames_max=10**9).frames
    ]


def owner_is_locked(directory: Path) -> bool:
    """Whether a living worker holds the directory."""
    with (directory / "owner").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_a_frame_is_in_the_file_when_the_call_returns(tmp_path: Path) -> None:
    """Nothing waits in the process: another reader sees both frames before anything is flushed."""
    writer = JournalWriter(tmp_path, "0", fsync_interval_s=3600)
    writer.open(redacted('{"a":1}'))
    writer.close_call(redacted('{"b":2}'))
    found = [(frame.kind, frame.payload) for frame in frames_of(writer.directory)]
    assert found == [("open", b'{"a":1}'), ("close", b'{"b":2}')]
    writer.stop()


def resident_bytes(segment: Path) -> int:
    """How much of a mapped file counts as this process' memory."""
    kib, ours = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if "-" in line.partition(" ")[0]:
            ours = line.endswith(str(segment))
        elif ours and line.startswith("Rss:"):
            kib += int(line.split()[1])
    return kib * 1024


def test_what_is_written_takes_no_memory_of_the_process(tmp_path: Path) -> None:
    """Of a segment of 8 MiB the process holds what it writes next, and every frame is there."""
    writer = JournalWriter(tmp_path, "0")
    frame = redacted("x" * 10_000)
    for _ in range(800):
        writer.open(frame)
    (segment,) = writer.directory.glob("*.seg")
    assert 0 < resident_bytes(segment) <= 2 * GROWTH_BYTES
    writer.stop()
    assert [each.payload for each in frames_of(writer.directory)] == [frame] * 800


def test_a_directory_is_locked_from_the_moment_it_has_its_name(tmp_path: Path) -> None:
    """The mover never sees a living worker's directory unlocked; a stopped worker's is free."""
    writer = JournalWriter(tmp_path, "0")
    assert [path.name for path in tmp_path.iterdir()] == [writer.directory.name]
    assert writer.directory.name.startswith("0-")
    assert owner_is_locked(writer.directory)
    writer.stop()
    assert not owner_is_locked(writer.directory)


def test_two_writers_of_one_worker_have_two_directories(tmp_path: Path) -> None:
    """A segment's name never comes again; a later directory sorts after an earlier one."""
    names = []
    for _ in range(3):
        writer = JournalWriter(tmp_path, "0")
        names.append(writer.directory.name)
        writer.stop()
    assert len(set(names)) == 3
    assert [name[:14] for name in names] == sorted(name[:14] for name in names)


def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    """Frames are never split over two segments, and none is lost between them."""
    writer = JournalWriter(tmp_path, "0", segment_bytes=100)
    for number in range(20):
        writer.open(redacted(f'{{"number":{number}}}'))
    writer.stop()
    segments = sorted(path.name for path in writer.directory.glob("*.seg"))
    assert segments[:3] == ["000001.seg", "000002.seg", "000003.seg"]
    payloads = [frame.payload for frame in frames_of(writer.directory)]
    assert payloads == [f'{{"number":{number}}}'.encode() for number in range(20)]


def test_threads_do_not_mix_their_frames(tmp_path: Path) -> None:
    """Frames written at once by several threads, over many segments, are all whole."""
    writer = JournalWriter(tmp_path, "0", segment_bytes=2000, fsync_interval_s=0.001)

    def write(thread: int) -> None:
        for number in range(200):
            writer.open(redacted(f'"{thread}/{number}"'))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.stop()
    payloads = [frame.payload.decode() for frame in frames_of(writer.directory)]
    assert sorted(payloads) == sorted(f'"{thread}/{number}"' for thread in range(4) for number in range(200))


def test_frames_are_flushed_soon_and_full_segments_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of frames is synced once, within the interval; an idle journal is not synced at all."""
    synced: list[int] = []
    real = os.fdatasync

    def counted(descriptor: int) -> None:
        synced.append(descriptor)
        real(descriptor)

    monkeypatch.setattr("airboss.telemetry.journal.os.fdatasync", counted)
    writer = JournalWriter(tmp_path, "0", fsync_interval_s=0.01)
    for _ in range(50):
        writer.open(redacted("{}"))
    until(lambda: synced)
    assert len(opened_under(tmp_path)) == 3  # owner, segment and its mapping
    writer.stop()
    assert len(synced) < 50
    assert opened_under(tmp_path) == []


def test_stopping_twice_is_nothing(tmp_path: Path) -> None:
    """Shutting down may happen along two paths."""
    writer = JournalWriter(tmp_path, "0")
    writer.stop()
    writer.stop()


@pytest.mark.parametrize("letters", [20_000, LONG_BYTES // 2, 3 * LONG_BYTES, 12 * LONG_BYTES])
def test_a_frame_may_come_in_pieces(tmp_path: Path, letters: int) -> None:
    """Short and long, before and after others, over several segments."""
    writer = JournalWriter(tmp_path, "0", segment_bytes=16 * LONG_BYTES)
    body = "x" * letters
    for number in range(9):
        writer.open(redacted('{"request":'), redacted(f'"{number}{body}"'), redacted("}"))
        writer.close_call(redacted(f"{number}"))
    writer.stop()
    wanted = [(f'{{"request":"{number}{body}"}}', f"{number}") for number in range(9)]
    found = [frame.payload.decode() for frame in frames_of(writer.directory)]
    assert found == [text for pair in wanted for text in pair]


def test_short_frames_after_long_ones_are_mapped_again(tmp_path: Path) -> None:
    """What the file has grown by for long frames is filled before it is copied into; any number of pieces is
    written."""
    writer = JournalWriter(tmp_path, "0", segment_bytes=64 * LONG_BYTES)
    texts = [
        "a",
        "b" * 3 * LONG_BYTES,
        *("c" * 10_000 + str(n) for n in range(60)),
        "d" * 9 * LONG_BYTES,
        "e",
    ]
    for text in texts:
        writer.open(redacted(f'"{text}"'))
    many = [("close", tuple(redacted(each) for each in f'"{n}"')) for n in range(4000)]
    size = 4000 * (HEAD_BYTES + 6)
    writer.promise(size)
    writer.append_pieces(cast("list[tuple[FrameKind, tuple[Redacted, ...]]]", many), promised=size)
    writer.stop()
    wanted = [f'"{text}"' for text in (*texts, *range(4000))]
    assert [each.payload.decode() for each in frames_of(writer.directory)] == wanted


def test_a_frame_over_the_bound_is_refused(tmp_path: Path) -> None:
    """With the size seen, before anything is written."""
    writer = JournalWriter(tmp_path, "0")
    with pytest.raises(BodyTooLarge, match=str(FRAME_BYTES_MAX + 1)):
        writer.open(cast("Redacted", bytes(FRAME_BYTES_MAX + 1)))
    writer.stop()
    assert frames_of(writer.directory) == []


def test_a_full_disk_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    """The error says what to do; nothing is left of the frame, and with space there the journal goes on."""
    writer = JournalWriter(tmp_path, "0", fsync_interval_s=3600)
    writer.open(redacted('"first"'))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (GROWTH_BYTES, hard))
    try:
        with pytest.raises(Unavailable, match="free space"):
            writer.open(redacted('"' + "x" * GROWTH_BYTES + '"'))
        writer.open(redacted('"still fits"'))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.open(redacted('"second"'))
    writer.stop()
    payloads = [frame.payload for frame in frames_of(writer.directory)]
    assert payloads == [b'"first"', b'"still fits"', b'"second"']


def test_what_was_promised_has_room_whatever_is_written_first(tmp_path: Path) -> None:
    """A long frame in between takes none of it, though the disk is full after that."""
    writer = JournalWriter(tmp_path, "0", fsync_interval_s=3600)
    room = 64 * 1024
    writer.promise(room)
    long = redacted('"' + "x" * 2 * GROWTH_BYTES + '"')
    writer.span(long)
    (segment,) = writer.directory.glob("*.seg")
    frame = redacted('"' + "y" * (room - HEAD_BYTES - 2) + '"')
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (segment.stat().st_size, hard))
    try:
        writer.append(Redacted(framed([("close", frame)])), promised=room)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.stop()
    assert [each.payload for each in frames_of(writer.directory)] == [long, frame]


def test_a_disk_too_full_for_a_new_segment_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that cannot be begun leaves no file behind, and the next try may succeed."""
    writer = JournalWriter(tmp_path, "0", segment_bytes=100, fsync_interval_s=3600)
    writer.open(redacted('"' + "a" * 60 + '"'))

    def refused(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr("airboss.telemetry.journal.os.posix_fallocate", refused)
        with pytest.raises(Unavailable, match="free space"):
            writer.open(redacted('"' + "b" * 60 + '"'))
    assert [path.name for path in writer.directory.glob("*.seg")] == ["000001.seg"]
    writer.open(redacted('"' + "c" * 60 + '"'))
    writer.stop()
    assert [frame.payload[1:2] for frame in frames_of(writer.directory)] == [b"a", b"c"]


def test_a_segment_grows_ahead_and_is_trimmed(tmp_path: Path) -> None:
    """A living segment ends in zeros, one that is done with in its last frame."""
    writer = JournalWriter(tmp_path, "0", segment_bytes=1000)
    for _ in range(3):
        writer.open(redacted('"' + "x" * 400 + '"'))
    first, second = sorted(writer.directory.glob("*.seg"))
    assert first.stat().st_size == 2 * (HEAD_BYTES + 402)
    assert second.read_bytes().endswith(b"\0")
    writer.stop()
    assert second.stat().st_size == HEAD_BYTES + 402


def test_a_failed_flush_is_told_until_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After it nobody knows what the disk holds: no call is taken until one gets through. It is told once."""
    writer, tried = JournalWriter(tmp_path, "0", fsync_interval_s=0.01), Counter[int]()

    def refused(descriptor: int) -> None:
        tried[descriptor] += 1
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def refuses() -> bool:
        try:
            writer.open(redacted("{}"))
        except Unavailable as error:
            return "Input/output error" in str(error)
        return False

    with monkeypatch.context() as broken:
        broken.setattr("airboss.telemetry.journal.os.fdatasync", refused)
        until(lambda: refuses() and tried.total() > 3)
    until(lambda: not refuses())
    writer.stop()
    assert len(caplog.records) == 1


WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from airboss.telemetry.journal import GROWTH_BYTES, LONG_BYTES, JournalWriter
writer = JournalWriter(Path(sys.argv[1]), "0", segment_bytes=int(sys.argv[2]))
print(writer.directory, flush=True)
number = 0
while True:
    length = 150_001 if number % 5 == int(sys.argv[3]) else number % 5000
    writer.open(f'"{number}'.encode(), b"x" * length, b'"')
    print(number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_writer_loses_no_frame_that_it_acknowledged(tmp_path: Path, seed: int) -> None:
    """Killed after some hundred frames, short and long, wherever that is, every frame whose call returned is
    whole."""
    options = [str(tmp_path), str(500_000 + seed), str(seed + 2)]
    with started([sys.executable, "-c", WRITE_UNTIL_KILLED, *options], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        directory = Path(process.stdout.readline().strip())
        acknowledged = -1
        for _ in range(200 + 37 * seed):
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        *_, last = [acknowledged, *map(int, filter(str.strip, process.stdout.read().split("\n")[:-1]))]
    numbers = [int(frame.payload.strip(b'"x')) for frame in frames_of(directory)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= last + 1
    assert not owner_is_locked(directory)


@pytest.mark.parametrize("left", [0, GROWTH_BYTES // 2])
def test_a_journal_that_is_begun_on_a_full_disk_goes_on_once_there_is_room(tmp_path: Path, left: int) -> None:
    """Until then every call is refused by name and nothing half made lies about; then frames are kept."""
    with small_disk(tmp_path / "disk", 8) as disk:
        ballast = fill(disk, but=left)
        writer = JournalWriter(disk / "journal", "0")
        for _ in range(3):
            with pytest.raises(Unavailable, match="No space left") as refused:
                writer.open(redacted('{"a":1}'))
            assert refused.value.code == "journal_unwritable"
            assert list((disk / "journal").iterdir()) == []
        ballast.unlink()
        writer.open(redacted('{"a":2}'))
        assert owner_is_locked(writer.directory)
        assert [path.name for path in (disk / "journal").iterdir()] == [writer.directory.name]
        writer.stop()
        assert [frame.payload for frame in frames_of(writer.directory)] == [b'{"a":2}']


def test_a_journal_that_never_began_is_stopped(tmp_path: Path) -> None:
    """A worker that is told to end while the disk is full ends."""
    with small_disk(tmp_path / "disk", 8) as disk:
        ballast = fill(disk)
        writer = JournalWriter(disk / "journal", "0")
        writer.stop()
        ballast.unlink()
        assert list((disk / "journal").iterdir()) == []


def test_journals_that_go_while_they_are_listed_have_no_segments(tmp_path: Path) -> None:
    """Moved ones are deleted by one thread while others ask how far behind the store is."""
    kept = tmp_path / "gateway-0" / f"000001{SEGMENT_SUFFIX}"
    kept.parent.mkdir()
    kept.touch()
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            for number in range(20):
                folder = tmp_path / f"gone-{number}"
                folder.mkdir()
                (folder / f"000001{SEGMENT_SUFFIX}").touch()
            for number in range(20):
                shutil.rmtree(tmp_path / f"gone-{number}")

    others = threading.Thread(target=come_and_go)
    others.start()
    try:
        assert all(kept in segments_under(tmp_path) for _ in range(60))
    finally:
        over.set()
        others.join()


@pytest.mark.parametrize("what", ["deleted", "folder deleted", "moved away"])
def test_a_segment_that_is_taken_away_is_followed_by_another(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What is written from the next look on is where it is read, and it is told which file is gone; calls
    under way are not taken for those of a dead worker."""
    writer = JournalWriter(tmp_path, "0", fsync_interval_s=0.005)
    writer.open(redacted("first"))
    gone = writer.directory
    (segment,) = gone.glob("*.seg")
    if what == "deleted":
        segment.unlink()
    elif what == "folder deleted":
        shutil.rmtree(gone)
    else:
        segment.rename(tmp_path / "elsewhere")
    writer.open(redacted("second"))
    until(lambda: f"{segment} was deleted or moved away" in caplog.text)
    writer.open(redacted("third"))
    assert writer.directory != gone
    assert [frame.payload for frame in frames_of(writer.directory)] == [redacted("third")]
    assert not gone.exists() or owner_is_locked(gone)
    writer.stop()
    assert not any(map(owner_is_locked, tmp_path.glob("0-*")))


@pytest.mark.parametrize("left", [0, 20, GROWTH_BYTES - 1])
def test_a_segment_that_is_cut_is_followed_by_another(
    tmp_path: Path, left: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The next frame is written whole, to another, where touching this one would end the process; and it is
    told which was cut."""
    writer = JournalWriter(tmp_path, "0")
    writer.open(redacted("first"))
    (segment,) = writer.directory.glob("*.seg")
    gone = writer.directory
    os.truncate(segment, left)
    writer.open(redacted("second"))
    assert f"{segment} was cut by somebody else" in caplog.text
    assert [frame.payload for frame in frames_of(writer.directory)] == [redacted("second")]
    assert owner_is_locked(gone)
    (segment,) = writer.directory.glob("*.seg")
    os.truncate(segment, 0)
    writer.stop()
    assert segment.stat().st_size == 0
    assert f"{segment} was cut by somebody else" in caplog.text


def test_a_folder_that_is_gone_refuses_no_call_for_want_of_room(tmp_path: Path) -> None:
    """Nor does it when a segment is full, or grows."""
    writer = JournalWriter(tmp_path, "0", segment_bytes=GROWTH_BYTES)
    writer.open(redacted("first"))
    shutil.rmtree(writer.directory)
    writer.open(redacted("x" * GROWTH_BYTES))
    assert len(frames_of(writer.directory)) == 1
    writer.stop()


def test_a_data_directory_that_is_moved_away_can_be_moved_back(tmp_path: Path) -> None:
    """Calls are refused until it is, and nothing is made in its place, into which it would be moved."""
    data = tmp_path / "data"
    writer = JournalWriter(data / "journal", "0")
    writer.open(redacted("first"))
    data.rename(tmp_path / "old")
    with pytest.raises(Unavailable, match=f"put {data} back"):
        writer.open(redacted("x" * GROWTH_BYTES))
    with pytest.raises(Unavailable, match=f"put {data} back"):
        writer.close_call(redacted("second"))
    assert not data.exists()
    (tmp_path / "old").rename(data)
    writer.open(redacted("third"))
    assert sum(len(frames_of(each)) for each in (data / "journal").iterdir()) == 2
    writer.stop()
    assert not any(map(owner_is_locked, (data / "journal").glob("0-*")))


def test_a_segment_that_is_given_up_while_it_is_synced_is_closed_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call is refused for it."""
    syncing, go_on, synced, sync = threading.Event(), threading.Event(), [], os.fdatasync

    def fdatasync(descriptor: int) -> None:
        syncing.set()
        assert go_on.wait(60)
        sync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    writer = JournalWriter(tmp_path, "0", fsync_interval_s=0.005)
    first = next(writer.directory.glob("*.seg")).stat().st_ino
    writer.open(redacted("first"))
    assert syncing.wait(60)
    shutil.rmtree(writer.directory)
    writer.open(redacted("x" * GROWTH_BYTES))
    go_on.set()
    until(lambda: len(synced) > 1)
    writer.open(redacted("x" * GROWTH_BYTES))
    writer.stop()
    assert synced[0] == first
    assert opened_under(tmp_path) == []
