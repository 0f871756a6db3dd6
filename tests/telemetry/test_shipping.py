"""Journals brought to another machine: whole, once, whatever fails on the way."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from airboss.controller.mover import SETTLE_AFTER, Mover
from airboss.domain.errors import (
    InvalidRequest,
    NotFound,
    PermissionDenied,
    SetupError,
    StoreUnavailable,
    Unavailable,
)
from airboss.telemetry.frames import framed
from airboss.telemetry.journal import JournalWriter
from airboss.telemetry.metrics import Counts
from airboss.telemetry.remote import Nodes, Report
from airboss.telemetry.shipping import Shipping
from tests.controller.journals import FixedClock, StrictLog, closes, expected, left_over, opens, outcome
from tests.support.small_disk import fill, small_disk

NAME = "host-1"
THEIR_NOW = datetime(2020, 1, 1, tzinfo=UTC)


def report(
    *, clear_s: float | None = 0.0, unsent_bytes: int = 0, gateways: dict[str, Counts] | None = None
) -> Report:
    """What a machine says of itself."""
    return Report(
        name=NAME,
        version="1",
        base_url="http://127.0.0.1:1/v1",
        workers=1,
        at=THEIR_NOW,
        gateways=gateways or {},
        clear_s=clear_s,
        unsent_bytes=unsent_bytes,
    )


class Lead:
    """`shipping.Leader` without a network. Of calls, `lost(before)` says which fail, before they have done
    anything or after."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.dice = random.Random(0)
        self.failing = 0.0

    def _maybe(self) -> None:
        if self.dice.random() < self.failing:
            raise StoreUnavailable("the line is cut")

    def take(self, journal: str, segment: str, at: int, piece: bytes) -> int:
        """Take a piece."""
        self._maybe()
        held = self.nodes.take(NAME, journal, segment, at, piece)
        self._maybe()
        return held

    def end(self, journal: str) -> None:
        """A worker has ended."""
        self._maybe()
        self.nodes.end(NAME, journal)
        self._maybe()

    def hear(self, *, clear_s: float | None, unsent_bytes: int) -> None:
        """The machine is there."""
        self._maybe()
        self.nodes.hear(report(clear_s=clear_s, unsent_bytes=unsent_bytes))

    def leave(self) -> None:
        """The machine stops."""
        self.nodes.leave(NAME)


class Both:
    """A machine that has joined, `here`, and the one that leads, `there`, with its mover and record log."""

    def __init__(self, tmp_path: Path) -> None:
        self.here, self.there, self.kept = tmp_path / "here", tmp_path / "there", tmp_path / "nodes.json"
        self.here.mkdir()
        self.there.mkdir()
        self.clock = FixedClock()
        self.nodes = Nodes(self.there, self.kept, self.clock)
        self.lead = Lead(self.nodes)
        self.record_log = StrictLog()
        self.mover = Mover(self.there, self.record_log, self.clock, elsewhere=self.nodes)
        self.shipping = Shipping(self.here, self.lead)

    def everything(self) -> None:
        """Bring and move all that there is."""
        for _ in range(3):
            self.shipping.tick()
            self.mover.drain()


@pytest.fixture
def both(tmp_path: Path) -> Both:
    """Two machines."""
    return Both(tmp_path)


def test_a_living_worker_is_followed(both: Both) -> None:
    """Its calls are records there as they end; what has been brought does not stay here."""
    writer = JournalWriter(both.here, "gateway-0")
    opens(writer, 1, 2)
    closes(writer, 1)
    both.everything()
    assert outcome(both.record_log) == expected([1])
    [segment] = writer.directory.glob("*.seg")
    assert not segment.read_bytes().strip(b"\0")
    closes(writer, 2)
    both.everything()
    assert outcome(both.record_log) == expected([1, 2])
    assert len(left_over(both.here)) == 3, "a worker's directory, its segment and its lock"
    writer.stop()
    both.everything()
    assert left_over(both.here) == left_over(both.there) == []


