"""Keys over the admin API: a secret is shown once, and every change is in the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from airboss.domain.plan import Allowance, Budget, Limits
from airboss.domain.ports import ApiKey, Spent
from airboss.governance.audit import read_leaf
from airboss.governance.keys import Keyring
from tests.console.governed import DATA_KEY, Governed, governed
from tests.support.kept_keys import put_key
from tests.support.seed_records import seed_plan


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Governed]:
    """One with a few keys."""
    with governed(tmp_path) as made:
        yield made


def who(site: Governed, secret: str) -> str | None:
    """Whom a gateway takes this secret for, now."""
    snapshot = site.ledger.snapshot()
    assert snapshot is not None
    principal = Keyring(snapshot.keys, now=site.clock.now()).principal(secret)
    return principal.key if principal is not None else None


def post(site: Governed, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    """The answer of a POST under /api/v1/keys."""
    answer = site.program().post(f"/api/v1/keys{path}", json=body)
    return answer.status_code, answer.json()


def actions(site: Governed) -> list[str]:
    """What the audit log has, newest first."""
    return [each.leaf.action for each in site.audit.newest(limit=99)]


def deployment(site: Governed) -> str:
    """Some deployment that is served."""
    return seed_plan(site.clock.now()).deployments[0].name


def test_a_new_key_opens_what_it_was_made_for(site: Governed) -> None:
    """Its secret stands in the answer and nowhere else; gateways see it with the next revision."""
    revision = site.ledger.revision()
    status, made = post(site, "", {"name": "team-a", "deployments": [deployment(site)]})
    assert (status, made["name"], made["deployments"]) == (200, "team-a", [deployment(site)])
    assert who(site, made["key"]) == "team-a"
    assert site.ledger.revision() > revision
    listed = site.program().get("/api/v1/keys")
    assert made["key"] not in listed.text
    (shown,) = [each for each in listed.json()["keys"] if each["name"] == "team-a"]
    assert (shown["state"], shown["deployments"]) == ("active", [deployment(site)])
    assert actions(site)[0] == "keys.create"


def test_a_key_with_a_budget_tells_where_it_is_refused(site: Governed) -> None:
    """At deployments whose price nobody knows; before its programs are told, at night."""
    unknown = [each.name for each in seed_plan(site.clock.now()).deployments if each.target.price is None]
    assert unknown
    assert post(site, "", {"name": "nightly"})[0] == 200
    status, shown = post(site, "/nightly/set", {"budget": {"usd": 5}})
    assert (status, shown["unpriced"]) == (200, unknown)
    page = " ".join(site.person().get("/governance/keys/nightly").text.split())
    assert f"refused at {', '.join(unknown)}" in page
    assert post(site, "/nightly/set", {"budget": None})[1]["unpriced"] == []
    each_user = {"budget": {"usd": 0.5}}
    assert post(site, "/nightly/set", {"each_user": each_user})[1]["unpriced"] == unknown


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "web"}, "there is a key 'web' already"),
        ({"name": "no/slash"}, "cannot be a key's name"),
        ({"name": "default"}, "airboss keys rotate default"),
        ({"name": "airboss"}, "Airboss's own calls"),
        ({"name": "x", "deployments": ["nope"]}, "there is no deployment 'nope'"),
        ({"name": "x", "other": 1}, "the body is wrong"),
        ({"name": "x", "expires_at": "9999-12-31T23:59:59-23:59"}, "cannot end in 9999"),
        ({"name": "x", "expires_at": "9999-12-31T00:00:00Z"}, "within 36,500 days"),
        ({"name": "x", "budget": {"usd": "NaN"}}, "expected a number"),
        ({"name": "x", "budget": {"usd": "Infinity"}}, "expected a number"),
    ],
)
def test_a_key_that_cannot_be_is_refused(site: Governed, body: dict[str, Any], words: str) -> None:
    """With what was seen and what to do; nothing is made and nothing noted."""
    status, answer = post(site, "", body)
    assert (status, words in answer["error"]["message"]) == (400, True), answer
    assert "keys.create" not in actions(site)


def test_an_alias_is_no_deployment(site: Governed) -> None:
    """The message names the deployment that is meant."""
    served = seed_plan(site.clock.now()).deployments
    alias, name = next((alias, each.name) for each in served for alias in each.aliases)
    status, answer = post(site, "", {"name": "x", "deployments": [alias]})
    assert (status, f"is an alias of {name!r}" in answer["error"]["message"]) == (400, True)


def test_a_revoked_key_opens_nothing(site: Governed) -> None:
    """At once in the ledger; it stays in the list, and its name may be given to a new key."""
    assert who(site, DATA_KEY) == "web"
    assert post(site, "/web/revoke")[1]["state"] == "revoked"
    assert who(site, DATA_KEY) is None
    assert post(site, "/web/revoke")[0] == 400
    assert post(site, "/web/rotate")[0] == 400
    made = post(site, "", {"name": "web"})[1]
    assert (who(site, DATA_KEY), who(site, made["key"])) == (None, "web")
    assert actions(site)[:2] == ["keys.create", "keys.revoke"]


def test_a_rotated_key_has_another_secret(site: Governed) -> None:
    """The old one ends at once, or when the grace is over; a second rotation ends an older grace."""
    first = post(site, "/web/rotate", {})[1]
    assert (who(site, DATA_KEY), who(site, first["key"])) == (None, "web")
    second = post(site, "/web/rotate", {"grace_s": 60})[1]
    assert (who(site, first["key"]), who(site, second["key"])) == ("web", "web")
    assert second["previous_until"] == (site.clock.now() + timedelta(seconds=60)).isoformat().replace(
        "+00:00", "Z"
    )
    site.clock.forward(59)
    assert who(site, first["key"]) == "web"
    site.clock.forward(2)
    assert (who(site, first["key"]), who(site, second["key"])) == (None, "web")
    third = post(site, "/web/rotate", {"grace_s": 60})[1]
    fourth = post(site, "/web/rotate", {"grace_s": 60})[1]
    assert [who(site, each["key"]) for each in (second, third, fourth)] == [None, "web", "web"]
    for grace in (-1, 30 * 86_400 + 1):
        assert "is not offered" in post(site, "/web/rotate", {"grace_s": grace})[1]["error"]["message"]


def test_our_own_key_is_left_alone(site: Governed) -> None:
    """It can be neither revoked nor rotated."""
    for what in ("revoke", "rotate"):
        status, answer = post(site, f"/airboss/{what}")
        assert (status, "Airboss's own" in answer["error"]["message"]) == (400, True)


def test_the_starter_key_is_kept_where_the_start_finds_it(site: Governed) -> None:
    """Rotating it writes the new secret into the data directory, also when it had been revoked; a preset one
    is whose who presets it."""
    now = site.clock.now()
    put_key(site.ledger, ApiKey(name="default", sha256="ab" * 32, created_at=now, revoked_at=now))
    rotated = post(site, "/default/rotate", {"grace_s": 60})[1]
    assert site.started == [rotated["key"]]
    assert (who(site, rotated["key"]), rotated["previous_until"]) == ("default", None)
    site.keep_starter = None
    for what in ("revoke", "rotate"):
        assert "preset by AIRBOSS_API_KEY" in post(site, f"/default/{what}")[1]["error"]["message"]
    assert who(site, rotated["key"]) == "default"


def test_of_two_rotations_at_once_the_start_finds_the_one_that_is_good(site: Governed) -> None:
    """Whichever came last is good, and kept: not the secret of the one and the file of the other."""
    put_key(site.ledger, ApiKey(name="default", sha256="ab" * 32, created_at=site.clock.now()))
    other = Thread(target=post, args=(site, "/default/rotate", {}))

    def keep(secret: str) -> None:
        site.started.append(secret)
        if len(site.started) == 1:
            other.start()
            other.join(0.5)  # all of it, if nothing holds it up

    site.keep_starter = keep
    post(site, "/default/rotate", {})
    other.join()
    assert [who(site, secret) for secret in site.started] == [None, "default"]


def test_an_unknown_key_is_said_so(site: Governed) -> None:
    """With where to look."""
    for what in ("revoke", "rotate", "set"):
        status, answer = post(site, f"/nobody/{what}", {})
        assert (status, "airboss keys list" in answer["error"]["message"]) == (404, True)


def test_a_new_key_has_what_the_configuration_says_of_its_name(site: Governed) -> None:
    """Written down before the key was made, it binds it from its first call on."""
    limited = "[keys.team-z]\nlimits = { requests_per_minute = 5 }\n"
    site.ledger.publish(limited, seed_plan(site.clock.now()))
    post(site, "", {"name": "team-z"})
    (made,) = [key for key in site.ledger.all_keys() if key.name == "team-z"]
    assert made.limits is not None
    assert made.limits.requests_per_minute == 5


def test_a_key_has_the_terms_that_it_is_made_for(site: Governed) -> None:
    """Limits, budget, priority and end stand in the list and in the audit log; no sense is refused."""
    end = (site.clock.now() + timedelta(days=1)).isoformat()
    asked = {
        "limits": {"requests_per_minute": 5},
        "budget": {"usd": 1.5},
        "each_user": {"limits": {"requests_per_minute": 2}, "budget": {"usd": 0.5, "per": "day"}},
        "priority": "low",
        "expires_at": end,
    }
    made = post(site, "", {"name": "bounded", **asked})[1]
    (shown,) = [key for key in site.program().get("/api/v1/keys").json()["keys"] if key["name"] == "bounded"]
    assert shown["limits"] == [{"what": "requests", "limit": 5, "used": 0}]
    assert (shown["budget"]["usd"], shown["budget"]["per"], shown["priority"]) == (1.5, "month", "low")
    noted = read_leaf(site.audit.newest(limit=1)[0].leaf.content).detail
    assert noted["limits"] == {"requests_per_minute": 5}
    assert noted["budget"] == "1.5 USD a month"
    assert noted["each_user"] == {
        "limits": {"requests_per_minute": 2},
        "budget": {"usd": "0.5", "per": "day"},
    }
    assert shown["each_user"]["limits"]["requests_per_minute"] == 2
    site.clock.forward(86_401)
    assert who(site, made["key"]) is None
    (shown,) = [key for key in site.program().get("/api/v1/keys").json()["keys"] if key["name"] == "bounded"]
    assert shown["state"] == "expired"
    assert "expired at" in post(site, "/bounded/rotate")[1]["error"]["message"]
    for wrong, words in (
        ({"limits": {"requests_per_minute": 0}}, "limits.requests_per_minute is 0; expected 1 to"),
        ({"limits": {"rpm": 5}}, "unknown field `rpm`"),
        ({"limits": {"queue": {"size": 5}}}, "give concurrency too"),
        ({"each_user": {}}, "each_user limits nothing"),
        ({"each_user": {"limits": {"tokens_per_minute": 0}}}, "each_user.limits.tokens_per_minute is 0"),
        ({"each_user": {"rpm": 5}}, "unknown field `rpm`"),
        ({"each_user": {"budget": {"usd": -1}}}, "each_user.budget.usd is -1"),
        ({"budget": {"usd": "much"}}, "$.budget.usd"),
        ({"budget": {"usd": -1}}, "budget.usd is -1"),
        ({"priority": "urgent"}, "$.priority"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "which is past"),
        ({"expires_at": "2030-01-01T00:00:00"}, "$.expires_at"),
    ):
        status, answer = post(site, "", {"name": "wrong", **wrong})
        assert (status, words in answer["error"]["message"]) == (400, True), answer


def test_a_key_is_told_other_terms(site: Governed) -> None:
    """What is left out stays, null takes away, and what the configuration says is changed there."""
    each_user = {"limits": {"concurrency": 1}}
    post(site, "", {"name": "x", "limits": {"concurrency": 2}, "budget": {"usd": 1}, "each_user": each_user})
    status, told = post(site, "/x/set", {"budget": None, "priority": "high"})
    assert (status, told["budget"], told["priority"]) == (200, None, "high")
    assert told["limits"] == [{"what": "concurrency", "limit": 2, "used": 0}]
    assert told["each_user"]["limits"]["concurrency"] == 1
    assert post(site, "/x/set", {"each_user": None})[1]["each_user"] is None
    assert actions(site)[0] == "keys.set"
    site.ledger.publish("[keys.x]\nlimits = { concurrency = 9 }\n", seed_plan(site.clock.now()))
    status, refused = post(site, "/x/set", {"limits": None})
    assert (status, "[keys.x] says limits" in refused["error"]["message"]) == (400, True)
    assert post(site, "/x/set", {"deployments": ["nowhere"]})[0] == 400
    assert post(site, "/nobody/set", {"priority": "low"})[0] == 404
    assert post(site, "/airboss/set", {"priority": "low"})[0] == 400


def test_a_key_is_put_into_a_team_and_taken_out(site: Governed) -> None:
    """Which the configuration has; what the keys of the team spend together is shown, and all of it noted."""
    teams = {"ops": Allowance(limits=Limits(concurrency=3), budget=Budget(usd=Decimal(5)))}
    text = "[teams.ops]\nlimits = { concurrency = 3 }\nbudget = { usd = 5 }\n"
    plan = msgspec.structs.replace(seed_plan(site.clock.now()), teams=teams)
    site.ledger.publish(text, plan)
    today = site.clock.now().date()
    site.spent = [
        Spent(key=name, day=today, usd=Decimal(usd)) for name, usd in (("x", 1), ("y", 2), ("z", 4))
    ]
    post(site, "", {"name": "x", "team": "ops"})
    assert read_leaf(site.audit.newest(limit=1)[0].leaf.content).detail["team"] == "ops"
    post(site, "", {"name": "y"})
    status, told = post(site, "/y/set", {"team": "ops"})
    assert (status, told["team"]["name"], told["budget"]) == (200, "ops", None)
    assert told["team"]["limits"] == [{"what": "concurrency", "limit": 3, "used": 0}]
    assert told["team"]["budget"]["spent_usd"] == 3
    assert told["unpriced"]  # a budget of the team's wants prices, as the key's does
    assert post(site, "/x/revoke")[0] == 200
    assert post(site, "/y/set", {"priority": "high"})[1]["team"]["budget"]["spent_usd"] == 3
    status, told = post(site, "/y/set", {"team": None})
    assert (status, told["team"]) == (200, None)
    assert "team" not in read_leaf(site.audit.newest(limit=1)[0].leaf.content).detail
    for path, body in (("", {"name": "w", "team": "op"}), ("/y/set", {"team": "op"})):
        status, answer = post(site, path, body)
        words = "there is no team 'op' in the configuration; did you mean \"ops\"?"
        assert (status, answer["error"]["message"]) == (400, words)
    assert (
        "team is about calls"
        in post(site, "", {"name": "w", "role": "viewer", "team": "ops"})[1]["error"]["message"]
    )
    site.ledger.publish(f'{text}[keys.y]\nteam = "ops"\n', plan)
    assert "[keys.y] says team" in post(site, "/y/set", {"team": None})[1]["error"]["message"]
