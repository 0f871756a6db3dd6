"""One sender for all notifiers: each notification goes the way that its notifier is reached."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime

from airboss.config import NotifierConfig
from airboss.controller.notify import Sender
from airboss.store.alert_rows import Notification


class Senders:
    """`notify.Sender`."""

    def __init__(
        self, notifiers: Callable[[], Mapping[str, NotifierConfig]], *, webhook: Sender, email: Sender
    ) -> None:
        self._notifiers = notifiers
        self._webhook = webhook
        self._email = email

    async def send(self, notification: Notification, now: datetime) -> str | None:
        """As `Sender.send`."""
        notifier = (await asyncio.to_thread(self._notifiers)).get(notification.notifier)
        by_mail = notifier is not None and notifier.email is not None
        return await (self._email if by_mail else self._webhook).send(notification, now)
