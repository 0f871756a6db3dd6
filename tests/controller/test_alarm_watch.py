"""Alarms are measured in the record log, and what comes of it stands in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from airboss.config import AlarmConfig, MaintenanceConfig
from airboss.controller.alarm_measures import BudgetUse
from airboss.controller.alarm_watch import AlarmWatch, link_to_records
from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.domain.ports import UsageQuery
from airboss.domain.score import Score
from airboss.domain.status import JournalStatus
from airboss.domain.usage import UsageRow
from airboss.store.alert_rows import AlarmRow, Silence
from airboss.store.alert_rules import rule_of
from airboss.store.alerts import SqlAlertStore
from airboss.store.memory import MemoryRecordLog
from tests.controller.journals import FixedClock
from tests.store.samples import START, call_id, move

WELL = JournalStatus(
    unmoved_bytes=0, oldest_unmoved_at=None, lag_s=0.0, store_up=True, moved_records=0, corrupt_frames=0
)
ERRORS = AlarmConfig(
    metric="error_rate", deployment="assistant", above=0.2, window="5m", hold="0s", notify=("ops", "ops")
)


class Log(MemoryRecordLog):
    """A log that counts what it is asked, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.down = False

    def usage(self, asked: UsageQuery) -> Sequence[UsageRow]:
        """As a log."""
        self.asked += 1
        if self.down:
            raise StoreUnavailable("the record store is away")
        return super().usage(asked)


class Watched:
    """A watch, and all that it stands between."""

    def __init__(self, root: Path) -> None:
        self.log = Log()
        self.store = SqlAlertStore(f"sqlite:///{root / 'ledger.db'}")
        self.clock = FixedClock()
        self.clock.at = START + timedelta(minutes=5)
        self.journal = WELL
        self.alarms: dict[str, AlarmConfig] = {"errors": ERRORS}
        self.maintenance: dict[str, MaintenanceConfig] = {}
        self.moved = 0
        self.lost: dict[str, int] = {}
        self.less: dict[str, set[str]] = {}
        self.budgets: dict[str, BudgetUse] = {}
        self.teams: dict[str, set[str]] = {}
        self.watch = self.restarted()

    def restarted(self) -> AlarmWatch:
        """A watch in a new process."""
        self.watch = AlarmWatch(
            alarms=lambda: self.alarms,
            store=self.store,
            record_log=self.log,
            journal=lambda: self.journal,
            clock=self.clock,
            console_url=lambda: "http://127.0.0.1:8701",
            maintenance=lambda: self.maintenance,
            lost=lambda: self.lost,
            less_is_better=lambda: self.less,
            budgets=lambda: self.budgets,
            teams=lambda: self.teams,
        )
        return self.watch

    def calls(self, *numbers: int, **fields: Any) -> None:
        """Calls, each so many seconds after START."""
        self.log.apply(move(*numbers, start=self.moved, **fields))
        self.moved += 100 * len(numbers)

    def complaint(self, *, of: int) -> None:
        """Somebody says now that a call did not help."""
        given = Score(
            id=call_id(500),
            subject="record",
            subject_id=call_id(of),
            name="helpful",
            source="human",
            by="team-a",
            at=self.clock.at,
            value=False,
        )
        self.log.put_scores([given])

    def tick(self, seconds: float = 5.0) -> AlarmRow:
        """Look once; where `errors` stands then."""
        self.watch.tick()
        self.clock.at += timedelta(seconds=seconds)
        return self.store.alarms()["errors"]

    @property
    def told(self) -> list[tuple[str, str]]:
        """Who was to be told what, in order."""
        names = ["errors", "slow"]
        found = [each for name in names for each in reversed(self.store.notifications(name, limit=100))]
        return [(each.notifier, each.kind) for each in found]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """An alarm on errors and an empty log."""
    made = Watched(tmp_path)
    yield made
    made.store.close()


