"""What was spent in a week or month is told to each notifier once, when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.config import Config, NotifierConfig, SummaryConfig
from airboss.controller.summing import LATE, ROWS, TELLABLE, Summaries, begin_of, untold
from airboss.controller.webhook import slack
from airboss.domain.errors import StoreUnavailable
from airboss.store.alert_rows import Notification
from airboss.store.alerts import SqlAlertStore
from airboss.store.memory import MemoryRecordLog
from tests.console.site import put, sample
from tests.controller.journals import FixedClock

DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
TEAMS = {"notebooks": "research", "summaries": "research"}


@dataclass
class House:
    """An Airboss whose November is over."""

    store: SqlAlertStore
    log: MemoryRecordLog = field(default_factory=MemoryRecordLog)
    clock: FixedClock = field(default_factory=FixedClock)
    config: Config = field(default_factory=Config)

    def chore(self) -> Summaries:
        """The chore, as after a start."""
        return Summaries(
            config=lambda: self.config,
            records=self.log,
            alerts=self.store,
            teams=lambda: TEAMS,
            console_url=lambda: "https://airboss.example.com/",
            redact=lambda text: text.replace("s3cret", "[REDACTED]"),
            clock=self.clock,
        )

    def wants(self, *notifiers: str, **summary: Any) -> None:
        """Summaries are wanted from now on."""
        known = {name: NotifierConfig(webhook="https://hooks.example.com") for name in notifiers}
        self.config = Config(summaries={"spend": SummaryConfig(**summary)}, notifiers=known)

    def calls(self, key: str, at: datetime, usd: str | None, count: int = 1, **changes: Any) -> None:
        """So many calls, each at this price."""
        for _ in range(count):
            cost = Decimal(usd) if usd is not None else None
            put(self.log, sample(id=_next(), key=key, started_at=at, cost_usd=cost, **changes))

    def told(self) -> list[Notification]:
        """All that anybody is to be told."""
        found = self.store.due(self.clock.now() + timedelta(days=1), limit=1_000)
        assert all(each.kind == "summary" for each in found)
        return list(found)


_numbers: Iterator[int] = iter(range(10_000))


def _next() -> str:
    return f"01931f2a-0000-7000-8000-{next(_numbers):012}"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """November has calls of two teams, and December has begun."""
    store = SqlAlertStore(f"sqlite:///{tmp_path / 'ledger.db'}")
    made = House(store)
    made.calls("notebooks", DECEMBER - timedelta(days=29), "10.5", 2)
    made.calls("summaries", DECEMBER - timedelta(seconds=1), "1.25")
    made.calls("alone", DECEMBER - timedelta(days=3), "0.0021")
    made.calls("alone", DECEMBER - timedelta(days=3), None)
    made.calls("notebooks", DECEMBER, "99")
    made.calls("notebooks", DECEMBER - timedelta(days=30, seconds=1), "77")
    made.clock.at = DECEMBER + LATE
    yield made
    store.close()


def test_a_month_by_team(house: House) -> None:
    """All of it and nothing else, the dearest first, in words, numbers and with a way to the calls."""
    house.wants("ops")
    house.chore().tick()
    (one,) = house.told()
    assert one.notifier == "ops"
    assert one.body["text"].splitlines() == [
        "spent November 2026 (UTC), by team: 22.25 USD in 5 calls",
        "research: 22.25 USD in 3 calls",
        "no team: 0.0021 USD in 2 calls",
        "what 1 of the calls cost is not known",
    ]
    assert one.body["cost_usd"] == pytest.approx(22.2521)
    assert [each["name"] for each in one.body["rows"]] == ["research", None]
    explored = "https://airboss.example.com/explore?group_by=team&metric=cost_usd&since=2026-11-01T"
    assert one.body["link"].startswith(explored)
    assert "research: 22.25 USD" in slack(one.body)["text"]


@pytest.mark.parametrize("by", ["key", "deployment"])
def test_by_something_else(house: House, by: str) -> None:
    """By key or by deployment; a secret that a name has does not leave; of many the rest is one line."""
    for number in range(ROWS + 3):
        house.calls(f"s3cret{number}", DECEMBER - timedelta(days=2), "0.5", deployment=f"s3cret{number}")
    house.wants("ops", by=by)
    house.chore().tick()
    text = house.told()[0].body["text"]
    assert "s3cret" not in str(house.told()[0].body)
    assert "[REDACTED]" in text
    assert " others: " in text


def test_the_dearest_come_first_and_few_of_them(house: House) -> None:
    """Whoever calls most may have spent least."""
    for number in range(ROWS + 3):
        house.calls(f"k{number}", DECEMBER - timedelta(days=2), f"{number}.5", count=30 if number == 0 else 1)
    house.wants("ops", by="key")
    house.chore().tick()
    body = house.told()[0].body
    spent = [each["cost_usd"] for each in body["rows"]]
    assert (len(spent), spent) == (ROWS, sorted(spent, reverse=True))
    assert body["rows"][0] == {"name": "k22", "cost_usd": 22.5, "requests": 1}
    assert body["text"].splitlines()[1] == "k22: 22.50 USD in 1 call"
    assert body["requests"] == ROWS + 3 + 29 + 5


def test_what_was_told_is_not_added_up_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A week of minutes would each read the month."""
    house.wants("ops")
    house.chore().tick()
    monkeypatch.setattr(house.log, "usage", lambda _asked: pytest.fail("the records were read again"))
    house.clock.at += timedelta(hours=1)
    house.chore().tick()
    assert len(house.told()) == 1


