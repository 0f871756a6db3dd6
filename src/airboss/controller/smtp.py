"""Sends notifications by e-mail: over TLS unless it is switched off, bounded in time."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

from airboss.config import EmailConfig, NotifierConfig
from airboss.controller.reaching import Lookup, Resolve, addresses, reachable
from airboss.domain.errors import ConfigError, SetupError
from airboss.store.alert_metrics import filters_in_words
from airboss.store.alert_rows import Notification
from airboss.store.daemons import Daemons

TIMEOUT_S: Final = 15.0
"""Of each step of a conversation with a server."""

WHOLE_S: Final = 60.0
"""Of all of it: a server that sends a byte now and then, or replies without end, is cut off."""

AT_ONCE: Final = 4
"""Mails to one server, in threads of its own: where it hangs, what goes elsewhere, and what the ledger is
asked meanwhile, would else wait for as long as all of its mails take."""

IDLE_S: Final = 10.0
"""So long a thread waits for the next mail: its server may not be configured any more."""

CUT_AGAIN_S: Final = 1.0
HELLO: Final = 220
PORTS: Final = {"starttls": 587, "on": 465, "off": 25}
SHOWN: Final = (
    "deployment", "where", "metric", "value", "comparison", "threshold", "window", "since", "detail",
)  # fmt: skip


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
        whole_s: float = WHOLE_S,
        idle_s: float = IDLE_S,
    ) -> None:
        self._notifiers = notifiers
        self._resolve = resolve
        self._context = context
        self._whole_s = whole_s
        self._lookup = lookup or addresses
        self._timeout_s = timeout_s
        self._idle_s = idle_s
        self._threads: dict[tuple[str, int], Daemons] = {}

    async def send(self, notification: Notification, now: datetime) -> str | None:
        """As `Sender.send`."""
        notifier = (await asyncio.to_thread(self._notifiers)).get(notification.notifier)
        if notifier is None or notifier.email is None:
            return f"the configuration has no e-mail notifier {notification.notifier!r} any more"
        server = (notifier.email.host, notifier.email.port or PORTS[notifier.email.tls])
        if server not in self._threads:
            self._threads[server] = Daemons(AT_ONCE, "mail", idle_s=self._idle_s)
        sending = self._threads[server].submit(self._sent, notifier.email, notification, now)
        return await asyncio.wrap_future(sending)

    def _sent(self, to: EmailConfig, notification: Notification, now: datetime) -> str | None:
        port = to.port or PORTS[to.tls]
        taken = False
        try:
            found = self._lookup(to.host, port)
            if not any(map(reachable, found)):
                return f"{to.host} is at {', '.join(found[:3]) or 'no address'}, where nothing is sent"
            server = self._met(to)
            # The client says farewell within the time as well, and reads what it is answered.
            with cut_after(server, self._whole_s) as over, server:
                self._greet(server, to, port, [each for each in found if reachable(each)], over)
                if to.user is not None and to.password is not None:
                    server.login(to.user, self._resolve(to.password))
                server.send_message(mail(to, notification, now))
                taken = True
        except (SetupError, ConfigError) as error:
            return str(error)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            # However the server takes its leave: what it has taken must not come twice.
            return None if taken else cause(to.host, error)
        return None

    def _met(self, to: EmailConfig) -> smtplib.SMTP:
        """A client that is not connected yet, so that the server's first word can be cut off too."""
        server: _Encrypted | _Plain
        if to.tls == "on":
            server = _Encrypted(timeout=self._timeout_s, context=self._trusted())
        else:
            server = _Plain(timeout=self._timeout_s)
        server.wanted = to.host
        return server

    def _greet(
        self, server: smtplib.SMTP, to: EmailConfig, port: int, found: Sequence[str], over: threading.Event
    ) -> None:
        for each in found:
            try:
                code, said = server.connect(each, port)
            except OSError:
                if each == found[-1] or over.is_set():
                    raise
                continue  # with the next address, as long as there is time
            if code != HELLO:
                raise smtplib.SMTPConnectError(code, said)
            break
        if to.tls == "starttls":
            server.starttls(context=self._trusted())

    def _trusted(self) -> ssl.SSLContext:
        return self._context or ssl.create_default_context()


class _Named:
    """A client that wants the certificate of a name, whatever address it connects to. From Python 3.14.8 on
    `connect` notes the address as what is wanted; before, nothing."""

    wanted = ""

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        self._host = self.wanted
        return super()._get_socket(host, port, timeout)  # type: ignore[misc]  # of smtplib


class _Plain(_Named, smtplib.SMTP):
    pass


class _Encrypted(_Named, smtplib.SMTP_SSL):
    pass


@contextmanager
def cut_after(server: smtplib.SMTP, seconds: float) -> Iterator[threading.Event]:
    """The connection is shut down when that time is over, whoever waits for something of it; again and again,
    since there may be none yet, or another one. What is given is set from then on."""
    ended, over = threading.Event(), threading.Event()

    def cut() -> None:
        pause = seconds
        while not ended.wait(pause):
            over.set()
            pause = CUT_AGAIN_S
            with suppress(OSError, TypeError):  # closed meanwhile, or not open yet
                # Below TLS: that of `ssl` ends the encryption first, and the other thread may be writing.
                socket.socket.shutdown(server.sock, socket.SHUT_RDWR)  # type: ignore[arg-type]  # as above

    threading.Thread(target=cut, daemon=True).start()
    try:
        yield over
    finally:
        ended.set()


def cause(host: str, error: Exception) -> str:
    """Why a mail was not taken; not in the server's words, which may repeat what it was told."""
    if isinstance(error, UnicodeError):
        return f"a login at {host} takes ASCII alone; user or password has other characters"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"{host} refused every recipient"
    if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code < 0:
        return f"{host} answers with what is no SMTP"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{host} answered {error.smtp_code}"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return f"{host} offers no STARTTLS or no login; see tls and user"
    return f"the connection failed: {type(error).__name__}"


def mail(to: EmailConfig, notification: Notification, now: datetime) -> EmailMessage:
    """The mail that a notification is. Its id is in `Message-ID`, so that one sent again is known."""
    body: Mapping[str, Any] = notification.body
    message = EmailMessage()
    state = f"{'still ' if body.get('reminder') else ''}{body.get('state', '')}"
    message["Subject"] = _line(f"[airboss] {body.get('alarm', '')} {state}".replace("_", " "))
    message["From"] = to.sender
    message["To"] = ", ".join(to.to)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{notification.id}@airboss>"
    message["X-Airboss-Notification"] = notification.id
    said = {**body, "where": filters_in_words(body.get("where", {}))}
    facts = [f"{name}: {said[name]}" for name in SHOWN if said.get(name) not in (None, "")]
    parts = [str(body.get("text", "")), "\n".join(facts)]
    if body.get("records"):
        parts.append("some of the calls:\n" + "\n".join(map(str, body["records"])))
    if body.get("page"):
        parts.append(f"the alarm:\n{body['page']}")
    if body.get("link"):
        parts.append(str(body["link"]))
    message.set_content("\n\n".join(part for part in parts if part) + "\n")
    return message


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