def test_what_a_dead_worker_left_open_is_interrupted_there(both: Both) -> None:
    """Not while it lives, and not because nobody there holds its lock."""
    writer = JournalWriter(both.here, "gateway-0")
    opens(writer, 1)
    both.everything()
    assert outcome(both.record_log) == {}
    writer.stop()
    both.everything()
    assert outcome(both.record_log) == expected([], cut_off=[1])
    assert left_over(both.here) == left_over(both.there) == []


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_or_twice_whatever_fails(both: Both, seed: int) -> None:
    """Lines cut before and after an answer, senders and takers that begin anew, workers that come and go,
    over many segments: each call is one record. The log refuses what comes twice."""
    dice = both.lead.dice = random.Random(seed)
    both.lead.failing = 0.3
    writers = [JournalWriter(both.here, "gateway-0", segment_bytes=900)]
    number, waiting, ended = 0, [], []
    for _ in range(120):
        for _ in range(dice.randrange(4)):
            number += 1
            opens(writers[-1], number)
            waiting.append(number)
        while waiting and dice.random() < 0.6:
            ended.append(waiting.pop(0))
            closes(writers[-1], ended[-1])
        try:
            both.shipping.tick()
        except StoreUnavailable:
            if dice.random() < 0.3:
                both.shipping = Shipping(both.here, both.lead)
        if dice.random() < 0.1:
            both.lead.nodes = both.nodes = Nodes(both.there, both.kept, both.clock)
            both.mover = Mover(both.there, both.record_log, both.clock, elsewhere=both.nodes)
        both.mover.tick()
        if not waiting and dice.random() < 0.2:
            writers[-1].stop()
            writers.append(JournalWriter(both.here, "gateway-0", segment_bytes=900))
    writers[-1].stop()
    both.lead.failing = 0
    both.everything()
    assert number > 100
    assert outcome(both.record_log) == expected(ended, cut_off=waiting)
    assert left_over(both.here) == left_over(both.there) == []


def test_an_end_that_is_not_known_to_have_come_is_told_again(both: Both) -> None:
    """By who begins anew, when the other side is done with that journal: nothing of it is brought twice."""
    writer = JournalWriter(both.here, "gateway-0")
    opens(writer, 1)
    closes(writer, 1)
    writer.stop()
    end = both.lead.end

    def cut(journal: str) -> None:
        end(journal)
        raise StoreUnavailable("the answer is lost")

    both.lead.end = cut  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        both.shipping.tick()
    both.mover.drain()
    assert (outcome(both.record_log), left_over(both.there)) == (expected([1]), [])
    both.lead.end = end  # type: ignore[method-assign]
    both.shipping = Shipping(both.here, both.lead)
    both.everything()
    assert outcome(both.record_log) == expected([1])
    assert left_over(both.here) == left_over(both.there) == []


def test_a_piece_that_does_not_follow_is_not_taken(both: Both) -> None:
    """Neither one that is there already, nor one behind a gap; the answer says what is to come next."""
    both.nodes.hear(report())
    journal, whole = "gateway-0-" + "0" * 32, framed([("close", b"{}")])
    end = len(whole)
    assert both.nodes.take(NAME, journal, "000001", 0, whole) == end
    assert both.nodes.take(NAME, journal, "000001", 0, bytes(end)) == end
    assert both.nodes.take(NAME, journal, "000001", end + 1, b"e") == end
    assert both.nodes.take(NAME, journal, "000001", 0, b"") == end
    assert both.nodes.take(NAME, journal, "000002", 5, b"f") == 0
    assert [path.read_bytes() for path in both.there.glob("*/*.seg")] == [whole]


@pytest.mark.parametrize("kept", [None, 30, 3])
@pytest.mark.parametrize("again", [False, True])
def test_a_piece_of_which_nobody_heard(both: Both, kept: int | None, again: bool) -> None:
    """It came, or a kill left a part of it; more was written since. All is brought, once, also by who begins
    anew, and does not stay here."""
    writer = JournalWriter(both.here, "gateway-0")
    opens(writer, 1)
    both.shipping.tick()
    [there] = both.there.glob("*/*.seg")
    before, take = there.stat().st_size, both.lead.take

    def cut(journal: str, segment: str, at: int, piece: bytes) -> int:
        take(journal, segment, at, piece)
        if kept is not None:
            os.truncate(there, before + kept)
        raise StoreUnavailable("the answer is lost")

    both.lead.take = cut  # type: ignore[method-assign]
    closes(writer, 1)
    with pytest.raises(StoreUnavailable):
        both.shipping.tick()
    both.lead.take = take  # type: ignore[method-assign]
    opens(writer, 2)
    if again:
        both.shipping = Shipping(both.here, both.lead)
    both.everything()
    assert outcome(both.record_log) == expected([1])
    [here] = writer.directory.glob("*.seg")
    assert not here.read_bytes().strip(b"\0")
    closes(writer, 2)
    both.everything()
    assert outcome(both.record_log) == expected([1, 2])
    writer.stop()