def test_a_week(house: House) -> None:
    """From Monday to Sunday: the first of December is a Tuesday."""
    house.wants("ops", period="weekly", by="key")
    house.chore().tick()
    text = house.told()[0].body["text"]
    assert text.startswith("spent 2026-11-23 to 2026-11-29 (UTC), by key: 0.0021 USD in 2 calls")
    assert begin_of("weekly", DECEMBER) == DECEMBER - timedelta(days=1)
    assert begin_of("monthly", DECEMBER - timedelta(seconds=1)) == datetime(2026, 11, 1, tzinfo=UTC)


def test_nothing_was_called(house: House) -> None:
    """Is told too: who hears nothing would not know why."""
    house.clock.at = datetime(2027, 3, 1, tzinfo=UTC) + LATE
    house.wants("ops")
    house.chore().tick()
    assert house.told()[0].body["text"] == "spent February 2027 (UTC), by team: 0.00 USD in 0 calls"


def test_each_is_told_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whichever controller, and whichever of them was killed where; who is new within the week, too."""
    house.wants("ops", "chat")
    taken: list[Notification] = []
    keep = house.store.add_notification

    def dies_after_one(notification: Notification) -> None:
        if taken:
            raise KeyboardInterrupt
        taken.append(notification)
        keep(notification)

    monkeypatch.setattr(house.store, "add_notification", dies_after_one)
    with pytest.raises(KeyboardInterrupt):
        house.chore().tick()
    monkeypatch.undo()
    for _ in range(3):
        chore = house.chore()
        chore.tick()
        house.clock.at += timedelta(hours=1)
        chore.tick()
    assert sorted(each.notifier for each in house.told()) == ["chat", "ops"]
    for each in house.told():
        sent = msgspec.structs.replace(each, state="sent", ended_at=house.clock.now())
        house.store.settle_notification(sent)
    house.wants("ops", "chat", "mail")
    house.chore().tick()
    assert [each.notifier for each in house.told()] == ["mail"]


def test_who_was_not_told_is_known(house: House) -> None:
    """With why, until a later one reaches them or they are not to be told any more: what nobody gets nobody
    misses."""
    house.wants("ops", "chat")
    house.chore().tick()
    assert untold(house.config, house.store) == ()
    for each in house.told():
        house.store.settle_notification(
            msgspec.structs.replace(
                each, state="failed" if each.notifier == "ops" else "waiting", error="HTTP 404", attempts=3
            )
        )
    assert sorted(untold(house.config, house.store)) == [
        "the summary of spend did not reach chat (tried again): HTTP 404",
        "the summary of spend did not reach ops (given up): HTTP 404",
    ]
    house.wants("ops", "chat", notify=("ops",))
    assert len(untold(house.config, house.store)) == 1
    house.clock.at = datetime(2027, 1, 1, tzinfo=UTC) + LATE
    house.chore().tick()
    house.store.settle_notification(msgspec.structs.replace(house.told()[-1], state="sent"))
    assert untold(house.config, house.store) == ()


@pytest.mark.parametrize(
    ("notify", "told"), [(None, ["chat", "ops"]), (("chat",), ["chat"]), ((), []), (("ops", "ops"), ["ops"])]
)
def test_who_is_told(house: House, notify: tuple[str, ...] | None, told: list[str]) -> None:
    """Those that are named; else all."""
    house.wants("ops", "chat", notify=notify)
    house.chore().tick()
    assert sorted(each.notifier for each in house.told()) == told


@pytest.mark.parametrize(
    ("after", "told"), [(timedelta(0), 0), (LATE - timedelta(seconds=1), 0), (LATE, 1), (TELLABLE, 0)]
)
def test_when(house: House, after: timedelta, told: int) -> None:
    """An hour after the end, when late calls have come; within a week of it."""
    house.clock.at = DECEMBER + after
    house.wants("ops")
    house.chore().tick()
    assert len(house.told()) == told


def test_a_store_that_is_away_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told of it, and it is told when it is back."""
    house.wants("ops")
    usage: Callable[..., Any] = house.log.usage

    def away(_asked: object) -> Any:
        raise StoreUnavailable("it is away")

    monkeypatch.setattr(house.log, "usage", away)
    chore = house.chore()
    with pytest.raises(StoreUnavailable):
        chore.tick()
    assert house.told() == []
    monkeypatch.setattr(house.log, "usage", usage)
    chore.tick()
    assert house.told() == []
    house.clock.at += timedelta(minutes=1)
    chore.tick()
    assert len(house.told()) == 1
