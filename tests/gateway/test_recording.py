"""Frames of calls are in the journal before anything of their turn is sent."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import Unavailable
from airboss.domain.record import ClosedCall, OpenedCall, Redacted
from airboss.gateway import recording as recording_module
from airboss.gateway.recording import LONG_HELD_MAX, PROMISED_BYTES, Recording
from airboss.governance.redact import Redactor
from airboss.providers.outbox import Outbox
from airboss.telemetry.frames import FrameKind, framed, read_frames
from airboss.telemetry.journal import GROWTH_BYTES, JournalWriter

SECRET = "sk-12345"
PLAIN = Redactor([SECRET])
OPENED = OpenedCall(
    id="a",
    started_at=datetime.now(UTC),
    deployment="a",
    release="a",
    arm="stable",
    plan=1,
    model="a",
    provider="a",
    key="a",
    operation="chat",
    stream=False,
)


class Sink(asyncio.Transport):
    """A transport that notes what was in the journal when it was written to."""

    def __init__(self, journal: JournalWriter) -> None:
        super().__init__()
        self.journal = journal
        self.seen: list[list[bytes]] = []
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Note it."""
        del data
        self.seen.append(payloads(self.journal))

    def is_closing(self) -> bool:
        """Whether it was aborted."""
        return self.aborted

    def abort(self) -> None:
        """Be aborted."""
        self.aborted = True


def hold(recording: Recording, kind: FrameKind, redactor: Redactor, text: bytes) -> None:
    """Have a frame held whose body is this."""
    body = msgspec.Raw(text)
    recording.hold(kind, redactor, ClosedCall("", "ok", 0.0, 0.0, response=body), body)


def payloads(journal: JournalWriter) -> list[bytes]:
    """The body of every frame, in order."""
    return [
        frame.payload.partition(b'"response":')[2][:-1] or frame.payload
        for path in sorted(journal.directory.glob("*.seg"))
        for frame in read_frames(path.read_bytes(), final=True, frames_max=10**9).frames
    ]


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """A disk that is full from there on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def played(tmp_path: Path, scene: Callable[[Recording, Outbox, Sink], None]) -> tuple[Sink, list[bytes]]:
    """What one turn of a loop has come to: the transport, and the frames."""
    journal = JournalWriter(tmp_path, "0", fsync_interval_s=3600)
    outbox = Outbox()
    recording, sink = Recording(journal, outbox), Sink(journal)

    async def turn() -> None:
        scene(recording, outbox, sink)
        await asyncio.sleep(0)

    asyncio.run(turn())
    journal.stop()
    return sink, payloads(journal)


def test_a_disk_that_refuses_after_the_segment_was_cut_is_told(tmp_path: Path) -> None:
    """Nothing is raised to who only asks; with room there again, nothing is wrong."""
    journal = JournalWriter(tmp_path, "0", fsync_interval_s=3600)
    recording = Recording(journal, Outbox())
    (segment,) = journal.directory.glob("*.seg")
    os.truncate(segment, 0)
    with no_file_longer_than(0):
        assert ["File too large" in recording.trouble() for _ in range(2)] == [True, True]
    assert recording.trouble() == ""
    journal.stop()


def test_frames_are_written_before_what_is_sent_after_them(tmp_path: Path) -> None:
    """All of the turn's, in their order; within the turn nothing is written or sent."""

    def scene(recording: Recording, outbox: Outbox, sink: Sink) -> None:
        hold(recording, "open", PLAIN, b'"a"')
        outbox.write(sink, b"upstream")
        hold(recording, "close", PLAIN, b'"b"')
        outbox.write(sink, b"client")
        assert (sink.seen, payloads(sink.journal)) == ([], [])

    sink, kept = played(tmp_path, scene)
    assert kept == [b'"a"', b'"b"']
    assert sink.seen == [kept, kept]


def requests(kept: list[bytes]) -> list[str]:
    """The requests of open frames with one."""
    return [msgspec.json.decode(each)["request"] for each in kept if b'"request"' in each]


