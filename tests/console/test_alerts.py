"""Alerts on pages: the bell, where alarms stand, silences, tests."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from airboss.config import Config
from airboss.console import api_alarms
from airboss.domain.plan import Budget
from airboss.governance.keys import Terms, bound, made, new_key
from airboss.store.alert_rows import Notification, Silence
from tests.console.looped import LoopSite, pressed
from tests.console.site import Site
from tests.console.test_pages import HOSTILE, Page, hrefs, shown
from tests.support.kept_keys import put_key
from tests.support.seed_alarms import row
from tests.support.seed_loop import CONFIG, OLD_PROMPT


def test_the_bell_counts_what_fires(week: LoopSite, site: Site) -> None:
    """On every page, with a word for those who do not see it."""
    for path in ("/", "/records", "/deployments", "/quality", "/system"):
        assert "1 alarm fires" in shown(week.person(), path).text
    assert "0 alarms fire" in shown(site.person(), "/system").text


def test_alarms_stand_in_the_order_of_their_need(week: LoopSite) -> None:
    """Firing first; value beside threshold with units, since when, whom it tells, a silence with its end."""
    page = shown(week.person(), "/alerts")
    text = page.text.replace("\u00a0", " ")
    found = [each.rpartition("/")[2] for each in hrefs(page) if each.startswith("/alerts/")]
    assert found[:2] == ["errors", "errors"]  # it is told above, and heads the table
    names = found[1:]
    assert [each for each in names if "." not in each] == ["errors", "unhappy", "spend", "slow"]
    assert names[0] == "errors"
    assert "support.traffic" in names
    for words in (
        "8.30 %",
        "above 5.00 %",
        "812 ms",
        "above 4.00 s",
        "no data",
        "silenced until",
        "below 0.700",
    ):
        assert words in text
    assert "errors since" in text


@pytest.mark.parametrize(("value", "well"), [(0.2, False), (0.05, True), (0.01, True), (None, False)])
def test_one_that_fires_and_is_well_again_says_so(fresh: LoopSite, value: float | None, well: bool) -> None:
    """Until it has been well for long enough it fires; that 1 % were above 5 % is not said."""
    fresh.loop.apply(OLD_PROMPT)
    at = fresh.loop.clock.at
    given = row(fresh.loop, "errors", "error_rate", bound=0.05, phase="firing", since=at, value=value)
    fresh.loop.alerts.put_alarms([given], notifications=[])
    text = shown(fresh.person(), "/alerts").text.replace("\u00a0", " ")
    assert ("no longer above 5.00 %" in text) == well
    assert ("It ends once that has lasted" in text) == well


def test_the_overview_tells_of_alarms_that_fire(week: LoopSite) -> None:
    """Nothing is said to be well beside a bell that has one; its page is one link away."""
    page = shown(week.person(), "/")
    assert "The alarm errors fires since" in page.text
    assert "error_rate of support is 8.30 %, above 5.00 %" in page.text.replace("\u00a0", " ")
    assert "Nothing is wrong" not in page.text
    assert "/alerts/errors" in hrefs(page)


def test_a_full_disk_is_measured_over_no_time(week: LoopSite) -> None:
    """It is full or not, whatever happened in an hour."""
    text = shown(week.person(), "/alerts/airboss.disk-full").text.replace("\u00a0", " ")
    assert "less than 256 MiB left on its disk, for 30s" in text
    assert "over 1h" not in text


def test_one_that_fires_at_once_lasts_no_time(week: LoopSite) -> None:
    """No alarm is said to hold for 0 s."""
    for path in ("/alerts", "/alerts/airboss.dead-letters"):
        page = shown(week.person(), path).text
        assert "dead-letters" in page
        assert re.search(r"\b0s\b", page) is None, path


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("errors", ["deployment=support", "status=error", "since=2026-11-24T14%3A09%3A20Z"]),
        ("unhappy", ["deployment=support", "score=helpfulness%3C0.7"]),
        ("slow", ["deployment=search-rewrite"]),
    ],
)
def test_the_offending_calls_are_one_link_away(week: LoopSite, name: str, asked: list[str]) -> None:
    """Of the window before it began, those that break the bound where calls can be asked for so."""
    person = week.person()
    page = shown(person, f"/alerts/{name}")
    (link,) = [each for each in hrefs(page) if each.startswith("/records?") and "since=" in each]
    assert all(each in link for each in asked), link
    assert person.get(link).status_code == 200


def test_one_alarm_has_what_was_sent_and_what_it_went_through(week: LoopSite) -> None:
    """Sent and failed notifications with tries and cause; events with the value."""
    text = shown(week.person(), "/alerts/errors").text
    for words in ("sent", "failed", "connection refused", "pending to firing", "ok to pending", "ops"):
        assert words in text
    assert week.person().get("/alerts/none").status_code == 404
    assert "It tells nobody" in shown(week.person(), "/alerts/unhappy").text


@pytest.mark.parametrize(("name", "told"), [("errors", "ops"), ("unhappy", "Nobody.")])
def test_who_is_told_stands_under_its_heading(week: LoopSite, name: str, told: str) -> None:
    """Before the buttons, for those who may press them too."""
    text = shown(week.person(), f"/alerts/{name}").text
    assert told in text[text.index("Who is told") : text.index("Silence", text.index("Who is told"))]


def test_a_silence_by_form(fresh: LoopSite) -> None:
    """For so long, with a reason, noted; ended by its button; refused without a reason or an end."""
    fresh.loop.apply(OLD_PROMPT)
    person = fresh.person()
    for fields in ({"for": "2h"}, {"reason": "x"}, {"for": "99d", "reason": "x"}):
        assert pressed(person, "/alerts/errors/silence", **fields).status_code == 400
    assert fresh.loop.alerts.silences() == {}
    answer = pressed(person, "/alerts/errors/silence", **{"for": "2h", "reason": "<i>known</i>"})
    assert answer.headers["location"] == "/alerts/errors"
    silence = fresh.loop.alerts.silences()["errors"]
    assert (silence.until - fresh.loop.clock.at, silence.by) == (timedelta(hours=2), "console")
    page = shown(person, "/alerts/errors")
    assert "Silenced: nobody is told" in page.text
    assert "<i>known</i>" in page.text
    assert "i" not in [tag for tag, _ in page.tags]
    assert pressed(person, "/alerts/errors/unsilence").status_code == 303
    assert fresh.loop.alerts.silences().get("errors") is None
    actions = [entry[:2] for entry in fresh.audit.entries]
    assert actions[1:] == [("alert.silence", "console"), ("alert.unsilence", "console")]


def test_a_test_by_form(fresh: LoopSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept to be sent; an alarm that tells nobody has no such button, and refuses."""
    monkeypatch.setattr(api_alarms, "TEST_S", 0.0)
    fresh.loop.apply(OLD_PROMPT)
    person = fresh.person()
    assert "/alerts/errors/test" in shown(person, "/alerts/errors").values("action")
    assert pressed(person, "/alerts/errors/test").status_code == 303
    (note,) = fresh.loop.alerts.notifications("errors#test", limit=9)
    assert (note.kind, note.state) == ("test", "waiting")
    assert note.body["page"].endswith("/alerts/errors")
    assert "/alerts/unhappy/test" not in shown(person, "/alerts/unhappy").values("action")
    assert pressed(person, "/alerts/unhappy/test").status_code == 400


