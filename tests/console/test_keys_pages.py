"""Keys on pages: what they may and use, and forms that make, change, rotate and revoke them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.console import views_keys
from airboss.console.api_keys import BudgetShown, LimitShown
from airboss.domain.plan import Allowance, Budget, Limits
from airboss.domain.ports import ApiKey, Spent
from airboss.telemetry.metrics import LimitUse
from tests.console.governed import Governed, governed
from tests.console.looped import pressed
from tests.console.site import NOW
from tests.console.test_pages import shown
from tests.support.kept_keys import put_key
from tests.support.seed_records import seed_plan

HOSTILE = '<img src=x onerror="alert(1)">\u202e'
SECRET = re.compile(r"ab_[A-Za-z0-9_-]{43}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Governed]:
    """A console over a real ledger and audit log."""
    with governed(tmp_path) as found:
        yield found


def key(site: Governed, name: str) -> ApiKey:
    """A key as the ledger has it."""
    return next(each for each in site.ledger.all_keys() if each.name == name)


def test_keys_say_what_they_may_and_use(site: Governed) -> None:
    """Whom they call, how much of it is used, since when; a revoked one stays, and no digest is shown."""
    kept = key(site, "web")
    limited = msgspec.structs.replace(
        kept,
        deployments=("support", HOSTILE),
        limits=Limits(requests_per_minute=1200, concurrency=4),
        budget=Budget(usd=Decimal(25)),
        each_user=Allowance(
            limits=Limits(requests_per_minute=1500, concurrency=2),
            budget=Budget(usd=Decimal("0.5"), per="day"),
        ),
    )
    put_key(site.ledger, limited)
    site.uses = lambda: [LimitUse("key", "web", "requests", 1200, 30, 0.1)]
    for path in ("/governance/keys", "/governance/keys/web"):
        page = shown(site.person(), path)
        assert not [tag for tag, _ in page.tags if tag == "img"]
        for words in (
            "support",
            "30 of 1,200 requests a minute",
            "0 of 4 at once",
            "$0.00 of $25.00 this month",
            "1,500 requests a minute, 2 at once, $0.50 a day",
        ):
            assert words in page.text, (path, words)
        assert kept.sha256[:12] not in page.text
    (most,) = re.findall(r'<a href="([^"]*)">Who spends most', site.person().get("/governance/keys/web").text)
    assert site.person().get(unescape(most)).status_code == 200
    put_key(site.ledger, msgspec.structs.replace(limited, limits=None, budget=None))
    assert "as much as comes is served" not in shown(site.person(), "/governance/keys/web").text
    page = shown(site.person(), "/governance/keys")
    for words in ("old", "revoked", "our own calls", "all deployments"):
        assert words in page.text
    assert "It is left alone" in shown(site.person(), "/governance/keys/airboss").text
    assert "opens nothing any more" in shown(site.person(), "/governance/keys/old").text
    assert site.person().get("/governance/keys/nobody").status_code == 404


def test_a_bar_says_when_it_is_nearly_full() -> None:
    """By its look, beside the words."""
    looks = [
        views_keys.limit_bar(LimitShown(what="requests", limit=10, used=n)).look for n in (0, 8, 9, 10, 11)
    ]
    assert looks == ["", "", "high", "full", "full"]
    spent = BudgetShown(usd=Decimal("1.5"), per="day", spent_usd=Decimal("1.6"), ends_at=NOW)
    assert views_keys.budget_bar(spent).words == "$1.60 of $1.50 today"


def test_a_key_is_made_and_its_secret_shown_once(site: Governed) -> None:
    """In the answer to the form and nowhere after it; it has the terms that the form said."""
    person = site.person()
    deployment = seed_plan(NOW).deployments[0].name
    fields = {"name": "team-a", "scope": "some", "deployments": deployment, "requests_per_minute": "1,200"}
    fields |= {"usd": "$12.50", "per": "day", "priority": "high", "expires": "30"}
    fields |= {"user_requests_per_minute": "10", "user_tokens_per_minute": "20,000", "user_usd": "$0.50"}
    answer = pressed(person, "/governance/keys", **fields)
    assert answer.status_code == 200
    (secret,) = set(SECRET.findall(answer.text))
    assert "only time that it is shown" in answer.text
    assert secret not in person.get("/governance/keys/team-a").text + person.get("/governance/keys").text
    made = key(site, "team-a")
    assert (made.deployments, made.limits) == ((deployment,), Limits(requests_per_minute=1200))
    assert (made.budget, made.priority) == (Budget(usd=Decimal("12.50"), per="day"), "high")
    assert made.expires_at is not None
    assert made.each_user == Allowance(
        limits=Limits(requests_per_minute=10, tokens_per_minute=20_000), budget=Budget(usd=Decimal("0.50"))
    )
    assert 'name="user_tokens_per_minute" inputmode="numeric" autocomplete="off" value="20000"' in (
        person.get("/governance/keys/team-a").text
    )
    again = pressed(person, "/governance/keys", name="team-a")
    assert (again.status_code, "there is a key" in again.text) == (400, True)
    wrong = pressed(person, "/governance/keys", name="team-b", concurrency="few")
    assert (wrong.status_code, "no whole number" in wrong.text) == (400, True)
    assert "team-b" not in [each.name for each in site.ledger.all_keys()]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"requests_per_minute": "0"}, "requests_per_minute is 0"),
        ({"concurrency": "0"}, "concurrency is 0"),
        ({"concurrency": "5", "queue_size": "5", "queue_wait_s": "long"}, "no number"),
        ({"expires": "999999999999"}, "no calendar"),
        ({"expires": "40000"}, "within 36,500 days"),
        ({"scope": "some"}, "no deployment is chosen"),
        ({"usd": "NaN"}, "no amount in USD"),
        ({"usd": "12,50"}, "no amount in USD"),
        ({"usd": "1,5"}, "no amount in USD"),
        ({"usd": "1.250,00"}, "no amount in USD"),
        ({"usd": "1,,000"}, "no amount in USD"),
        ({"requests_per_minute": "1,5"}, "no whole number"),
        ({"user_concurrency": "0"}, "each_user.limits.concurrency is 0"),
        ({"user_usd": "0,50"}, "no amount in USD"),
    ],
)
def test_a_form_that_means_nothing_makes_no_key(site: Governed, fields: dict[str, str], words: str) -> None:
    """A limit of nothing is not one of everything."""
    answer = pressed(site.person(), "/governance/keys", **{"name": "team-c", "scope": "all", **fields})
    assert (answer.status_code, words in answer.text) == (400, True), answer.text
    assert "team-c" not in [each.name for each in site.ledger.all_keys()]


def test_a_key_is_changed_rotated_and_revoked(site: Governed) -> None:
    """What is empty goes, what the configuration says stays as it says, and each word is in the audit log."""
    person = site.person()
    config = "[keys.web]\nlimits = { concurrency = 9 }\neach_user = { limits = { concurrency = 3 } }\n"
    site.ledger.publish(config, seed_plan(NOW))
    fixed = shown(person, "/governance/keys/web")
    assert "What [keys.web] says stands fast here: limits, each_user" in fixed.text
    answer = pressed(
        person, "/governance/keys/web/set", scope="all", usd="$1,003.50", concurrency="1", expires=""
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/governance/keys/web")
    changed = key(site, "web")
    assert changed.limits == Limits(concurrency=9)
    assert changed.each_user == Allowance(limits=Limits(concurrency=3))
    assert changed.budget == Budget(usd=Decimal("1003.50"))
    rotated = pressed(person, "/governance/keys/web/rotate", grace_s="3600")
    assert len(set(SECRET.findall(rotated.text))) == 1
    assert "good until" in rotated.text
    assert key(site, "web").previous_until is not None
    assert pressed(person, "/governance/keys/web/revoke").headers["location"] == "/governance/keys"
    assert key(site, "web").revoked_at is not None
    said: list[Any] = [each.leaf.action for each in site.audit.newest(limit=3)]
    assert said == ["keys.revoke", "keys.rotate", "keys.set"]


def test_a_key_is_stopped_for_a_while(site: Governed) -> None:
    """It keeps its secret, whatever is ticked; its form goes on without a deployment, until it may again."""
    person, path = site.person(), "/governance/keys/web"
    one, before = seed_plan(NOW).deployments[0].name, key(site, "web").sha256
    assert scope(person, path) == "all"
    pressed(person, f"{path}/set", scope="some", deployments=one)
    assert (key(site, "web").deployments, scope(person, path)) == ((one,), "some")
    pressed(person, f"{path}/set", scope="none", deployments=one)
    assert (key(site, "web").deployments, scope(person, path)) == ((), "none")
    for listed in (path, "/governance/keys"):
        assert "none for now" in shown(person, listed).text
    answer = pressed(person, f"{path}/set", scope=scope(person, path), concurrency="3")
    assert (answer.status_code, key(site, "web").deployments) == (303, ())
    assert key(site, "web").limits == Limits(concurrency=3)
    pressed(person, f"{path}/set", scope="all")
    assert (key(site, "web").deployments, key(site, "web").sha256) == (None, before)


def scope(client: Any, path: str) -> str:
    """What a key's form has chosen of what it may call."""
    (found,) = re.findall(r'name="scope" value="(\w+)" checked', client.get(path).text)
    return found