def test_long_requests_are_written_with_the_other_frames_of_their_turn(tmp_path: Path) -> None:
    """In their order, without the secrets, before what is sent; many are written before the turn ends."""
    long = [b'"%d%s%s"' % (n, b"x" * 200_000, SECRET.encode()) for n in range(3)]

    def scene(recording: Recording, outbox: Outbox, sink: Sink) -> None:
        hold(recording, "close", PLAIN, b'"first"')
        for text in long:
            recording.open_long(PLAIN, OPENED, text)
            hold(recording, "close", PLAIN, b'"%s"' % text[1:2])
        outbox.write(sink, b"upstream")
        assert (sink.seen, payloads(sink.journal)) == ([], [])
        outbox.flush()
        for _ in range(2):
            recording.open_long(PLAIN, OPENED, b'"%s"' % (b"y" * LONG_HELD_MAX))
        assert len(payloads(sink.journal)) == 8

    sink, kept = played(tmp_path, scene)
    assert [kept[at] for at in (0, 2, 4, 6)] == [b'"first"', b'"0"', b'"1"', b'"2"']
    wanted = [f"{n}{'x' * 200_000}[REDACTED]" for n in range(3)]
    assert requests(kept) == [*wanted, "y" * LONG_HELD_MAX, "y" * LONG_HELD_MAX]
    assert sink.seen == [kept[:7]]


def test_a_long_request_is_refused_by_a_full_disk(tmp_path: Path) -> None:
    """It alone: the frames before it and after it are written, and one that just fits is."""

    def scene(recording: Recording, outbox: Outbox, sink: Sink) -> None:
        with no_file_longer_than(GROWTH_BYTES):
            outbox.write(sink, b"first")
            hold(recording, "close", PLAIN, b'"before"')
            with pytest.raises(Unavailable, match="free space"):
                recording.open_long(PLAIN, OPENED, b'"%s"' % (b"x" * GROWTH_BYTES))
            hold(recording, "close", PLAIN, b'"after"')
            outbox.flush()
            recording.open_long(PLAIN, OPENED, b'"%s"' % (b"x" * (GROWTH_BYTES - 10_000)))
            with pytest.raises(Unavailable, match="free space"):
                recording.open_long(PLAIN, OPENED, b'"%s"' % (b"x" * 20_000))

    sink, kept = played(tmp_path, scene)
    assert (kept[:2], [len(each) for each in requests(kept)]) == (
        [b'"before"', b'"after"'],
        [GROWTH_BYTES - 10_000],
    )
    assert (len(sink.seen), sink.aborted) == (1, False)