def test_an_alarm_follows_the_records(watched: Watched) -> None:
    """Errors in the window fire it, and their leaving the window ends it; each is told once."""
    watched.calls(*range(100, 110))
    assert watched.tick().phase == "ok"
    watched.calls(*range(110, 120), status="error")
    row = watched.tick()
    assert (row.phase, row.value) == ("firing", 0.5)
    assert watched.watch.phases == {"errors": "firing"}
    for _ in range(10):
        watched.tick()
    assert watched.told == [("ops", "firing")]
    watched.clock.at = START + timedelta(seconds=500)
    watched.calls(450)
    assert watched.tick().phase == "resolved"
    assert watched.told == [("ops", "firing"), ("ops", "resolved")]
    events = [(each.before, each.after) for each in watched.store.events("errors", limit=9)]
    assert events == [("firing", "resolved"), ("ok", "firing")]


def test_an_alarm_says_when_it_was_looked_at(watched: Watched) -> None:
    """To within a minute, also where every look finds the same."""
    for _ in range(60):
        row = watched.tick()
        assert row.checked_at is not None
        assert watched.clock.at - row.checked_at <= timedelta(seconds=65)


def test_what_is_lost_is_told_once_and_is_over_after_a_while(watched: Watched) -> None:
    """Also while the store is away, and by a controller that begins anew and counts from 0 again."""
    lost = AlarmConfig(kind="recording", metric="dead_letters", window="1h", hold="0s", notify=("ops",))
    watched.alarms = {"errors": lost}
    watched.journal = msgspec.structs.replace(WELL, store_up=False)
    assert watched.tick().phase == "ok"
    watched.lost = {"dead_letters": 3, "bodies_dropped": 7}
    row = watched.tick()
    assert (row.phase, row.value) == ("firing", 3.0)
    assert link_to_records("http://h", row, watched.clock.at) == "http://h/system"
    assert (
        "dead_letters of Airboss: 3 in the last 1h"
        in watched.store.notifications("errors", limit=1)[0].body["text"]
    )
    watched.lost = {}
    watched.restarted()
    assert watched.tick().value == 3.0
    watched.lost = {"dead_letters": 2}
    assert watched.tick(3_590.0).value == 5.0
    assert watched.tick(3_600.0).value == 2.0
    assert watched.tick().phase == "resolved"
    assert watched.told == [("ops", "firing"), ("ops", "resolved")]


def test_a_full_disk_is_told_until_there_is_room(watched: Watched) -> None:
    """As long as it is full, also while the store is away, and by whichever controller looks."""
    full = AlarmConfig(kind="recording", metric="disk_full", hold="1m", notify=("ops",))
    watched.alarms = {"errors": full}
    watched.journal = msgspec.structs.replace(WELL, store_up=False)
    watched.lost = {"disk_full": 1}
    assert [watched.tick(30.0).phase for _ in range(3)] == ["pending", "pending", "firing"]
    watched.restarted()
    assert watched.tick(3_600.0).phase == "firing"
    (note,) = watched.store.notifications("errors", limit=9)
    assert "errors firing: the disk that Airboss writes to has less than 256 MiB left" in note.body["text"]
    assert "calls are refused" in note.body["text"]
    watched.lost = {"disk_full": 0}
    assert [watched.tick(30.0).phase for _ in range(3)] == ["firing", "firing", "resolved"]
    assert watched.told == [("ops", "firing"), ("ops", "resolved")]
    assert "more than 256 MiB left" in watched.store.notifications("errors", limit=1)[0].body["text"]


def test_our_own_calls_do_not_count(watched: Watched) -> None:
    """Judges and evaluations may fail without waking anybody."""
    watched.calls(*range(100, 120), status="error", key="airboss")
    watched.calls(200)
    assert watched.tick().value == 0.0


def test_a_restart_neither_forgets_nor_repeats(watched: Watched) -> None:
    """Everything that matters stands in the ledger: a new watch goes on where the old one was."""
    watched.alarms["errors"] = msgspec.structs.replace(ERRORS, hold="30s")
    watched.calls(*range(100, 120), status="error")
    for _ in range(6):
        watched.tick()
        watched.restarted()
    assert watched.told == []
    for _ in range(6):
        watched.tick()
        watched.restarted()
    assert watched.told == [("ops", "firing")]


