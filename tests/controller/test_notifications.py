"""Notifications reach a real receiver, signed, in order, each until it is taken."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.config import NotifierConfig
from airboss.controller.notify import AT_ONCE, GIVE_UP, Deliveries, settle
from airboss.controller.reaching import reachable
from airboss.controller.senders import Senders
from airboss.controller.webhook import WebhookSender, signature
from airboss.domain.errors import SetupError
from airboss.store.alert_rows import BACK_OFF_S_MAX, Notification
from airboss.store.alerts import SqlAlertStore
from airboss.store.ledger_trouble import LedgerAway
from tests.controller.journals import FixedClock
from tests.store.test_alerts import note
from tests.support.receiver import Receiver
from tests.support.wait import until


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver that takes everything."""
    with Receiver(tmp_path) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlAlertStore]:
    """An empty store."""
    made = SqlAlertStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield made
    made.close()


def sender(webhook: str, secret: str | None = None, **options: Any) -> WebhookSender:
    """A sender to a notifier `ops`."""

    def resolve(reference: str) -> str:
        known = {"env:HOOK": "s3cret", "file:/url": webhook}
        if reference not in known:
            raise SetupError(f"{reference} is not set")
        return known[reference]

    notifiers = {"ops": NotifierConfig(webhook=webhook, secret=secret)}
    return WebhookSender(lambda: notifiers, resolve, **options)


def sent(to: WebhookSender, notification: Notification | None = None) -> str | None:
    """What a try says."""
    clock = FixedClock()
    notification = notification or note(1, created_at=clock.now(), due_at=clock.now())
    return asyncio.run(to.send(notification, clock.now()))


def test_a_notification_is_posted_as_json(receiver: Receiver) -> None:
    """With its id, so that a receiver knows one sent again; path and query of the URL are kept."""
    assert sent(sender(receiver.url + "?room=1")) is None
    (got,) = receiver.got
    assert got["path"] == "/hook?room=1"
    assert got["headers"]["content-type"] == "application/json"
    assert got["headers"]["x-airboss-notification"] == "n1"
    assert got["headers"]["host"] == receiver.url.split("/")[2]
    assert "x-airboss-signature" not in got["headers"]
    assert receiver.taken == [{"state": "firing", "value": 0.5, "id": "n1"}]


def test_a_notification_is_signed(receiver: Receiver) -> None:
    """A receiver that has the secret can tell that we sent it, and when."""
    assert sent(sender(receiver.url, "env:HOOK")) is None
    (got,) = receiver.got
    at, digest = (part.split("=")[1] for part in got["headers"]["x-airboss-signature"].split(","))
    expected = hmac.new(b"s3cret", f"{at}.{got['body']}".encode(), hashlib.sha256).hexdigest()
    assert hmac.compare_digest(digest, expected)
    assert int(at) == int(FixedClock().now().timestamp())
    assert signature(b"x", "s3cret", FixedClock().now()) != got["headers"]["x-airboss-signature"]


def test_the_url_may_be_a_secret_too(receiver: Receiver) -> None:
    """`file:` and `env:` stand for the URL; one that cannot be had is said, and tried again."""
    clock = FixedClock()
    notifiers = {"ops": NotifierConfig(webhook="file:/url")}
    to = WebhookSender(lambda: notifiers, lambda _reference: receiver.url)
    assert asyncio.run(to.send(note(1), clock.now())) is None
    assert sent(sender("env:MISSING")) == "env:MISSING is not set"
    bad = WebhookSender(lambda: notifiers, lambda _reference: "ftp://secret-place/x")
    said = asyncio.run(bad.send(note(1), clock.now()))
    assert said is not None
    assert "secret-place" not in said


@pytest.mark.parametrize("status", [302, 307, 400, 404, 500])
def test_only_a_2xx_is_a_yes(receiver: Receiver, status: int) -> None:
    """Redirects are not followed: they would lead past what was checked."""
    receiver.answer(status)
    assert sent(sender(receiver.url)) == f"127.0.0.1 answered {status}"
    assert [got["path"] for got in receiver.got] == ["/hook"]


