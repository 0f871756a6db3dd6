"""Alarms in SQL, in the ledger's database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, and_, delete, exists, insert, select, update

from airboss.store.alert_rows import (
    BACK_OFF_S_MAX,
    FIRST_S_MAX,
    AlarmEvent,
    AlarmRow,
    Notification,
    Silence,
)
from airboss.store.ledger_part import LedgerPart, utc_text
from airboss.store.ledger_tables import alarm_events, alarm_silences, alarms, cursors, notifications
from airboss.store.ledger_unchanged import unchanged

EVENTS_KEPT: Final = 200
"""Of each alarm; older ones go when new ones come."""

ENDED_KEPT: Final = timedelta(days=30)
"""How long what was sent, or could not be, can be looked at."""


class SqlAlertStore(LedgerPart):
    """`alert_rows.AlertStore`. Safe to use by threads, and by several processes on one database."""

    @unchanged
    def alarms(self) -> dict[str, AlarmRow]:
        """As `AlertStore.alarms`."""
        with self._read() as connection:
            found = connection.execute(select(alarms.c.name, alarms.c.content).order_by(alarms.c.name))
            return {row.name: msgspec.json.decode(row.content, type=AlarmRow) for row in found}

    def put_alarms(
        self,
        rows: Sequence[AlarmRow],
        *,
        events: Sequence[AlarmEvent] = (),
        notifications: Sequence[Notification] = (),
        forget: Sequence[str] = (),
    ) -> None:
        """As `AlertStore.put_alarms`."""
        with self._write() as connection:
            names = [*(row.rule.name for row in rows), *forget]
            connection.execute(delete(alarms).where(alarms.c.name.in_(names)))
            for row in rows:
                connection.execute(insert(alarms).values(name=row.rule.name, content=_json(row)))
            for event in events:
                _add_event(connection, event)
            for notification in notifications:
                _add(connection, notification)

    def events(self, alarm: str, *, limit: int) -> tuple[AlarmEvent, ...]:
        """As `AlertStore.events`."""
        mine = select(alarm_events.c.content).where(alarm_events.c.alarm == alarm)
        with self._read() as connection:
            found = connection.execute(mine.order_by(alarm_events.c.number.desc()).limit(limit)).scalars()
            return tuple(msgspec.json.decode(each, type=AlarmEvent) for each in found)

    @unchanged
    def silences(self) -> dict[str, Silence]:
        """As `AlertStore.silences`."""
        with self._read() as connection:
            found = connection.execute(select(alarm_silences.c.alarm, alarm_silences.c.content))
            return {row.alarm: msgspec.json.decode(row.content, type=Silence) for row in found}

    def silence(self, alarm: str, silence: Silence | None) -> None:
        """As `AlertStore.silence`."""
        with self._write() as connection:
            connection.execute(delete(alarm_silences).where(alarm_silences.c.alarm == alarm))
            if silence is not None:
                connection.execute(insert(alarm_silences).values(alarm=alarm, content=_json(silence)))

    def add_notification(self, notification: Notification) -> None:
        """As `AlertStore.add_notification`."""
        with self._write() as connection:
            _add(connection, notification)

    def notification(self, notification_id: str) -> Notification | None:
        """As `AlertStore.notification`."""
        with self._read() as connection:
            mine = select(notifications).where(notifications.c.id == notification_id)
            row = connection.execute(mine).one_or_none()
            return None if row is None else _notification(row)

    def notifications(
        self, alarm: str, *, limit: int, since: datetime | None = None
    ) -> tuple[Notification, ...]:
        """As `AlertStore.notifications`."""
        mine = select(notifications).where(notifications.c.alarm == alarm)
        if since is not None:
            mine = mine.where(notifications.c.created_at >= utc_text(since))
        with self._read() as connection:
            rows = connection.execute(mine.order_by(notifications.c.number.desc()).limit(limit))
            return tuple(map(_notification, rows))

    def due(self, now: datetime, *, limit: int, without: Collection[str] = ()) -> tuple[Notification, ...]:
        """As `AlertStore.due`."""
        if not self.waiting():
            return ()
        older = notifications.alias("older")
        preceded = exists().where(
            and_(
                older.c.alarm == notifications.c.alarm,
                older.c.notifier == notifications.c.notifier,
                older.c.number < notifications.c.number,
                older.c.state == "waiting",
            )
        )
        # No pause is that long: the clock was set back, and nobody is told a day late for it.
        tried = (notifications.c.attempts > 0) & (notifications.c.due_at > _later(now, BACK_OFF_S_MAX))
        beyond = tried | (notifications.c.due_at > _later(now, FIRST_S_MAX))
        due = (notifications.c.due_at <= utc_text(now)) | beyond
        query = (
            select(notifications)
            .where((notifications.c.state == "waiting") & due & ~preceded)
            .where(notifications.c.alarm.not_in(without))
            .order_by(notifications.c.number)
            .limit(limit)
        )
        with self._read() as connection:
            return tuple(map(_notification, connection.execute(query)))

    @unchanged
    def waiting(self) -> tuple[tuple[str, str, str], ...]:
        """As `AlertStore.waiting`."""
        told = select(notifications.c.id, notifications.c.alarm, notifications.c.notifier)
        with self._read() as connection:
            found = connection.execute(told.where(notifications.c.state == "waiting"))
            return tuple((row.id, row.alarm, row.notifier) for row in found)

    def settle_notification(self, notification: Notification) -> None:
        """As `AlertStore.settle_notification`."""
        with self._write() as connection:
            mine = notifications.c.id == notification.id
            connection.execute(update(notifications).where(mine).values(**_columns(notification)))
            if notification.ended_at is not None:
                old = notifications.c.created_at < utc_text(notification.ended_at - ENDED_KEPT)
                connection.execute(delete(notifications).where(old & (notifications.c.state != "waiting")))

    @unchanged
    def cursor(self, name: str) -> str | None:
        """How far whoever follows under this name has come; None before the first time."""
        with self._read() as connection:
            return connection.execute(select(cursors.c.value).where(cursors.c.name == name)).scalar()

    def put_cursor(self, name: str, value: str | None) -> None:
        """Say how far they have come, or with None that they follow no more."""
        with self._write() as connection:
            connection.execute(delete(cursors).where(cursors.c.name == name))
            if value is not None:
                connection.execute(insert(cursors).values(name=name, value=value))


def _later(now: datetime, seconds: float) -> str:
    return utc_text(now + timedelta(seconds=seconds))


def _add_event(connection: Connection, event: AlarmEvent) -> None:
    """Keep an event, once: what was committed may be brought again, if the answer was lost."""
    values = {"alarm": event.alarm, "at": utc_text(event.at), "content": _json(event)}
    same = [alarm_events.c[name] == value for name, value in values.items()]
    if connection.execute(select(alarm_events.c.number).where(*same)).first() is None:
        connection.execute(insert(alarm_events).values(**values))
        _prune_events(connection, event.alarm)


def _prune_events(connection: Connection, alarm: str) -> None:
    mine = alarm_events.c.alarm == alarm
    newest = select(alarm_events.c.number).where(mine).order_by(alarm_events.c.number.desc())
    last_kept = connection.execute(newest.offset(EVENTS_KEPT - 1).limit(1)).scalar()
    if last_kept is not None:
        connection.execute(delete(alarm_events).where(mine & (alarm_events.c.number < last_kept)))


def _add(connection: Connection, notification: Notification) -> None:
    """Keep a notification, once, as an event. What became of one that is there stands."""
    if connection.execute(select(notifications.c.id).where(notifications.c.id == notification.id)).first():
        return
    fixed = {
        "id": notification.id,
        "alarm": notification.alarm,
        "notifier": notification.notifier,
        "kind": notification.kind,
        "created_at": utc_text(notification.created_at),
        "body": msgspec.json.encode(notification.body).decode(),
    }
    connection.execute(insert(notifications).values(**fixed, **_columns(notification)))


def _columns(notification: Notification) -> dict[str, Any]:
    """What changes of a notification."""
    return {
        "due_at": utc_text(notification.due_at),
        "state": notification.state,
        "attempts": notification.attempts,
        "error": notification.error,
        "ended_at": None if notification.ended_at is None else utc_text(notification.ended_at),
    }


def _notification(row: Row[Any]) -> Notification:
    return Notification(
        id=row.id,
        alarm=row.alarm,
        notifier=row.notifier,
        kind=row.kind,
        created_at=datetime.fromisoformat(row.created_at),
        due_at=datetime.fromisoformat(row.due_at),
        body=msgspec.json.decode(row.body),
        state=row.state,
        attempts=row.attempts,
        error=row.error,
        ended_at=None if row.ended_at is None else datetime.fromisoformat(row.ended_at),
    )


def _json(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
