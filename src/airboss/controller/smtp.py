"""Sends notifications by e-mail: over TLS unless it is switched off, bounded in time."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

from airboss.config import EmailConfig, NotifierConfig
from airboss.controller.reaching import Lookup, Resolve, addresses, reachable
from airboss.domain.errors import ConfigError, SetupError
from airboss.store.alert_rows import Notification

TIMEOUT_S: Final = 15.0
"""Of each step of a conversation with a server."""

PORTS: Final = {"starttls": 587, "on": 465, "off": 25}
SHOWN: Final = ("deployment", "metric", "value", "comparison", "threshold", "window", "since", "detail")


class EmailSender:
    """`notify.Sender` by SMTP. `notifiers` are those in force, read at every try. A server that does not
    offer STARTTLS where it is wanted gets nothing. A mail that some of the recipients were refused for counts
    as sent: sent again it would come twice to the others."""

    def __init__(
        self,
        notifiers: Callable[[], Mapping[str, NotifierConfig]],
        resolve: Resolve,
        *,
        context: ssl.SSLContext | None = None,
        lookup: Lookup | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._notifiers = notifiers
        self._resolve = resolve
        self._context = context
        self._lookup = lookup or addresses
        self._timeout_s = timeout_s

    async def send(self, notification: Notification, now: datetime) -> str | None:
        """As `Sender.send`."""
        notifier = self._notifiers().get(notification.notifier)
        if notifier is None or notifier.email is None:
            return f"the configuration has no e-mail notifier {notification.notifier!r} any more"
        return await asyncio.to_thread(self._sent, notifier.email, notification, now)

    def _sent(self, to: EmailConfig, notification: Notification, now: datetime) -> str | None:
        port = to.port or PORTS[to.tls]
        try:
            found = self._lookup(to.host, port)
            if not any(map(reachable, found)):
                return f"{to.host} is at {', '.join(found[:3]) or 'no address'}, where nothing is sent"
            with self._opened(to, port) as server:
                if to.user is not None and to.password is not None:
                    server.login(to.user, self._resolve(to.password))
                server.send_message(mail(to, notification, now))
        except (SetupError, ConfigError) as error:
            return str(error)
        except (smtplib.SMTPException, OSError) as error:
            return cause(to.host, error)
        return None

    def _opened(self, to: EmailConfig, port: int) -> smtplib.SMTP:
        if to.tls == "off":
            return smtplib.SMTP(to.host, port, timeout=self._timeout_s)
        context = self._context or ssl.create_default_context()
        if to.tls == "on":
            return smtplib.SMTP_SSL(to.host, port, timeout=self._timeout_s, context=context)
        server = smtplib.SMTP(to.host, port, timeout=self._timeout_s)
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server


def cause(host: str, error: Exception) -> str:
    """Why a mail was not taken; not in the server's words, which may repeat what it was told."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"{host} refused every recipient"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{host} answered {error.smtp_code}"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return f"{host} offers no STARTTLS or no login; see tls and user"
    return f"the connection failed: {type(error).__name__}"


def mail(to: EmailConfig, notification: Notification, now: datetime) -> EmailMessage:
    """The mail that a notification is. Its id is in `Message-ID`, so that one sent again is known."""
    body: Mapping[str, Any] = notification.body
    message = EmailMessage()
    message["Subject"] = _line(f"[airboss] {body.get('alarm', '')} {body.get('state', '')}".replace("_", " "))
    message["From"] = to.sender
    message["To"] = ", ".join(to.to)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{notification.id}@airboss>"
    message["X-Airboss-Notification"] = notification.id
    facts = [f"{name}: {body[name]}" for name in SHOWN if body.get(name) not in (None, "")]
    parts = [str(body.get("text", "")), "\n".join(facts)]
    if body.get("records"):
        parts.append("some of the calls:\n" + "\n".join(map(str, body["records"])))
    if body.get("link"):
        parts.append(str(body["link"]))
    message.set_content("\n\n".join(part for part in parts if part) + "\n")
    return message


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
