"""E-mail reaches a real SMTP server, over TLS unless that is switched off."""

from __future__ import annotations

import asyncio
import email
import email.policy
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from airboss.config import EmailConfig, NotifierConfig
from airboss.controller.senders import Senders
from airboss.controller.smtp import EmailSender, cut_after, mail
from airboss.store.alert_rows import Notification
from tests.controller.journals import FixedClock
from tests.store.test_alerts import note
from tests.support.certificates import self_signed
from tests.support.ports import unused_port
from tests.support.wait import until

BODY = {
    "alarm": "errors",
    "state": "firing",
    "deployment": "support",
    "value": 0.5,
    "text": "errors firing: error_rate of support is 0.5",
    "records": ["019a-1"],
    "link": "http://127.0.0.1:8701/records?status=error",
    "page": "http://127.0.0.1:8701/alerts/errors",
}

READY_S = 60.0
"""How long a server may take to start: aiosmtpd waits for 5 s."""


class Inbox:
    """What a server has taken; it refuses whoever is in `refuses`."""

    def __init__(self) -> None:
        self.got: list[email.message.EmailMessage] = []
        self.refuses: set[str] = set()
        self.users: list[bytes] = []

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it so
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        """As aiosmtpd calls it."""
        if address in self.refuses:
            return "550 no such user s3cret"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - as above
        """As aiosmtpd calls it."""
        self.got.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"

    def login(
        self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, given: LoginPassword
    ) -> AuthResult:
        """Whether the password is right."""
        self.users.append(given.login)
        return AuthResult(success=given.password == b"s3cret")


@pytest.fixture
def inbox() -> Inbox:
    """An empty one."""
    return Inbox()


@pytest.fixture
def plain(inbox: Inbox) -> Iterator[int]:
    """The port of a server without TLS."""
    server = Controller(inbox, hostname="127.0.0.1", port=unused_port(), ready_timeout=READY_S)
    server.start()
    yield server.port
    server.stop()