def test_what_cannot_be_written_after_all_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of calls that have ended, to who asks; their answers are not given."""

    def scene(recording: Recording, outbox: Outbox, sink: Sink) -> None:
        del sink
        recording.lost = set()
        hold(recording, "close", PLAIN, b'"a"')
        monkeypatch.setattr(JournalWriter, "append", refused)
        outbox.flush()
        monkeypatch.undo()
        assert recording.lost == {""}

    def refused(*_: object, **__: object) -> None:
        raise OSError("no more")

    assert played(tmp_path, scene)[1] == []


def test_frames_are_written_though_nothing_is_sent(tmp_path: Path) -> None:
    """A call whose client has gone is sent nothing, and has its frame all the same."""
    assert played(tmp_path, lambda recording, _, __: hold(recording, "close", PLAIN, b'"gone"'))[1] == [
        b'"gone"'
    ]


def test_more_than_was_promised_is_written_at_once(tmp_path: Path) -> None:
    """What is held is bounded, a long answer is not held at all, and the order stays."""
    texts = [b'"%d%s"' % (n, b"x" * 9_000) for n in range(9)] + [b'"%s"' % (b"y" * PROMISED_BYTES), b'"last"']

    def scene(recording: Recording, _: Outbox, sink: Sink) -> None:
        for text in texts[:9]:
            hold(recording, "open", PLAIN, text)
        assert payloads(sink.journal) == texts[:6]
        hold(recording, "close", PLAIN, texts[9])
        assert payloads(sink.journal) == texts[:10]
        recording.open_long(PLAIN, OPENED, b'"%s"' % (b"z" * PROMISED_BYTES))
        hold(recording, "close", PLAIN, texts[10])

    kept = played(tmp_path, scene)[1]
    assert msgspec.json.decode(kept.pop(10))["request"] == "z" * PROMISED_BYTES
    assert kept == texts


def test_a_full_disk_is_the_error_of_the_call_that_it_refuses(tmp_path: Path) -> None:
    """Those before it are written and sent; what still fits is taken, though no more than that may."""

    def scene(recording: Recording, outbox: Outbox, sink: Sink) -> None:
        with no_file_longer_than(GROWTH_BYTES):
            outbox.write(sink, b"first")
            for size in (60_000, 60_000, 60_000, 60_000):
                hold(recording, "open", PLAIN, b'"%s"' % (b"x" * size))
                outbox.flush()
            hold(recording, "open", PLAIN, b'"%s"' % (b"x" * 20_000))
            with pytest.raises(Unavailable, match="free space"):
                hold(recording, "open", PLAIN, b'"%s"' % (b"x" * 20_000))
            hold(recording, "close", PLAIN, b'"last"')

    sink, kept = played(tmp_path, scene)
    assert (len(kept), kept[-1], len(sink.seen), sink.aborted) == (6, b'"last"', 1, False)


@pytest.mark.parametrize("size", [10, PROMISED_BYTES])
def test_an_end_that_found_no_room_is_written_when_there_is_some(tmp_path: Path, size: int) -> None:
    """Its call was refused, but its attempts have cost what they cost: all but the body is kept."""
    answered = ClosedCall("a", "ok", 0.0, 0.0, cost_usd=Decimal("0.25"), response=msgspec.Raw(b'"x"'))
    left = ClosedCall("b", "cancelled", 0.0, 0.0, error_type="client_disconnected")
    body = msgspec.Raw(b'"%s"' % (b"x" * size))

    def scene(recording: Recording, outbox: Outbox, sink: Sink) -> None:
        del outbox
        sink.journal.promise(GROWTH_BYTES)  # all that there is
        with no_file_longer_than(GROWTH_BYTES):
            for closed in (answered, left):
                with pytest.raises(Unavailable, match="free space"):
                    recording.hold("close", PLAIN, closed, body)
            recording.pay()
            assert payloads(sink.journal) == []
        recording.pay()
        recording.pay()

    ends = [msgspec.json.decode(each, type=ClosedCall) for each in played(tmp_path, scene)[1]]
    refused = {"status": "error", "error_type": "journal_unwritable", "response": None}
    assert ends == [msgspec.structs.replace(answered, **refused), left]


def test_an_end_that_could_not_be_written_after_all_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without anything else to write. Of a call whose beginning could not be written either nothing is."""
    monkeypatch.setattr(recording_module, "OWED_S", 0.01)
    journal, written = JournalWriter(tmp_path, "0", fsync_interval_s=3600), asyncio.Event()

    async def turns() -> None:
        recording = Recording(journal, Outbox())
        hold(recording, "close", PLAIN, b'"an answer"')
        recording.hold("open", PLAIN, OPENED, None)
        recording.hold("close", PLAIN, ClosedCall(OPENED.id, "ok", 0.0, 0.0), None)
        monkeypatch.setattr(JournalWriter, "append", refused)
        await asyncio.sleep(0)
        monkeypatch.undo()
        close_call = journal.close_call

        def told(frame: Redacted) -> None:
            close_call(frame)
            written.set()

        monkeypatch.setattr(journal, "close_call", told)
        async with asyncio.timeout(60):
            await written.wait()

    def refused(*_: object, **__: object) -> None:
        raise OSError("no more")

    asyncio.run(turns())
    journal.stop()
    (end,) = payloads(journal)
    closed = msgspec.json.decode(end, type=ClosedCall)
    assert (closed.id, closed.error_type, closed.response) == ("", "journal_unwritable", None)