def test_an_empty_page_teaches(fresh: LoopSite) -> None:
    """A table to paste and a command; with alarms that nobody has looked at yet it says that."""
    page = shown(fresh.person(), "/alerts")
    assert "[alarms.errors]" in page.text
    assert "airboss apply airboss.toml" in page.text
    fresh.loop.apply(OLD_PROMPT)
    assert "not looked at yet" in shown(fresh.person(), "/alerts").text


def test_a_budget_of_a_key_has_an_alarm(fresh: LoopSite) -> None:
    """Of the key, not of a deployment, with the part that is spent; of a key without one there is none."""
    fresh.loop.apply(OLD_PROMPT)
    for name, budget in (("app", Budget(usd=Decimal(20))), ("free", None)):
        terms, now = Terms(budget=budget), fresh.loop.clock.at
        put_key(fresh.loop.ledger, bound(made(None, name, new_key(), terms=terms, now=now), Config()))
    spent = row(fresh.loop, "app.budget", "budget", bound=0.8, phase="firing", since=fresh.loop.clock.at)
    rule = msgspec.structs.replace(spent.rule, kind="budget", key="app", deployment="")
    spent = msgspec.structs.replace(spent, rule=rule, value=0.875, detail="$17.50 of $20.00 this month")
    fresh.loop.alerts.put_alarms([spent], notifications=[])
    for path in ("/alerts", "/alerts/app.budget"):
        page = shown(fresh.person(), path)
        text = page.text.replace("\u00a0", " ")
        assert {"/governance/keys/app"} <= set(hrefs(page))
        for words in ("88 %", "above 80 %", "$17.50 of $20.00 this month"):
            assert words in text, path
        assert any(each.startswith("/records?key=app&") and "costliest" in each for each in hrefs(page)), path
    assert "free.budget" not in shown(fresh.person(), "/alerts").text
    fresh.loop.apply(OLD_PROMPT, text=f"{CONFIG}\n[teams.ops]\nbudget = {{ usd = 20 }}\n")
    rule = msgspec.structs.replace(rule, name="ops.team-budget", key="", team="ops")
    fresh.loop.alerts.put_alarms([msgspec.structs.replace(spent, rule=rule)], notifications=[])
    for path in ("/alerts", "/alerts/ops.team-budget"):
        page = shown(fresh.person(), path)
        assert "88 %" in page.text.replace("\u00a0", " ")
        assert "Show what its keys spent" in page.text
        assert "Show what was lost" not in page.text
        assert "/explore?group_by=team%2Ckey&metric=cost_usd&range=30d" in hrefs(page)
    fresh.loop.apply(OLD_PROMPT, text=f"{CONFIG}\n[tags.project]\nbudget = {{ usd = 20 }}\n")
    rule = msgspec.structs.replace(rule, name="project.tag-budget", team="", tag="project")
    fresh.loop.alerts.put_alarms([msgspec.structs.replace(spent, rule=rule)], notifications=[])
    for path in ("/alerts", "/alerts/project.tag-budget"):
        page = shown(fresh.person(), path)
        assert "Show what its values spent" in page.text
        assert "/explore?group_by=tag%3Aproject&metric=cost_usd&range=30d" in hrefs(page)
        assert shown(fresh.person(), "/explore?group_by=tag%3Aproject&metric=cost_usd&range=30d")