@pytest.fixture
def secure(inbox: Inbox, tmp_path: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """The port of a server that wants STARTTLS and a login, and a context that trusts it."""
    cert, key = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    server = Controller(
        inbox,
        hostname="127.0.0.1",
        port=unused_port(),
        ready_timeout=READY_S,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=inbox.login,
    )
    server.start()
    yield server.port, ssl.create_default_context(cafile=cert)
    server.stop()


def served(kind: type[SMTP], inbox: Inbox) -> Controller:
    """A server of that kind, without TLS; the caller stops it."""

    class Server(Controller):
        def factory(self) -> SMTP:
            return kind(self.handler)

    server = Server(inbox, hostname="127.0.0.1", port=unused_port(), ready_timeout=READY_S)
    server.start()
    return server


def told(to: dict[str, Any], context: ssl.SSLContext | None = None, **options: Any) -> str | None:
    """What a try says, by way of the sender for all notifiers."""
    given = EmailConfig(
        **{"host": "127.0.0.1", "sender": "airboss@example.com", "to": ("ops@example.com",), **to}
    )
    notifiers = {"ops": NotifierConfig(email=given)}
    mails = EmailSender(lambda: notifiers, lambda _: "s3cret", context=context, **options)
    clock = FixedClock()
    one: Notification = note(1, created_at=clock.now(), due_at=clock.now(), body=BODY)
    return asyncio.run(Senders(lambda: notifiers, webhook=mails, email=mails).send(one, clock.now()))


def test_a_mail_says_what_a_webhook_does(inbox: Inbox, plain: int) -> None:
    """Subject, line for people, numbers, calls and links; its id tells one that comes twice."""
    assert told({"port": plain, "tls": "off", "to": ("ops@example.com", "b@example.com")}) is None
    (got,) = inbox.got
    assert (got["subject"], got["from"]) == ("[airboss] errors firing", "airboss@example.com")
    assert got["to"] == "ops@example.com, b@example.com"
    assert got["message-id"] == "<n1@airboss>"
    text = got.get_content()
    for words in (BODY["text"], "deployment: support", "value: 0.5", "019a-1", BODY["link"], BODY["page"]):
        assert str(words) in text


def test_a_mail_names_the_calls_and_a_reminder_says_so() -> None:
    """Those that an alarm watches alone; where it watches all, nothing is said of that."""
    to = EmailConfig(host="h", sender="a@example.com", to=("b@example.com",))
    chosen: dict[str, object] = {"where": {"key": "app", "tag": "team=a"}, "reminder": True}
    bodies = BODY | chosen, BODY | {"where": {}}
    text, plain = (mail(to, note(1, body=body), FixedClock().now()) for body in bodies)
    assert (text["subject"], plain["subject"]) == ("[airboss] errors still firing", "[airboss] errors firing")
    assert "deployment: support\nwhere: key app, tag team=a\n" in text.get_content()
    assert "where" not in plain.get_content()


def test_a_mail_is_sent_over_tls_with_a_login(inbox: Inbox, secure: tuple[int, ssl.SSLContext]) -> None:
    """The password is what its reference says; a certificate that is not trusted gets nothing."""
    port, context = secure
    to = {"port": port, "user": "airboss", "password": "env:SMTP"}
    assert told(to, context) is None
    assert (len(inbox.got), inbox.users) == (1, [b"airboss"])
    assert told(to) == "the connection failed: SSLCertVerificationError"
    assert len(inbox.got) == 1


def test_a_server_without_tls_gets_nothing(inbox: Inbox, plain: int) -> None:
    """Unless it is said that there shall be none."""
    assert told({"port": plain}) == "127.0.0.1 offers no STARTTLS or no login; see tls and user"
    assert inbox.got == []


def test_refused_recipients_are_told_without_the_servers_words(inbox: Inbox, plain: int) -> None:
    """All refused is a failure, to be tried again; one of two is not."""
    inbox.refuses = {"ops@example.com"}
    assert told({"port": plain, "tls": "off"}) == "127.0.0.1 refused every recipient"
    assert told({"port": plain, "tls": "off", "to": ("ops@example.com", "b@example.com")}) is None


def test_a_password_that_no_login_can_carry_is_an_error_in_words(secure: tuple[int, ssl.SSLContext]) -> None:
    """And ends nothing else: it is tried again, and told of the notification."""
    port, context = secure
    said = told({"port": port, "user": "jürgen", "password": "env:SMTP"}, context)
    assert said == "a login at 127.0.0.1 takes ASCII alone; user or password has other characters"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"x", "127.0.0.1 answers with what is no SMTP"),
        (b"220-and more\r\n" * 100, "the connection failed: SMTPServerDisconnected"),
    ],
)
@pytest.mark.parametrize("tls", ["off", "starttls"])
def test_a_server_that_never_comes_to_an_end_is_cut_off(said: bytes, cause: str, tls: str) -> None:
    """One that drips, or replies for ever, holds up no other mail."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: drip(server.accept()[0], said), daemon=True).start()
        began = time.monotonic()
        answer = told({"port": server.getsockname()[1], "tls": tls}, whole_s=2.0)
        assert answer == cause
        assert time.monotonic() - began < 30


def drip(connection: socket.socket, said: bytes) -> None:
    """Say it again and again until the other side is gone."""

    def gone() -> bool:
        try:
            connection.sendall(said)
        except OSError:
            return True
        return False

    with connection:
        until(gone, every_s=0.05)


def test_a_farewell_without_end_is_cut_off(inbox: Inbox) -> None:
    """The mail was taken, and the next one waits for no server that talks on."""

    class Clinging(SMTP):
        async def smtp_QUIT(self, _arg: str) -> None:  # noqa: N802 - aiosmtpd calls it so
            while time.monotonic() < began + 60:
                await self.push("221-and more")

    began = time.monotonic()
    server = served(Clinging, inbox)
    try:
        assert told({"port": server.port, "tls": "off"}, whole_s=2.0) is None
        assert time.monotonic() - began < 30
    finally:
        server.stop()
    assert len(inbox.got) == 1


def test_who_is_cut_off_while_there_is_no_connection_is_cut_off_later() -> None:
    """The time may be over while a client connects, or between plain text and TLS."""
    ours, theirs = socket.socketpair()
    server = smtplib.SMTP()
    with theirs, ours, cut_after(server, 0.05) as over:
        assert over.wait(60)
        server.sock = ours
        theirs.settimeout(60)
        assert theirs.recv(1) == b""


def test_the_certificate_that_is_wanted_is_that_of_the_name(inbox: Inbox, tmp_path: Path) -> None:
    """Not that of the address which the connection goes to, where TLS comes first."""
    cert, key = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    trusting = ssl.create_default_context(cafile=cert)
    server = Controller(
        inbox, hostname="127.0.0.2", port=unused_port(), ssl_context=context, ready_timeout=READY_S
    )
    server.start()
    try:
        to = {"port": server.port, "tls": "on"}
        assert told(to, trusting, lookup=lambda *_: ["127.0.0.2"]) is None
        elsewhere = told({**to, "host": "127.0.0.2"}, trusting)
    finally:
        server.stop()
    assert elsewhere == "the connection failed: SSLCertVerificationError"
    assert len(inbox.got) == 1


def test_a_server_that_never_shakes_hands_is_left() -> None:
    """There is no connection yet that could be cut off."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = {"port": server.getsockname()[1], "tls": "on"}
        assert told(to, timeout_s=0.3) == "the connection failed: TimeoutError"