def test_a_receiver_that_hangs_is_left(tmp_path: Path) -> None:
    """A try is bounded in time, whatever the other side does, and so is one at a closed port."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert sent(sender(f"http://127.0.0.1:{port}/", timeout_s=0.3)) == "no answer within 0.3 s"
    assert sent(sender(f"http://127.0.0.1:{port}/")) == "the connection failed: ConnectError"


def test_a_name_is_looked_up_once_and_checked(receiver: Receiver) -> None:
    """The connection goes to the address that was checked; metadata services are never asked."""
    asked: list[str] = []
    port = receiver.url.split(":")[2].split("/")[0]

    def lookup(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["169.254.169.254", "127.0.0.1"] if host == "good.example" else ["169.254.169.254"]

    assert sent(sender(f"http://good.example:{port}/hook", lookup=lookup)) is None
    assert receiver.got[0]["headers"]["host"] == f"good.example:{port}"
    said = sent(sender(f"http://evil.example:{port}/hook", lookup=lookup))
    assert said == "evil.example is at 169.254.169.254, where nothing is sent"
    assert asked == ["good.example", "evil.example"]
    assert len(receiver.got) == 1


@pytest.mark.parametrize("host", ["hooks..example.com", f"{'x' * 64}.example.com"])
def test_what_can_be_no_name_of_a_host_is_a_failure_like_others(host: str) -> None:
    """A slip in a URL is told of its notification, and ends nothing else."""
    assert sent(sender(f"http://{host}/hook")) == "the connection failed: gaierror"


def test_a_host_may_be_named_in_any_script(receiver: Receiver) -> None:
    """It is asked for in the form that HTTP has for it."""
    port = receiver.url.split(":")[2].split("/")[0]
    assert sent(sender(f"http://münchen.example:{port}/hook", lookup=lambda *_: ["127.0.0.1"])) is None
    assert receiver.got[0]["headers"]["host"] == f"xn--mnchen-3ya.example:{port}"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("x" * 60, "x" * 60),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ("[::1]", "[::1]"),
    ],
)
def test_the_name_of_a_host_is_told_without_its_port_in_it(
    receiver: Receiver, host: str, expected: str
) -> None:
    """The port follows the name in the form of HTTP, and is no part of what is put into that form."""
    port = receiver.url.split(":")[2].split("/")[0]
    assert sent(sender(f"http://{host}:{port}/hook", lookup=lambda *_: ["127.0.0.1"])) is None
    assert receiver.got[0]["headers"]["host"] == f"{expected}:{port}"


def test_a_host_that_http_has_no_form_for_is_a_failed_try() -> None:
    """Also where a resolver finds it."""
    to = sender("http://hooks..example.com/hook", lookup=lambda *_: ["127.0.0.1"])
    assert (sent(to) or "").startswith("the connection failed: Unicode")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.1.2.3", True),
        ("192.168.1.1", True),
        ("93.184.216.34", True),
        ("2606:2800::1", True),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("no address", False),
    ],
)
def test_addresses_that_are_sent_to(address: str, expected: bool) -> None:
    """Private ones are, link-local ones are not."""
    assert reachable(address) is expected


def test_a_notifier_that_is_gone_is_said() -> None:
    """The configuration may have changed since."""
    said = asyncio.run(WebhookSender(dict, str).send(note(1), FixedClock().now()))
    assert said == "the configuration has no notifier 'ops' any more"


def deliveries(store: SqlAlertStore, receiver: Receiver, clock: FixedClock) -> Deliveries:
    """Deliveries to the receiver."""
    return Deliveries(store, sender(receiver.url), clock)


def test_what_fails_is_tried_again_after_longer_and_longer(store: SqlAlertStore, receiver: Receiver) -> None:
    """Each try is recorded; when the receiver is well again, everything comes, in order, once."""
    clock = FixedClock()
    for number in (1, 2):
        store.add_notification(note(number, created_at=clock.now(), due_at=clock.now()))
    receiver.answer(500)
    pauses = []
    for _ in range(12):
        assert asyncio.run(deliveries(store, receiver, clock).tick()) == 1
        held = store.notification("n1")
        assert held is not None
        assert (held.state, held.error) == ("waiting", "127.0.0.1 answered 500")
        pauses.append((held.due_at - clock.at).total_seconds())
        assert asyncio.run(deliveries(store, receiver, clock).tick()) == 0
        clock.at = held.due_at
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == BACK_OFF_S_MAX
    receiver.answer(204)
    for _ in range(3):
        asyncio.run(deliveries(store, receiver, clock).tick())
    assert [each["id"] for each in receiver.taken] == ["n1", "n2"]
    assert [each.state for each in store.notifications("errors", limit=9)] == ["sent", "sent"]


def test_a_notifier_that_takes_its_time_holds_up_no_other(store: SqlAlertStore) -> None:
    """What comes while one is still being tried is sent at once, and that one is tried once at a time."""
    clock, asked = FixedClock(), []

    class Slow:
        async def send(self, notification: Notification, _now: Any) -> str | None:
            asked.append(notification.id)
            if notification.notifier == "slow":
                await asyncio.Event().wait()
            return None

    async def work() -> None:
        running = asyncio.create_task(Deliveries(store, Slow(), clock).run())
        for number, notifier in ((1, "slow"), (2, "ops")):
            store.add_notification(
                note(number, notifier=notifier, created_at=clock.now(), due_at=clock.now())
            )
            await asyncio.to_thread(until, lambda number=number: f"n{number}" in asked)
        await asyncio.to_thread(until, lambda: getattr(store.notification("n2"), "state", "") == "sent")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(work())
    assert asked == ["n1", "n2"]


def test_a_sender_that_breaks_ends_nothing(store: SqlAlertStore) -> None:
    """What it breaks on is a failed try, which is tried again later; the next notification is sent."""
    clock = FixedClock()

    class Broken:
        async def send(self, notification: Notification, _now: Any) -> str | None:
            return str(1 // 0) if notification.notifier == "broken" else None

    async def work() -> None:
        running = asyncio.create_task(Deliveries(store, Broken(), clock).run())
        for number, notifier in ((1, "broken"), (2, "ops")):
            store.add_notification(
                note(number, notifier=notifier, created_at=clock.now(), due_at=clock.now())
            )
            await asyncio.to_thread(
                until, lambda at=f"n{number}": getattr(store.notification(at), "attempts", 0)
            )
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(work())
    broken, well = store.notification("n1"), store.notification("n2")
    assert broken is not None
    assert well is not None
    assert (broken.state, broken.error) == ("waiting", "the try broke: ZeroDivisionError")
    assert broken.due_at > clock.now()
    assert well.state == "sent"


def test_a_ledger_that_is_away_is_no_failed_try(
    store: SqlAlertStore, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a notifier is stands in it: what is due goes once it answers, a test too, which is tried once."""
    clock, asked = FixedClock(), []

    def notifiers() -> dict[str, NotifierConfig]:
        asked.append(threading.current_thread())
        if len(asked) == 1:
            raise LedgerAway("terminating connection due to administrator command")
        return {"ops": NotifierConfig(webhook=receiver.url)}

    async def work() -> None:
        to = WebhookSender(notifiers, str)
        running = asyncio.create_task(
            Deliveries(store, Senders(notifiers, webhook=to, email=to), clock).run()
        )
        store.add_notification(note(1, kind="test", created_at=clock.now(), due_at=clock.now()))
        await asyncio.to_thread(until, lambda: getattr(store.notification("n1"), "state", "") != "waiting")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(work())
    told = store.notification("n1")
    assert told is not None
    assert (told.state, told.attempts) == ("sent", 1)
    assert not [each for each in caplog.records if each.levelname == "ERROR"]
    assert threading.main_thread() not in asked, "a ledger that hangs holds up whatever else is sent"