def test_what_comes_after_the_end_is_not_taken(both: Both) -> None:
    """A piece that was long on its way makes no journal that nobody would end."""
    both.nodes.hear(report())
    journal = "gateway-0-" + "0" * 32
    both.nodes.take(NAME, journal, "000001", 0, b"abc")
    both.nodes.end(NAME, journal)
    both.mover.drain()
    with pytest.raises(NotFound, match="has ended"):
        both.nodes.take(NAME, journal, "000001", 0, b"abc")
    assert not list(both.there.glob("*/"))
    both.nodes.end(NAME, journal)


def test_a_time_of_no_zone_is_refused(both: Both) -> None:
    """Nobody could tell how old such a count is."""
    with pytest.raises(InvalidRequest, match="no time zone"):
        both.nodes.hear(report(gateways={"gateway-0": Counts(written_at=datetime(2026, 1, 1))}))  # noqa: DTZ001
    assert both.nodes.all() == []


def test_a_killed_worker_s_cut_off_frame_is_brought_as_it_is(both: Both) -> None:
    """The other side says what is wrong with it, as of its own."""
    writer = JournalWriter(both.here, "gateway-0")
    opens(writer, 1)
    closes(writer, 1)
    writer.stop()
    [segment] = writer.directory.glob("*.seg")
    whole = segment.read_bytes()
    segment.write_bytes(whole + whole[:50] + bytes(4096))
    both.everything()
    assert outcome(both.record_log) == expected([1])
    assert left_over(both.here) == left_over(both.there) == []


