"""What is wrong, as pages say it: one cause is one finding, with what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss import console
from airboss.console.findings import Finding, findings
from airboss.domain.ports import StatsBucket
from airboss.domain.status import BreakerStatus
from tests.console.looped import LoopSite
from tests.console.site import NOW, Site
from tests.console.test_chart import bucket, drawn, out
from tests.console.test_pages import hrefs, shown
from tests.support.seed_records import seed_status


@pytest.mark.parametrize("path", ["/", "/system"])
def test_code_in_a_finding_is_shown_as_code(site: Site, path: str) -> None:
    """No mark of Markdown stands on a page as it is."""
    limit: dict[str, Any] = {
        "last_failure": "slow_down",
        "out_since": NOW - timedelta(minutes=10),
        "limited": "rate_limited",
    }
    place: dict[str, Any] = {"provider": "openai", "model": "gpt-4o-mini", "url": "https://openai.example/v1"}
    site.breakers = (BreakerStatus(**place, **limit, state="closed", deployments=("support",)),)
    text = site.person().get(path).text
    assert "give it <code>targets</code> with other keys" in text
    assert "`targets`" not in text


def test_no_page_shows_what_a_finding_says_with_its_marks() -> None:
    """Of every page."""
    pages = list(Path(console.__file__).parent.glob("pages/*.html"))
    lines = [line for page in pages for line in page.read_text().splitlines() if 'class="finding' in line]
    assert len(lines) > 20
    assert not [line for line in lines if re.search(r'class="detail">\{\{ visible\((?!c\.admins)', line)]


SICK = (
    out("m", "main", last_failure="upstream_error", last_status=500, key=None, instead=None),
    out("m", "limited", last_failure="slow_down", last_status=429, limited="rate_limited", instead=None),
    out("m", "poor", last_failure="insufficient_quota", limited="out_of_quota", instead=None),
    out("m", "garbled", last_failure="upstream_error", last_status=200, key=None, instead=None),
)
"""Places that fail each in its own way."""

NONE: Mapping[str, str] = {}


def wrong(
    breakers: Sequence[BreakerStatus],
    down: Sequence[str],
    *failing: StatsBucket,
    alarms: Mapping[str, str] = NONE,
    silenced: Mapping[str, str] = NONE,
) -> tuple[Finding, ...]:
    """What is wrong of an Airboss that has these deployments, all of which are down."""
    status = seed_status(NOW)
    first = msgspec.structs.replace(status.deployments[0], state="down", kind="openai")
    places = [
        msgspec.structs.replace(each, deployments=tuple(down), stranded=tuple(down)) for each in breakers
    ]
    seen = msgspec.structs.replace(
        status,
        deployments=tuple(msgspec.structs.replace(first, name=name) for name in down),
        breakers=tuple(places),
    )
    firing = dict.fromkeys(alarms, NOW - timedelta(minutes=9))
    return findings(seen, drawn(*failing), lambda *_: [], firing, silenced, on_errors=alarms)


def test_an_alarm_that_somebody_knows_of_is_told_as_that() -> None:
    """By itself, and not as one that fires, though the deployment that it is about is down."""
    quiet = {"sick.errors": "until noon"}
    alarms = {"sick.errors": "sick", "mine": "sick"}
    found = wrong(SICK, ["sick"], bucket(0, 50, 50, name="sick"), alarms=alarms, silenced=quiet)
    assert [each.alarms for each in found if each.deployments] == [("mine",)]
    assert [each.detail for each in found if each.alarm == "sick.errors"] == ["It is silenced: until noon"]


def test_a_deployment_whose_every_place_is_out_is_one_finding() -> None:
    """With what each does, how many calls fail, and the alarms that fire by it."""
    calls = [bucket(n, 50, 50, name="sick") for n in range(3)]
    (one,) = wrong(SICK, ["sick"], *calls, alarms={"sick.errors": "sick", "mine": "sick"})
    assert (one.level, one.title, one.since) == ("bad", "sick is down", NOW - timedelta(minutes=10))
    assert one.detail == (
        "None of its 4 places answers. main/m has not answered: upstream_error (500); limited/m has been "
        "rate limited: slow_down (429); poor/m has been out of quota: insufficient_quota; garbled/m sends "
        "what is no answer, with status 200. The page Providers says what to do about each. 150 of 150 calls "
        "failed."
    )
    assert (one.path, one.alarms, one.deployments) == (
        "/system/providers",
        ("sick.errors", "mine"),
        ("sick",),
    )


def test_deployments_that_are_down_by_the_same_place_are_one_finding() -> None:
    """Which says what to do; an alarm on their costs stays one of its own."""
    one, other = wrong(SICK[3:], ["a", "b"], alarms={"a.errors": "a", "b.errors": "b", "a.cost": "c"})
    assert one.title == "a, b are down"
    assert one.detail == (
        "garbled/m has not answered. At http://main/v1 what it sends with status 200 is no answer. Provider "
        "garbled is up: a record of such a call says how what came begins. Its `base_url` may lead to a web "
        "page or to a proxy."
    )
    assert one.alarms == ("a.errors", "b.errors")
    assert other.alarm == "a.cost"


def test_places_that_fail_alike_are_told_once() -> None:
    """Of one provider: its keys and models have one cause; so have those that others answer for."""
    keys = [out("m", last_failure="upstream_auth", key=f"env:K{n}", instead=None) for n in range(3)]
    (one,) = wrong(keys, ["a"])
    assert one.detail == (
        "None of its 3 places answers. main/m has not answered: upstream_auth. Check the key of provider "
        "main."
    )
    status = msgspec.structs.replace(
        seed_status(NOW), breakers=(out("x"), out("y", deployments=("b",)), out("z", "other"))
    )
    both, third = findings(status, drawn(), lambda *_: [], {})
    assert (both.title, both.deployments) == ("Provider main has not answered", ("support", "b"))
    assert both.detail == (
        "At 2 places (x, y) it fails with upstream_auth. Calls of support, b go to spare/small instead, at "
        "its price. Check the key of provider main."
    )
    assert third.title == "other/z has not answered"


def test_a_down_deployment_of_a_moment_says_why() -> None:
    """As long as nobody knows whether it lasts."""
    flap = out("m", out_since=None, last_failure="upstream_error")
    (one,) = wrong([flap], ["a"])
    assert (one.title, one.since, one.path) == ("a is down.", None, "/system/providers")


def test_the_overview_leads_to_the_alarms_of_a_deployment_that_is_down(week: LoopSite) -> None:
    """They are told with it, and their pages are one link away."""
    page = shown(week.person(), "/")
    assert "/alerts/errors" in hrefs(page)
