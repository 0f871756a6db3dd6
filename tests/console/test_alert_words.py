"""What the page of an alarm says of its numbers, and of who was told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from airboss.console.views_alerts import amount
from airboss.store.alert_rows import Notification, Silence
from tests.console.looped import LoopSite, opened
from tests.console.test_pages import hrefs, shown
from tests.support.seed_alarms import row
from tests.support.seed_loop import CONFIG, OLD_PROMPT


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LoopSite]:
    """A console over an Airboss with one deployment."""
    with opened(tmp_path) as site:
        site.loop.apply(OLD_PROMPT)
        yield site


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("tokens_per_s", 61.38, "61.4 tok/s"),
        ("tokens_per_s", 3_679.4, "3,679.4 tok/s"),
        ("output_tokens", 1.0, "1 token"),
        ("input_tokens", 20_000.0, "20,000 tokens"),
        ("requests", 1.0, "1 call"),
        ("error_rate", 0.0512, "5.12 %"),
        ("budget", 0.875, "88 %"),
        ("score:right", 0.7, "0.700"),
    ],
)
def test_a_value_has_its_own_unit(metric: str, value: float, said: str) -> None:
    """A speed is no number of tokens, and one is one."""
    assert amount(metric, value).replace("\u00a0", " ") == said


def test_one_that_fires_in_a_silence_is_not_said_to_have_never_fired(fresh: LoopSite) -> None:
    """Nobody was told, because nobody is to be."""
    at = fresh.loop.clock.at
    fires = row(fresh.loop, "errors", "error_rate", bound=0.1, phase="firing", since=at, value=0.5)
    fresh.loop.alerts.put_alarms([fires])
    page = shown(fresh.person(), "/alerts/errors").text
    assert "Nobody yet." in page
    assert "it has not fired" not in page
    fresh.loop.alerts.silence(
        "errors", Silence(until=at + timedelta(hours=1), reason="known", by="ann", at=at)
    )
    assert (
        "what still holds when the silence ends is told then" in shown(fresh.person(), "/alerts/errors").text
    )


def test_the_window_of_a_burn_rate_is_that_which_it_is_seen_over(fresh: LoopSite) -> None:
    """Not the one that other kinds have by default."""
    slo = '[alarms.burn]\ndeployment = "support"\nslo = { target = 0.99 }\n'
    fresh.loop.apply(OLD_PROMPT, text=CONFIG + slo)
    at = fresh.loop.clock.at
    burns = row(fresh.loop, "burn", "good calls", bound=1.0, phase="firing", since=at, value=4.98)
    rule = msgspec.structs.replace(burns.rule, kind="burn_rate")
    memory = {"long_s": 259_200, "failed": True}
    fresh.loop.alerts.put_alarms([msgspec.structs.replace(burns, rule=rule, memory=memory)])
    answer = fresh.program().get("/api/v1/alarms/burn")
    assert answer.json()["alarm"]["window"] == "3d"


def test_an_alarm_that_has_become_another_is_shown_before_its_next_look(fresh: LoopSite) -> None:
    """What it keeps is of the kind that it was."""
    at = fresh.loop.clock.at
    was = row(fresh.loop, "burn", "error_rate", bound=0.1, phase="firing", since=at, value=0.5)
    rule = msgspec.structs.replace(was.rule, kind="sequential")
    fresh.loop.alerts.put_alarms([msgspec.structs.replace(was, rule=rule, memory={"of": "error_rate/0.01"})])
    slo = '[alarms.burn]\ndeployment = "support"\nslo = { target = 0.99 }\n'
    fresh.loop.apply(OLD_PROMPT, text=CONFIG + slo)
    for path in ("/alerts", "/alerts/burn"):
        assert "burn" in shown(fresh.person(), path).text
    assert fresh.program().get("/api/v1/alarms/burn").status_code == 200


def test_what_waits_says_when_it_is_tried_again(fresh: LoopSite) -> None:
    """And what waits behind it is not said to have been tried."""
    at = fresh.loop.clock.at
    first, later = (
        Notification(
            id=name,
            alarm="errors",
            notifier="ops",
            kind="firing",
            created_at=at,
            due_at=at + timedelta(minutes=5),
            body={},
            attempts=attempts,
            error=error,
        )
        for name, attempts, error in (("a", 3, "it answered 500"), ("b", 0, None))
    )
    fresh.loop.alerts.put_alarms([], notifications=[first, later])
    text = shown(fresh.person(), "/alerts/errors").text
    assert "it answered 500 again " in text
    assert "not tried yet" in text
    assert "tried again" not in text


def test_one_that_fires_and_sees_nothing_says_so(fresh: LoopSite) -> None:
    """Just after a start, say: nothing unknown is above a bound."""
    at, why = fresh.loop.clock.at, "the record store has not been asked yet"
    fires = row(fresh.loop, "errors", "error_rate", bound=0.1, phase="firing", since=at, why=why)
    fresh.loop.alerts.put_alarms([fires])
    text = shown(fresh.person(), "/alerts").text
    assert f"nothing to measure now: {why}." in text
    assert "unknown" not in text


def test_one_that_watches_some_calls_says_which(fresh: LoopSite) -> None:
    """On both pages and in the API; its links lead to these calls, and a key that is not there is told."""
    app = '[alarms.app]\ndeployment = "support"\nmetric = "error_rate"\nabove = 0.1\n'
    where = 'where = { key = "ap<p", tag = "a=b" }\n'
    answer = fresh.program().post("/api/v1/config", json={"config": CONFIG + app + where})
    said = [each for each in answer.json()["warnings"] if "alarms.app" in each]
    assert said == ['alarms.app.where.key: there is no key "ap<p" yet; there are none']
    fires = row(
        fresh.loop, "app", "error_rate", bound=0.1, phase="firing", since=fresh.loop.clock.at, value=0.5
    )
    fresh.loop.alerts.put_alarms([fires])
    for path in ("/alerts", "/alerts/app"):
        page = shown(fresh.person(), path)
        assert "support (key ap<p, tag a=b)" in page.text
        links = [each for each in hrefs(page) if each.startswith("/records?") and "tag=a%3Db" in each]
        assert len(links) >= 2
        assert all("key=ap%3Cp" in each and "deployment=support" in each for each in links)
    alarm = fresh.program().get("/api/v1/alarms/app").json()["alarm"]
    assert alarm["where"] == {"key": "ap<p", "tag": "a=b"}