def test_a_notification_is_given_up_after_a_day() -> None:
    """Then it stands there as failed, with what the last try said, and holds up nothing any more."""
    clock = FixedClock()
    given = note(1, created_at=clock.now(), due_at=clock.now())
    clock.at += GIVE_UP - timedelta(seconds=1)
    assert settle(given, "no", clock).state == "waiting"
    clock.at += timedelta(seconds=1)
    failed = settle(given, "no", clock)
    assert (failed.state, failed.error, failed.ended_at) == ("failed", "no", clock.at)


def test_a_test_is_tried_once() -> None:
    """Whoever asks for it waits for the answer."""
    assert settle(note(1, kind="test"), "no", FixedClock()).state == "failed"


def test_one_slow_notifier_holds_up_no_other(store: SqlAlertStore, receiver: Receiver) -> None:
    """All that is due is tried at once."""
    clock = FixedClock()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        notifiers = {"ops": NotifierConfig(webhook=receiver.url), "slow": NotifierConfig(webhook=slow)}
        to = WebhookSender(lambda: notifiers, str, timeout_s=60.0)
        for number, notifier in ((1, "slow"), (2, "ops")):
            fields = {"notifier": notifier, "created_at": clock.now(), "due_at": clock.now()}
            store.add_notification(note(number, **fields))
        done = threading.Event()

        async def tick() -> None:
            work = asyncio.ensure_future(Deliveries(store, to, clock).tick())
            await asyncio.to_thread(until, lambda: receiver.taken)
            done.set()
            assert not work.done()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        asyncio.run(tick())
    assert done.is_set()
    assert msgspec.json.encode(receiver.taken[0]["id"]) == b'"n2"'


