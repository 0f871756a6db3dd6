"""What the ledger keeps of alarms."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from airboss.store.alert_rows import AlarmEvent, AlarmRow, AlarmRule, Notification, Silence
from airboss.store.alerts import ENDED_KEPT, EVENTS_KEPT, SqlAlertStore

NOW = datetime(2026, 11, 24, tzinfo=UTC)
RULE = AlarmRule(
    name="errors", metric="error_rate", deployment="support", below=False, bound=0.1, window_s=300, hold_s=60
)
ROW = AlarmRow(rule=RULE, phase="firing", since=NOW, told="firing", value=0.5, checked_at=NOW)


@pytest.fixture
def store(address: str) -> Iterator[SqlAlertStore]:
    """An empty store."""
    made = SqlAlertStore(address)
    yield made
    made.close()


def note(number: int, **fields: Any) -> Notification:
    """A notification that is due at NOW."""
    given: dict[str, Any] = {
        "id": f"n{number}",
        "alarm": "errors",
        "notifier": "ops",
        "kind": "firing",
        "created_at": NOW,
        "due_at": NOW,
        "body": {"state": "firing", "value": 0.5},
    }
    return Notification(**given | fields)


def test_alarms_come_back_as_they_went_in(store: SqlAlertStore, address: str) -> None:
    """Also to another process; putting one again replaces it, forgetting drops it."""
    other = msgspec.structs.replace(
        ROW, rule=msgspec.structs.replace(RULE, name="slow"), value=None, why="none"
    )
    store.put_alarms([ROW, other])
    again = SqlAlertStore(address)
    assert again.alarms() == {"errors": ROW, "slow": other}
    again.close()
    store.put_alarms([msgspec.structs.replace(ROW, phase="ok")], forget=["slow"])
    assert {name: row.phase for name, row in store.alarms().items()} == {"errors": "ok"}


def test_a_transition_is_kept_whole_or_not_at_all(store: SqlAlertStore) -> None:
    """A state that moved without its notification would be a fire that nobody hears of."""
    store.put_alarms([ROW], notifications=[note(1)])
    ok = msgspec.structs.replace(ROW, phase="ok")
    with pytest.raises(TypeError):
        store.put_alarms([ok], notifications=[note(2), note(3, body={"no JSON": object()})])
    assert store.alarms() == {"errors": ROW}
    assert [each.id for each in store.notifications("errors", limit=10)] == ["n1"]


def test_what_was_kept_may_be_brought_again(store: SqlAlertStore) -> None:
    """A commit whose answer was lost is tried again, with what has come since; what was sent stays sent."""
    event = AlarmEvent(alarm="errors", at=NOW, before="ok", after="firing", value=0.5, bound=0.1)
    store.put_alarms([ROW], events=[event], notifications=[note(1)])
    store.settle_notification(msgspec.structs.replace(note(1), state="sent", ended_at=NOW))
    after = msgspec.structs.replace(event, before="firing", after="ok")
    store.put_alarms([ROW], events=[event, after], notifications=[note(1), note(2)])
    assert store.events("errors", limit=9) == (after, event)
    found = store.notifications("errors", limit=9)
    assert [(each.id, each.state) for each in found] == [("n2", "waiting"), ("n1", "sent")]
    assert store.waiting() == (("n2", "errors", "ops"),)


def test_events_are_newest_first_and_bounded(store: SqlAlertStore) -> None:
    """Of each alarm so many are kept."""
    for number in range(EVENTS_KEPT + 10):
        event = AlarmEvent(
            alarm="errors",
            at=NOW + timedelta(seconds=number),
            before="ok",
            after="pending",
            value=0.5,
            bound=0.1,
        )
        store.put_alarms([], events=[event])
    found = store.events("errors", limit=10_000)
    assert len(found) == EVENTS_KEPT
    assert found[0].at == NOW + timedelta(seconds=EVENTS_KEPT + 9)
    assert store.events("other", limit=10) == ()


def test_a_silence_is_replaced_and_taken_off(store: SqlAlertStore) -> None:
    """One at a time for each alarm."""
    first = Silence(until=NOW, reason="a", by="ann", at=NOW)
    second = Silence(until=NOW + timedelta(hours=1), reason="b", by="bob", at=NOW)
    store.silence("errors", first)
    store.silence("errors", second)
    assert store.silences() == {"errors": second}
    store.silence("errors", None)
    assert store.silences() == {}


def test_a_notification_that_was_to_be_tried_while_the_clock_was_ahead_is_due(store: SqlAlertStore) -> None:
    """What is due later than any pause lasts is due now: the clock was set back."""
    store.add_notification(note(1, due_at=NOW + timedelta(days=1)))
    assert [each.id for each in store.due(NOW, limit=10)] == ["n1"]


def test_notifications_of_one_alarm_are_due_in_order(store: SqlAlertStore) -> None:
    """A younger one waits for the older, to the same notifier; others do not."""
    later = NOW + timedelta(minutes=5)
    for each in (
        note(1, due_at=later),
        note(2),
        note(3, notifier="else"),
        note(4, alarm="slow"),
        note(5, alarm="slow"),
    ):
        store.add_notification(each)
    assert [each.id for each in store.due(NOW, limit=10)] == ["n3", "n4"]
    assert [each.id for each in store.due(NOW, limit=1)] == ["n3"]
    assert [each.id for each in store.due(later, limit=10)] == ["n1", "n3", "n4"]
    first = store.notification("n1")
    assert first is not None
    store.settle_notification(msgspec.structs.replace(first, state="sent", attempts=1, ended_at=later))
    assert [each.id for each in store.due(later, limit=10)] == ["n2", "n3", "n4"]


def test_what_became_of_a_notification_is_kept(store: SqlAlertStore) -> None:
    """Tries, the last error and the end; what ended long ago goes."""
    store.add_notification(note(1))
    tried = msgspec.structs.replace(note(1), attempts=3, error="no answer", due_at=NOW + timedelta(seconds=8))
    store.settle_notification(tried)
    assert store.notification("n1") == tried
    assert store.notification("unknown") is None
    store.settle_notification(msgspec.structs.replace(tried, state="failed", ended_at=NOW))
    late = NOW + ENDED_KEPT + timedelta(days=1)
    store.add_notification(note(2, created_at=late, due_at=late))
    store.settle_notification(note(2, state="sent", created_at=late, ended_at=late))
    assert [each.id for each in store.notifications("errors", limit=10)] == ["n2"]


def test_cursors_stand_by_their_names(store: SqlAlertStore) -> None:
    """None before the first time, and after they were taken off."""
    assert store.cursor("scoring") is None
    store.put_cursor("scoring", "a")
    store.put_cursor("scoring", "b")
    store.put_cursor("other", "c")
    assert (store.cursor("scoring"), store.cursor("other")) == ("b", "c")
    store.put_cursor("scoring", None)
    assert store.cursor("scoring") is None