def test_a_team_without_limits_says_so(site: Governed) -> None:
    """It is there for usage and rollouts, and so is a key in it."""
    site.ledger.publish("[teams.ops]\n", msgspec.structs.replace(seed_plan(NOW), teams={"ops": Allowance()}))
    person = site.person()
    pressed(person, "/governance/keys/web/set", scope="all", team="ops", priority="normal")
    page = person.get("/governance/keys").text
    assert '"wrapped"><span class="nil">no limits</span></td>' in page.split("<h2>Keys</h2>")[0]
    assert "none but its team" not in page


def test_teams_stand_with_their_keys(site: Governed) -> None:
    """What each uses together, and who is in it; the form of a key puts it into one, and takes it out."""
    teams = {
        "ops": Allowance(limits=Limits(requests_per_minute=100), budget=Budget(usd=Decimal(5))),
        "later": Allowance(limits=Limits(concurrency=2)),
    }
    text = (
        "[teams.ops]\nlimits = { requests_per_minute = 100 }\nbudget = { usd = 5 }\n"
        "[teams.later]\nlimits = { concurrency = 2 }\n"
    )
    assert "Teams" not in shown(site.person(), "/governance/keys").text
    site.ledger.publish(text, msgspec.structs.replace(seed_plan(NOW), teams=teams))
    site.uses = lambda: [LimitUse("team", "ops", "requests", 100, 95, 0.1)]
    site.spent = [Spent(key="web", day=NOW.date(), usd=Decimal("4.5"))]
    person = site.person()
    pressed(person, "/governance/keys/web/set", scope="all", team="ops", priority="normal")
    assert (key(site, "web").team, key(site, "web").left) == ("ops", {})
    pressed(person, "/governance/keys/web/set", scope="all", priority="high")
    assert key(site, "web").team == "ops"  # of a page without the field
    for path in ("/governance/keys", "/governance/keys/web"):
        page = shown(person, path).text
        assert "95 of 100 requests a minute" in page, path
        assert "$4.50 of $5.00 this month" in page, path
    page = shown(person, "/governance/keys").text
    assert "team ops" in page
    assert "none yet" in page  # of `later`
    assert "<option selected>ops</option>" in person.get("/governance/keys/web").text
    pressed(person, "/governance/keys/web/set", scope="all", team="", priority="normal")
    assert (key(site, "web").team, key(site, "web").left) == (None, {"ops": 1})
    assert "Team ops" not in shown(person, "/governance/keys/web").text