def test_a_kill_before_the_ledger_has_it_changes_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state and who is to be told are one write: either both stand or neither."""

    class Killed(BaseException):
        """The process ends here."""

    def kill(*_args: object, **_named: object) -> None:
        raise Killed

    watched.calls(*range(100, 120), status="error")
    with monkeypatch.context() as patch:
        patch.setattr(watched.store, "put_alarms", kill)
        with pytest.raises(Killed):
            watched.tick()
    assert watched.told == []
    watched.restarted()
    watched.tick()
    assert watched.told == [("ops", "firing")]


def test_a_ledger_that_takes_nothing_keeps_no_alarm_quiet(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: who is to be told is known at once, once, and stands in the ledger with room."""
    full = [True]
    put = watched.store.put_alarms

    def put_alarms(*rows: Any, **more: Any) -> None:
        if full:
            raise SetupError("the ledger cannot be used: database or disk is full")
        put(*rows, **more)

    monkeypatch.setattr(watched.store, "put_alarms", put_alarms)
    watched.alarms = {
        "errors": AlarmConfig(kind="recording", metric="disk_full", hold="30s", notify=("ops",))
    }
    untaken: list[list[str]] = []
    for lost in (1, 1, 1, 1, 0, 0):
        watched.lost = {"disk_full": lost}
        with pytest.raises(SetupError, match="disk is full"):
            watched.watch.tick()
        watched.clock.at += timedelta(seconds=30)
        untaken.append([each.kind for each in watched.watch.untaken.notifications])
    assert untaken == [[], ["firing"], ["firing"], ["firing"], ["firing"], ["firing", "resolved"]]
    assert watched.watch.phases == {"errors": "resolved"}
    assert watched.told == []
    full.clear()
    assert watched.tick().phase == "resolved"
    assert watched.told == [("ops", "firing"), ("ops", "resolved")]
    assert [each.after for each in watched.store.events("errors", limit=9)] == [
        "resolved", "firing", "pending",
    ]  # fmt: skip
    assert not watched.watch.untaken