def test_alarms_without_anything_to_measure_do_not_fill_the_page(fresh: LoopSite) -> None:
    """Of many deployments' default alarms it says how many wait, and shows them when asked; one that was
    written stays, and so do a few."""
    fresh.loop.apply(OLD_PROMPT)
    one = shown(fresh.person(), "/alerts")
    assert "/alerts/support.errors" in hrefs(one)
    assert "have nothing to measure now" not in one.text
    more = "".join(f'\n[deployments.more-{at}]\nrelease = "support"\n' for at in range(4))
    mine = '[alarms.mine]\nmetric = "error_rate"\ndeployment = "more-1"\nabove = 0.1\n'
    fresh.loop.apply(OLD_PROMPT, text=CONFIG + more + mine)
    quiet = row(fresh.loop, "more-1.errors", "error_rate", bound=0.1, phase="ok", since=fresh.loop.clock.at)
    fresh.loop.alerts.put_alarms([quiet], notifications=[])
    many = shown(fresh.person(), "/alerts")
    assert "default alarms have nothing to measure now" in many.text
    assert "/alerts/mine" in hrefs(many)
    assert "/alerts/more-1.errors" not in hrefs(many)
    assert "/alerts/more-1.errors" in hrefs(shown(fresh.person(), "/alerts?all=yes"))


@pytest.mark.parametrize("word", [each for each in HOSTILE if "\ud800" not in each])
def test_what_others_say_is_inert(fresh: LoopSite, word: str) -> None:
    """What a webhook answered, why there is no value, why somebody wants silence: all of it is text."""
    fresh.loop.apply(OLD_PROMPT)
    at = fresh.loop.clock.at
    fresh.loop.alerts.put_alarms(
        [row(fresh.loop, "errors", "error_rate", bound=0.1, phase="no_data", since=at, why=word)],
        notifications=[
            Notification(
                id="n",
                alarm="errors",
                notifier="ops",
                kind="firing",
                created_at=at,
                due_at=at,
                body={},
                error=word,
            )
        ],
    )
    quiet = Silence(until=at + timedelta(hours=1), reason=word, by=word, at=at)
    fresh.loop.alerts.silence("errors", quiet)
    for path, scripts in (("/alerts", 2), ("/alerts/errors", 3)):
        answer = fresh.person().get(path)
        assert answer.status_code == 200
        page = Page(answer.text)
        for tag, attributes in page.tags:
            assert tag not in ("img", "iframe", "object", "style")
            assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
            assert str(attributes.get("href", "/")).startswith(("/", "#"))
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", answer.text)
        assert len([tag for tag, _ in page.tags if tag == "script"]) == scripts
