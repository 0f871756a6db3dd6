"""Alerts: where each alarm stands, what it went through, who was told, and how to be left in peace."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from airboss.config.checks_watch import seconds
from airboss.console import api_alarms
from airboss.console.api_alarms import Alarm, AlarmPage, Alarms, Tested
from airboss.console.desk import Desk
from airboss.console.page import Action, Form, Page, drawn
from airboss.console.query import check_names, iso
from airboss.console.render import Templates, Visit, url
from airboss.console.route import Call
from airboss.console.text import NB, milliseconds, usd
from airboss.domain.errors import InvalidRequest

ORDER = {"firing": 0, "pending": 1, "no_data": 2, None: 3, "resolved": 4, "ok": 5}
"""What wants to be seen first."""

LENGTHS = ("30m", "2h", "8h", "24h", "7d")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm with its numbers in words; `records` leads to the calls it is about."""

    alarm: Alarm
    value: str | None
    threshold: str
    records: str


def listing(desk: Desk, templates: Templates, seen: Visit) -> str:
    """Every alarm, those that want something first."""
    check_names(seen.params, ())
    found = api_alarms.alarms(desk, asking(seen))
    assert isinstance(found, Alarms)
    listed = sorted(found.alarms, key=lambda each: (ORDER[each.state], each.name))
    return drawn(desk, templates, seen, "alerts.html", alarms=[shown(each, seen.now) for each in listed])


def one(desk: Desk, templates: Templates, seen: Visit) -> str:
    """One alarm."""
    check_names(seen.params, ())
    found = api_alarms.alarm(desk, asking(seen))
    assert isinstance(found, AlarmPage)
    return drawn(
        desk,
        templates,
        seen,
        "alert.html",
        a=shown(found.alarm, seen.now),
        events=[(each, words(found.alarm.metric, each.value)) for each in found.events],
        notifications=found.notifications,
        lengths=LENGTHS,
    )


def asking(seen: Visit) -> Call:
    """The call that a program would make."""
    return Call(params={}, path=seen.parts, body=b"", now=seen.now)


def shown(alarm: Alarm, now: datetime) -> Shown:
    """An alarm for a page."""
    return Shown(
        alarm=alarm,
        value=words(alarm.metric, alarm.value),
        threshold=words(alarm.metric, alarm.threshold) or "",
        records=records(alarm, now),
    )


def words(metric: str, value: float | None) -> str | None:
    """A value with its unit; None where there is none."""
    if value is None:
        return None
    if metric == "error_rate":
        return f"{100 * value:.2f}{NB}%"
    if metric.startswith(("latency", "ttft")):
        return milliseconds(value)
    if metric == "cost_usd":
        return usd(value)
    return f"{value:,.0f}{NB}calls" if metric == "requests" else f"{value:.3f}"


def records(alarm: Alarm, now: datetime) -> str:
    """The calls that an alarm is about: those of its window, from before it began."""
    window = timedelta(seconds=seconds(alarm.window) or 0)
    began = alarm.since if alarm.state in ("firing", "pending") and alarm.since is not None else now
    asked = {"deployment": alarm.deployment, "since": iso((began - window).replace(microsecond=0))}
    if alarm.metric == "error_rate":
        asked["status"] = "error"
    elif alarm.metric.startswith("score:"):
        sign = ">" if alarm.comparison == "above" else "<"
        asked["score"] = f"{alarm.metric.removeprefix('score:')}{sign}{alarm.threshold:g}"
    return url("/records", asked)


def silence(desk: Desk, form: Form) -> str:
    """Tell nobody of an alarm for a while."""
    api_alarms.silence_alarm(
        desk, form.call({"for": form.needed("for", most=20), "reason": form.needed("reason")})
    )
    return url_of(form)


def unsilence(desk: Desk, form: Form) -> str:
    """Tell of it again."""
    api_alarms.silence_alarm(desk, form.call({"for": ""}))
    return url_of(form)


def test(desk: Desk, form: Form) -> str:
    """Send a test to all whom an alarm notifies."""
    tested = api_alarms.test_alarm(desk, form.call())
    assert isinstance(tested, Tested)
    failed = [each for each in tested.notifications if each.state == "failed"]
    if failed:
        causes = "; ".join(f"{each.notifier}: {each.error or 'no cause was given'}" for each in failed)
        raise InvalidRequest(f"the test did not arrive: {causes}", code="test_failed")
    return url_of(form)


def url_of(form: Form) -> str:
    """The alarm's page."""
    return f"/alerts/{form.parts['name']}"


PAGES: tuple[Page, ...] = (
    Page(path="/alerts", draw=listing, room="alerts"),
    Page(path="/alerts/{name}", draw=one, room="alerts"),
)
"""The pages of this module."""

ACTIONS: tuple[Action, ...] = (
    Action(
        name="alert.silence",
        path="/alerts/{name}/silence",
        act=silence,
        done="Silenced: nobody is told of it until then. It is still watched and shown.",
    ),
    Action(
        name="alert.unsilence",
        path="/alerts/{name}/unsilence",
        act=unsilence,
        done="The silence has ended; whoever is to be told is told again.",
    ),
    Action(
        name="alert.test",
        path="/alerts/{name}/test",
        act=test,
        done="A test was sent; below is what became of it.",
    ),
)
"""What its forms do."""