def test_what_the_ledger_is_taking_is_not_untaken(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or who sends would send it beside the ledger."""
    put, seen = watched.store.put_alarms, []

    def put_alarms(*rows: Any, **more: Any) -> None:
        put(*rows, **more)
        seen.append((len(more["notifications"]), watched.watch.untaken.notifications))

    monkeypatch.setattr(watched.store, "put_alarms", put_alarms)
    watched.calls(*range(100, 120), status="error")
    watched.tick()
    assert seen == [(1, ())]


def test_an_alarm_that_goes_while_the_ledger_takes_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Says goodbye once, and is gone when the ledger takes it; one that comes back begins anew."""
    watched.calls(*range(100, 120), status="error")
    watched.tick()
    put, full = watched.store.put_alarms, [True]

    def put_alarms(*rows: Any, **more: Any) -> None:
        if full:
            raise SetupError("full")
        put(*rows, **more)

    monkeypatch.setattr(watched.store, "put_alarms", put_alarms)
    alarms, watched.alarms = watched.alarms, {}
    for _ in range(3):
        with pytest.raises(SetupError):
            watched.watch.tick()
    assert [each.kind for each in watched.watch.untaken.notifications] == ["resolved"]
    full.clear()
    watched.watch.tick()
    assert watched.store.alarms() == {}
    watched.alarms = alarms
    assert watched.tick().phase == "firing"
    assert [kind for _, kind in watched.told] == ["firing", "resolved", "firing"]


def test_a_store_that_is_away_is_no_data(watched: Watched) -> None:
    """Neither well nor on fire; and a log that is far behind is not believed either."""
    watched.alarms["few"] = AlarmConfig(metric="requests", deployment="assistant", below=1.0, hold="0s")
    watched.log.down = True
    for _ in range(6):
        assert watched.tick().phase == "ok"
    assert (watched.tick().phase, watched.tick().why) == ("no_data", "the record store is away")
    watched.log.down = False
    for journal, why in (
        (msgspec.structs.replace(WELL, store_up=False), "the record store does not answer"),
        (msgspec.structs.replace(WELL, lag_s=100.0), "records are 100 s behind"),
    ):
        watched.journal = journal
        assert watched.tick().why == why
        assert watched.store.alarms()["few"].phase == "no_data"
    watched.journal = WELL
    watched.tick()
    assert watched.store.alarms()["few"].phase == "firing"


def test_an_alarm_that_is_taken_out_says_goodbye(watched: Watched) -> None:
    """Who was told of a fire is told that nobody looks any more; nothing of the alarm stays behind."""
    watched.calls(*range(100, 120), status="error")
    watched.alarms["slow"] = AlarmConfig(metric="latency_p95", deployment="assistant", above=1e6)
    watched.tick()
    watched.alarms = {}
    watched.watch.tick()
    watched.watch.tick()
    assert watched.store.alarms() == {}
    assert watched.told == [("ops", "firing"), ("ops", "resolved")]
    (goodbye, _) = watched.store.notifications("errors", limit=2)
    assert "not in the configuration any more" in goodbye.body["text"]


def test_the_link_of_a_notice_leads_to_the_calls_of_its_last_second(watched: Watched) -> None:
    """The address has whole seconds, and what was measured may be younger than the last whole one."""
    watched.calls(*range(100, 120), status="error")
    watched.clock.at += timedelta(seconds=5, milliseconds=700)
    watched.calls(305, status="error")
    watched.tick()
    (notice,) = {each.body["link"] for each in watched.store.notifications("errors", limit=9)}
    asked = dict(parse_qsl(urlsplit(notice).query))
    assert datetime.fromisoformat(asked["until"]) > START + timedelta(seconds=305)


def test_a_changed_alarm_goes_on_by_its_new_bound(watched: Watched) -> None:
    """A looser bound ends the fire, with a word to those who heard of it."""
    watched.calls(*range(100, 120), status="error")
    watched.tick()
    watched.alarms["errors"] = msgspec.structs.replace(ERRORS, above=1.0, window="10m")
    assert watched.tick().phase == "resolved"
    assert watched.told == [("ops", "firing"), ("ops", "resolved")]


def test_a_clock_that_is_set_back_holds_no_alarm_up(watched: Watched) -> None:
    """What was measured and what began at a time to come counts as of now, so that a fire is told at once."""
    watched.alarms["errors"] = msgspec.structs.replace(ERRORS, hold="10s")
    now = watched.clock.at
    watched.clock.at = now + timedelta(hours=1)
    watched.calls(*range(3700, 3720), status="error")
    assert watched.tick().phase == "pending"
    watched.clock.at = now
    watched.calls(*range(100, 110))
    assert watched.tick().phase == "ok"
    watched.calls(*range(110, 140), status="error")
    assert [watched.tick().phase for _ in range(3)] == ["pending", "pending", "firing"]


def test_a_silence_keeps_quiet(watched: Watched) -> None:
    """The state is shown, nobody is told; what still holds at its end is told then."""
    until = watched.clock.at + timedelta(seconds=30)
    watched.store.silence("errors", Silence(until=until, reason="known", by="ann", at=START))
    watched.calls(*range(100, 120), status="error")
    for _ in range(6):
        assert watched.watch.silenced(watched.clock.at) == {"errors"}
        assert watched.tick().phase == "firing"
    assert watched.told == []
    assert not watched.watch.silenced(watched.clock.at)
    watched.tick()
    assert watched.told == [("ops", "firing")]


def test_maintenance_keeps_quiet_who_was_silenced_before(watched: Watched) -> None:
    """A silence that is over takes nothing from a window of maintenance, however it is kept."""
    until = watched.clock.at + timedelta(seconds=10)
    watched.store.silence("errors", Silence(until=until, reason="known", by="ann", at=START))
    ends = watched.clock.at + timedelta(seconds=30)
    watched.maintenance["move"] = MaintenanceConfig(starts=START, ends=ends)
    watched.calls(*range(100, 120), status="error")
    for _ in range(6):
        assert watched.watch.silenced(watched.clock.at) == {"errors"}
        assert watched.tick().phase == "firing"
    assert watched.told == []
    watched.tick()
    assert watched.told == [("ops", "firing")]


def test_what_an_alarm_learned_is_of_what_it_watched(watched: Watched) -> None:
    """Under the same name of another deployment it learns anew, also where it could not look at once."""
    usual = AlarmConfig(kind="sequential", metric="error_rate", deployment="assistant", hold="0s")
    watched.alarms["errors"] = usual
    watched.calls(*range(240))
    assert "% of 240 calls" in (watched.tick().detail or "")
    watched.alarms["errors"] = msgspec.structs.replace(usual, deployment="other")
    watched.journal = msgspec.structs.replace(WELL, store_up=False)
    watched.tick()
    watched.journal = WELL
    assert watched.tick().detail == "too few calls before to learn from, so 5 % stands in"


def test_a_scorers_direction_is_an_alarms(watched: Watched) -> None:
    """Of a score of which less is better a rise is what is tested."""
    watched.alarms["errors"] = AlarmConfig(kind="sequential", metric="score:refusal", deployment="assistant")
    assert watched.tick().rule.less_is_better is False
    watched.less = {"assistant": {"refusal"}}
    assert watched.tick().rule.less_is_better is True


def test_scores_count_by_when_they_were_given(watched: Watched) -> None:
    """Feedback on an old call is news."""
    watched.alarms["errors"] = AlarmConfig(
        metric="score:helpful", deployment="assistant", below=0.5, window="1m", hold="0s"
    )
    watched.calls(1)
    assert watched.tick(seconds=30).phase == "ok"
    assert watched.tick().phase == "no_data"
    watched.complaint(of=1)
    watched.clock.at += timedelta(seconds=30)
    assert (watched.tick().phase, watched.tick().value) == ("firing", 0.0)


def test_the_log_is_asked_once_for_a_window(watched: Watched) -> None:
    """Many alarms over one window are one question; a long window is asked about seldom."""
    for number in range(20):
        watched.alarms[f"a{number}"] = ERRORS
    watched.watch.tick()
    assert watched.log.asked == 1
    watched.alarms = {"errors": msgspec.structs.replace(ERRORS, window="1d")}
    watched.log.asked = 0
    for _ in range(100):
        watched.tick(seconds=5)
    assert watched.log.asked == 2, "once in five minutes"


def test_examples_ended_in_the_window(watched: Watched) -> None:
    """However long they took; those that ended before it are of another day."""
    watched.alarms["errors"] = msgspec.structs.replace(ERRORS, window="30s")
    watched.calls(*range(100, 110), status="error", latency_ms=1_000.0)
    watched.calls(*range(200, 203), status="error", latency_ms=85_000.0)
    assert watched.tick().records == tuple(call_id(number) for number in range(202, 199, -1))


def test_calls_of_our_own_are_no_examples(watched: Watched) -> None:
    """An alarm counts none, so it shows none: shadows that fail say nothing of what callers met."""
    watched.calls(*range(100, 110), status="error")
    watched.calls(*range(110, 130), status="error", key="airboss")
    assert watched.tick().records == tuple(call_id(number) for number in range(109, 104, -1))


def test_links_lead_to_the_records_in_question(watched: Watched) -> None:
    """By deployment and time, and by status or score where that is what the alarm is for."""
    watched.calls(*range(100, 120), status="error")
    watched.tick()
    (note,) = watched.store.notifications("errors", limit=9)
    assert note.body["link"] == (
        "http://127.0.0.1:8701/records?deployment=assistant&since=2026-11-01T11%3A45%3A00Z"
        "&until=2026-11-01T12%3A05%3A00Z&status=error"
    )
    drifted = AlarmRow(
        rule=rule_of("x", AlarmConfig(kind="drift", deployment="d")), phase="firing", since=START
    )
    assert link_to_records("http://c/", drifted, START) == "http://c/quality/drift"
    scored = AlarmConfig(metric="score:tone", deployment="assistant", below=0.5)
    row = AlarmRow(rule=rule_of("x", scored), phase="firing", since=START)
    assert "&score=tone%3C0.5" in link_to_records("http://c/", row, START)