def test_an_end_whose_call_has_just_lost_its_beginning_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long end has what is held written first. If the call's own beginning is in that and is not written,
    neither is its end, and nothing of it is remembered."""

    def scene(recording: Recording, outbox: Outbox, sink: Sink) -> None:
        del outbox, sink
        recording.hold("open", PLAIN, OPENED, None)
        monkeypatch.setattr(JournalWriter, "append", refused)
        body = msgspec.Raw(b'"%s"' % (b"x" * PROMISED_BYTES))
        with no_file_longer_than(0):
            recording.hold("close", PLAIN, ClosedCall(OPENED.id, "ok", 0.0, 0.0, response=body), body)
        monkeypatch.undo()
        recording.pay()
        assert recording.unrecorded == set()

    def refused(*_: object, **__: object) -> None:
        raise OSError("no more")

    assert played(tmp_path, scene)[1] == []


def test_connections_are_cut_where_frames_cannot_be_written_after_all(tmp_path: Path) -> None:
    """Redacted they may be longer than was promised; a disk that is full then leaves nothing sent that has no
    record."""
    secrets = b'"%s"' % (SECRET.encode() * 2_500)

    def scene(recording: Recording, outbox: Outbox, sink: Sink) -> None:
        hold(recording, "open", PLAIN, b'"%s"' % (b"x" * (GROWTH_BYTES - PROMISED_BYTES - 200)))
        with no_file_longer_than(GROWTH_BYTES):
            for _ in range(3):
                hold(recording, "close", PLAIN, secrets)
            outbox.write(sink, b"an answer")
            outbox.flush()

    sink, kept = played(tmp_path, scene)
    assert (len(kept), sink.seen, sink.aborted) == (1, [], True)


def test_a_frame_that_cannot_be_written_spoils_no_other_turn(tmp_path: Path) -> None:
    """The connections of its own are cut; what was promised for it is free again."""

    def scene(recording: Recording, outbox: Outbox, sink: Sink) -> None:
        with no_file_longer_than(GROWTH_BYTES):
            outbox.write(sink, b"an answer")
            for _ in range(9):
                recording.hold("open", PLAIN, msgspec.structs.replace(OPENED, user="\ud800"), None)
                outbox.flush()
            hold(recording, "close", PLAIN, b'"%s"' % (b"next" * 10_000))
        assert sink.aborted

    sink, kept = played(tmp_path, scene)
    assert (sink.seen, kept) == ([], [b'"%s"' % (b"next" * 10_000)])


def test_a_frame_is_redacted_by_the_secrets_of_its_plan(tmp_path: Path) -> None:
    """A plan may change within a turn."""
    other = Redactor(["another-secret"])

    def scene(recording: Recording, _: Outbox, __: Sink) -> None:
        hold(recording, "open", PLAIN, b'"sk-12345 another-secret"')
        hold(recording, "open", other, b'"sk-12345 another-secret"')

    assert played(tmp_path, scene)[1] == [b'"[REDACTED] another-secret"', b'"sk-12345 [REDACTED]"']


PIECES = st.sampled_from([SECRET, SECRET[:4], SECRET[4:], "\\u0073k-12345", "ab_" + "x" * 43, "a", " ", "\\"])


@given(st.lists(st.lists(PIECES, max_size=5).map(lambda pieces: "".join(pieces).encode()), max_size=5))
def test_frames_are_redacted_together_as_each_alone(texts: list[bytes]) -> None:
    """Wherever secrets are, and though two frames make one where they meet."""
    frames: list[tuple[FrameKind, bytes]] = [("open", text) for text in texts]
    alone = framed([(kind, PLAIN.redact(text)) for kind, text in frames])
    assert PLAIN.redact_all(frames, framed) == alone