def test_a_frame_longer_than_is_read_at_once(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is brought whole."""
    monkeypatch.setattr("airboss.telemetry.shipping.READ_BYTES", 64)
    writer = JournalWriter(both.here, "gateway-0")
    opens(writer, 1)
    closes(writer, 1)
    both.everything()
    assert outcome(both.record_log) == expected([1])
    writer.stop()


def test_what_the_leader_has_lost_is_told(both: Both) -> None:
    """And nothing is sent into the gap."""
    writer = JournalWriter(both.here, "gateway-0")
    opens(writer, 1)
    both.shipping.tick()
    [segment] = both.there.glob("*/*.seg")
    segment.unlink()
    closes(writer, 1)
    with pytest.raises(SetupError, match="what it lost can only come from a copy"):
        both.shipping.tick()
    assert not list(both.there.glob("*/*.seg"))
    writer.stop()


def test_how_far_a_machine_is(both: Both) -> None:
    """What it brought is there since then; who is late keeps others waiting, who is silent only those who
    want all."""
    start = both.clock.at
    both.nodes.hear(report())
    assert (both.nodes.clear_at(), both.nodes.waiting_since()) == (start, None)
    both.clock.at += timedelta(seconds=10)
    assert both.nodes.waiting_since() == start, "it has said nothing for ten seconds"
    both.nodes.hear(report(clear_s=None))
    assert both.nodes.waiting_since() == start, "it is there, and not everything is here"
    assert both.mover.status().lag_s == 10
    both.nodes.hear(report(clear_s=2.0))
    assert both.nodes.clear_at() == start + timedelta(seconds=8)
    both.nodes.hear(report(clear_s=9.0))
    assert both.nodes.clear_at() == start + timedelta(seconds=8), "what is here stays here"
    both.clock.at += timedelta(seconds=120)
    assert (both.nodes.clear_at(), both.nodes.waiting_since()) == (start + timedelta(seconds=8), None)
    again = Nodes(both.there, both.kept, both.clock)
    assert again.clear_at() == start, "who begins anew knows that it joined, and waits to hear more"


def test_what_a_gateway_that_is_gone_counted_last_is_as_old_as_it_is(both: Both) -> None:
    """By how long it has said nothing there, whatever the clock there says: nobody waits for it."""
    ago = {"gateway-0": timedelta(0), "gateway-3": timedelta(hours=1)}
    both.nodes.hear(
        report(gateways={name: Counts(written_at=THEIR_NOW - each) for name, each in ago.items()})
    )
    found = {name: both.clock.at - counts.written_at for name, counts in both.nodes.counts().items()}
    assert found == {f"{name}@{NAME}": each for name, each in ago.items()}


def test_numbers_that_no_clock_gives(both: Both) -> None:
    """They are no error of ours, and no lie: what may be there is waited for."""
    start = both.clock.at
    both.nodes.hear(report(clear_s=1e300))
    assert both.nodes.clear_at() == start


def test_what_spans_tell_of_waits_for_machines_that_are_heard_of(both: Both) -> None:
    """A gateway there may have recorded the same call. Who is silent, also since the leader began anew, holds
    it up for a minute alone; an end of the leader settles nothing while any machine has joined."""
    asked: list[datetime] = []

    def settle_calls(before: datetime, *, limit: int) -> int:
        asked.append(before)
        return 0

    both.record_log.settle_calls = settle_calls  # type: ignore[method-assign]

    def settled(mover: Mover) -> datetime:
        mover.tick()
        return asked[-1] + SETTLE_AFTER

    start = both.clock.at
    assert settled(both.mover) == start
    both.nodes.hear(report())
    for after_s, until_s in ((30, 0), (59, 0), (61, 61)):
        both.clock.at = start + timedelta(seconds=after_s)
        assert settled(both.mover) == start + timedelta(seconds=until_s)
    assert both.nodes.clear_at() == start, "an erasure waits on"
    again = Mover(both.there, both.record_log, both.clock, elsewhere=Nodes(both.there, both.kept, both.clock))
    assert settled(again) == start
    asked.clear()
    again.finish()
    assert max(asked, default=start) <= start
    both.clock.at += timedelta(seconds=61)
    assert settled(again) == both.clock.at


def test_who_cannot_be_remembered_has_not_joined(tmp_path: Path) -> None:
    """After the next start nobody would wait for it."""
    nodes = Nodes(tmp_path, tmp_path / "full" / "nodes.json", FixedClock())
    with pytest.raises(Unavailable, match="cannot be remembered"):
        nodes.hear(report())
    assert nodes.all() == []
    (tmp_path / "full").mkdir()
    assert nodes.hear(report())
    assert Nodes(tmp_path, tmp_path / "full" / "nodes.json", FixedClock()).all()


def test_when_a_machine_was_heard_of_is_known_after_a_restart(both: Both) -> None:
    """To half a minute, though nothing but its joining must be written down."""
    both.nodes.hear(report())
    for _ in range(100):
        both.clock.at += timedelta(seconds=1)
        both.nodes.hear(report())
    (node,) = Nodes(both.there, both.kept, both.clock).all()
    assert timedelta(0) <= both.clock.now() - node.heard_at <= timedelta(seconds=30)


def test_a_list_of_machines_is_not_replaced_by_half_of_it(tmp_path: Path) -> None:
    """On a disk that has room for a part: the one of before stays."""
    clock = FixedClock()
    with small_disk(tmp_path / "disk", 1) as disk:
        kept = disk / "nodes.json"
        nodes = Nodes(disk, kept, clock)
        for number in range(60):
            nodes.hear(msgspec.structs.replace(report(), name=f"host-{number}"))
        before = kept.read_bytes()
        fill(disk, but=len(before) // 2)
        clock.at += timedelta(seconds=31)
        nodes.hear(report())
        assert kept.read_bytes() == before
        assert len(Nodes(disk, kept, clock).all()) == 60


def test_a_list_of_machines_that_was_spoilt_is_told(both: Both) -> None:
    """With its name and what to do."""
    both.kept.write_text('{"nodes": 3')
    with pytest.raises(SetupError, match=r"nodes\.json is damaged"):
        Nodes(both.there, both.kept, both.clock)


def test_a_machine_that_is_gone_for_good(both: Both) -> None:
    """Its open calls end as interrupted, and it may not come back with what was given up."""
    writer = JournalWriter(both.here, "gateway-0")
    opens(writer, 1)
    both.everything()
    with pytest.raises(NotFound, match="no machine 'other'"):
        both.nodes.forget("other")
    both.nodes.forget(NAME)
    both.mover.drain()
    assert outcome(both.record_log) == expected([], cut_off=[1])
    assert (both.nodes.all(), left_over(both.there)) == ([], [])
    again = Nodes(both.there, both.kept, both.clock)
    with pytest.raises(PermissionDenied, match="empty --data-dir"):
        again.hear(report())
    closes(writer, 1)
    with pytest.raises(NotFound):
        both.shipping.tick()
    writer.stop()


@pytest.mark.parametrize(
    ("journal", "segment", "at"),
    [
        ("../secrets", "000001", 0),
        ("gateway-0-" + "0" * 32, "../../x", 0),
        ("gateway-0-" + "0" * 32, "000001", -1),
        ("gateway-0-" + "0" * 31 + "/", "000001", 0),
        (".gateway-0-" + "0" * 32, "000001", 0),
        ("gateway-0-" + "0" * 32 + "\n", "000001", 0),
    ],
)
def test_names_lead_nowhere_else(both: Both, journal: str, segment: str, at: int) -> None:
    """Nothing is written under a name that is no journal's."""
    both.nodes.hear(report())
    with pytest.raises(InvalidRequest):
        both.nodes.take(NAME, journal, segment, at, b"x")
    assert left_over(both.there) == []