def test_a_server_that_hangs_holds_up_its_own_mails_alone(inbox: Inbox, plain: int) -> None:
    """However many wait for its first word, what goes elsewhere is sent meanwhile."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        sent_by: dict[str, Any] = {"host": "127.0.0.1", "sender": "a@example.com", "to": ("ops@example.com",)}
        ports = {"hangs": silent.getsockname()[1], "ops": plain}
        notifiers = {
            name: NotifierConfig(email=EmailConfig(**sent_by, port=port, tls="off"))
            for name, port in ports.items()
        }
        mails = EmailSender(lambda: notifiers, lambda _: "", timeout_s=60.0)
        senders, clock = Senders(lambda: notifiers, webhook=mails, email=mails), FixedClock()

        async def main() -> None:
            trying = [
                asyncio.create_task(
                    senders.send(note(n, notifier=name, created_at=clock.now(), body=BODY), clock.now())
                )
                for n, name in enumerate([*["hangs"] * 100, "ops"])
            ]
            done, hanging = await asyncio.wait(trying, return_when=asyncio.FIRST_COMPLETED)
            assert done == {trying[-1]}
            assert await trying[-1] is None
            silent.close()
            for each in hanging:
                each.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)

        asyncio.run(main())
    assert len(inbox.got) == 1


def test_threads_of_a_server_go_when_nothing_is_sent_to_it(inbox: Inbox, plain: int) -> None:
    """As it may not be configured any more; the next mail has new ones."""

    def sending() -> set[threading.Thread]:
        return {each for each in threading.enumerate() if each.name.startswith("mail_")} - before

    before = set(threading.enumerate())
    for count in (1, 2):
        assert told({"port": plain, "tls": "off"}, idle_s=0.05) is None
        assert len(inbox.got) == count
        until(lambda: not sending())


def test_addresses_are_tried_in_turn_and_none_that_is_left_out(inbox: Inbox, plain: int) -> None:
    """The connection goes to what was looked up and checked; what does not answer is passed over."""
    to = {"host": "mail.example", "port": plain, "tls": "off"}
    assert told(to, lookup=lambda *_: ["169.254.169.254", "127.0.0.2", "127.0.0.1"]) is None
    assert len(inbox.got) == 1
    away = told(to, lookup=lambda *_: ["127.0.0.2", "127.0.0.3"])
    assert away == "the connection failed: ConnectionRefusedError"


def test_a_mail_that_was_taken_is_sent_however_the_server_takes_its_leave(inbox: Inbox) -> None:
    """Tried again it would come twice."""

    class Rude(SMTP):
        async def smtp_QUIT(self, _arg: str) -> None:  # noqa: N802 - aiosmtpd calls it so
            await self.push("421 too late")

    server = served(Rude, inbox)
    try:
        assert told({"port": server.port, "tls": "off"}) is None
    finally:
        server.stop()
    assert len(inbox.got) == 1


def test_a_server_that_is_away_is_an_error_in_words() -> None:
    """No exception, so that it is tried again."""
    assert told({"port": 1, "tls": "off"}) == "the connection failed: ConnectionRefusedError"
    where = EmailSender(dict, lambda _: "")
    clock = FixedClock()
    gone = asyncio.run(where.send(note(1, created_at=clock.now(), due_at=clock.now()), clock.now()))
    assert gone == "the configuration has no e-mail notifier 'ops' any more"