def test_slack_gets_what_it_takes(receiver: Receiver) -> None:
    """A line for people, with Slack's own characters escaped, and links to the alarm and to the calls; no
    signature."""
    sender = WebhookSender(lambda: {"ops": NotifierConfig(slack=receiver.url)}, lambda _: "")
    body = {
        "text": "a < b & c",
        "state": "firing",
        "link": "http://c/records?x=1",
        "page": "http://c/alerts/e",
    }
    clock = FixedClock()
    assert sent(sender, note(1, created_at=clock.now(), due_at=clock.now(), body=body)) is None
    (got,) = receiver.taken
    assert got["text"] == "a &lt; b &amp; c"
    assert got["blocks"][0]["text"]["text"].endswith("a &lt; b &amp; c")
    links = [each["text"] for each in got["blocks"][1]["elements"]]
    assert links == ["<http://c/alerts/e|Show the alarm>", "<http://c/records?x=1|Show the calls>"]
    assert set(got) == {"text", "blocks"}


def test_a_ledger_that_takes_no_writes_has_nothing_sent_twice(
    receiver: Receiver, store: SqlAlertStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken while its disk is full is not sent again; it is written down when there is room."""
    clock = FixedClock()
    store.add_notification(note(1, created_at=clock.now(), due_at=clock.now()))
    works, full = store.settle_notification, [True] * 3

    def settle_notification(notification: Notification) -> None:
        if full:
            full.pop()
            raise SetupError("the ledger cannot be written: No space left on device")
        works(notification)

    monkeypatch.setattr(store, "settle_notification", settle_notification)
    sending = deliveries(store, receiver, clock)
    for _ in range(3):
        with pytest.raises(SetupError):
            asyncio.run(sending.tick())
    assert asyncio.run(sending.tick()) == 1
    assert asyncio.run(sending.tick()) == 0
    assert len(receiver.taken) == 1
    assert [each.state for each in store.notifications("errors", limit=9)] == ["sent"]


def test_what_waits_in_the_ledger_comes_before_what_it_does_not_have_yet(
    receiver: Receiver, store: SqlAlertStore
) -> None:
    """That an alarm is over is told after that it fires: also where the ledger could not be told that this
    was sent. What a ledger has that says it failed is its to send; one that cannot be read holds up
    nothing."""
    clock = FixedClock()
    fired, over, other = (
        note(number, created_at=clock.now(), due_at=clock.now(), **fields)
        for number, fields in ((1, {}), (2, {"kind": "resolved"}), (3, {"notifier": "others"}))
    )
    store.add_notification(fired)
    sending = Deliveries(store, sender(receiver.url), clock, untaken=lambda: (over, other))
    assert sending._due_untaken() == [other]
    asyncio.run(sending._send(fired))
    assert sending._due_untaken() == [over, other], "sent, and the ledger does not know"
    store.put_alarms([], notifications=[other])
    store.settle_notification(msgspec.structs.replace(other, state="sent", ended_at=clock.now()))
    assert sending._due_untaken() == [over], "not sent again"
    store.close()
    gone = Deliveries(Unreadable(), sender(receiver.url), clock, untaken=lambda: (over, other))  # type: ignore[arg-type]
    assert gone._due_untaken() == [over, other]


def test_what_waits_when_a_silence_begins_waits_for_its_end(receiver: Receiver, store: SqlAlertStore) -> None:
    """A receiver that is back in the meantime hears of other alarms, however many of the silenced wait
    before; then of these. What is not in the ledger yet waits too."""
    clock = FixedClock()
    quiet = {"errors"}
    late = note(90, created_at=clock.now(), due_at=clock.now())
    sending = Deliveries(
        store, sender(receiver.url), clock, untaken=lambda: (late,), silenced=lambda _now: quiet
    )
    assert sending._due_untaken() == []
    for number in range(AT_ONCE + 5):
        alarm = f"quiet{number}"
        quiet.add(alarm)
        store.add_notification(note(number, alarm=alarm, created_at=clock.now(), due_at=clock.now()))
    store.add_notification(note(50, alarm="other", created_at=clock.now(), due_at=clock.now()))
    assert asyncio.run(sending.tick()) == 1
    assert [each["id"] for each in receiver.taken] == ["n50"]
    quiet.clear()
    assert asyncio.run(sending.tick()) == AT_ONCE
    assert sending._due_untaken() == [late]


class Unreadable:
    """A ledger whose disk is gone."""

    def waiting(self) -> tuple[tuple[str, str, str], ...]:
        """Cannot be had."""
        raise SetupError("the ledger cannot be read")


def test_what_the_ledger_does_not_have_yet_is_sent_from_memory(
    receiver: Receiver, store: SqlAlertStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order and once, after failures too; what became of it is written down when the ledger has it."""
    clock = FixedClock()
    first, second = (note(n, created_at=clock.now(), due_at=clock.now()) for n in (1, 2))
    untaken = [first, second]
    monkeypatch.setattr("airboss.controller.notify.POLL_S", 0.01)
    sending = Deliveries(store, sender(receiver.url), clock, untaken=lambda: tuple(untaken))

    def both_taken() -> bool:
        clock.at += timedelta(seconds=5)  # also where the failure is noted only now
        return len(receiver.taken) == 2

    async def told() -> None:
        running = asyncio.create_task(sending.run())
        try:
            receiver.answer(503)
            await asyncio.to_thread(until, lambda: len(receiver.got) == 1)
            receiver.answer(204)
            await asyncio.to_thread(until, both_taken)
            for each in untaken:
                store.add_notification(each)
            untaken.clear()
            sent = ["sent", "sent"]
            await asyncio.to_thread(
                until, lambda: [each.state for each in store.notifications("errors", limit=9)] == sent
            )
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(told())
    assert [each["id"] for each in receiver.taken] == ["n1", "n2"]
    assert len(receiver.got) == 3
    assert [each.attempts for each in store.notifications("errors", limit=9)] == [1, 2]
