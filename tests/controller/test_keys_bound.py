"""What a key was made for, and what the configuration says of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airboss.config import Config, parse_config
from airboss.domain.errors import ConfigError
from airboss.domain.plan import Allowance, Budget, Limits
from airboss.domain.ports import ApiKey
from airboss.governance.keys import Terms, bound, living, made, own_policy, revoked, with_terms
from tests.controller.test_publish import HOSTED, LOCAL, House

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house with a key that was made for `a` alone."""
    built = House(tmp_path)
    built.apply(LOCAL)
    terms = Terms(deployments=("a",), priority="low", limits=Limits(concurrency=3))
    built.ledger.change_key(
        "team-a", lambda _: bound(made(None, "team-a", "x", terms=terms, now=NOW), Config())
    )
    yield built
    built.ledger.close()


def key(house: House) -> ApiKey:
    """The key as it is now."""
    (found,) = house.ledger.all_keys()
    return found


def test_a_narrow_key_stays_narrow(house: House) -> None:
    """Applying a configuration that does not name it widens nothing."""
    house.apply(LOCAL.replace("file:/weights/b.gguf", "file:/weights/c.gguf"))
    assert key(house).deployments == ("a",)


def test_the_configuration_goes_first_while_it_names_the_key(house: House) -> None:
    """Narrower, wider or elsewhere; taken out again, the key may call what it was made for. A limit alone
    widens nothing."""
    for said, meant in (('deployments = ["b"]', ("b",)), ("limits = { concurrency = 1 }", ("a",))):
        house.apply(f"{LOCAL}[keys.team-a]\n{said}\n")
        assert key(house).deployments == meant
        house.apply(LOCAL)
        assert key(house).deployments == ("a",)


def test_a_change_that_is_none_is_no_revision(house: House) -> None:
    """Gateways are not told to look again for nothing; a change that is refused changes nothing."""
    revision = house.ledger.revision()
    house.ledger.change_key("team-a", lambda before: before or key(house))
    assert house.ledger.revision() == revision

    def refuses(_before: ApiKey | None) -> ApiKey:
        raise LookupError("no")

    with pytest.raises(LookupError):
        house.ledger.change_key("team-a", refuses)
    assert (house.ledger.revision(), key(house).name) == (revision, "team-a")


def test_limits_and_budget_bind_at_once_and_go_again(house: House) -> None:
    """What the configuration says of limits stands with the key, and goes when it says no more."""
    house.apply(f"{LOCAL}[keys.team-a]\nlimits = {{ requests_per_minute = 5 }}\nbudget = {{ usd = 1.5 }}\n")
    assert key(house).limits == Limits(requests_per_minute=5)
    assert key(house).budget == Budget(usd=Decimal("1.5"), per="month")
    assert key(house).priority == "low"
    house.apply(f"{LOCAL}[keys.team-a]\neach_user = {{ limits = {{ concurrency = 2 }} }}\n")
    assert (key(house).limits, key(house).each_user) == (
        Limits(concurrency=3),
        Allowance(limits=Limits(concurrency=2)),
    )
    house.apply(f'{LOCAL}[keys.team-a]\npriority = "high"\n')
    assert (key(house).limits, key(house).priority) == (Limits(concurrency=3), "high")
    house.apply(LOCAL)
    assert (key(house).limits, key(house).budget, key(house).priority) == (Limits(concurrency=3), None, "low")
    assert key(house).each_user is None


TEAMS = f"{LOCAL}[teams.ops]\nbudget = {{ usd = 5 }}\n[teams.dev]\nbudget = {{ usd = 5 }}\n"


def test_a_key_is_in_the_team_that_the_configuration_says(house: House) -> None:
    """Else in the one that it was made for; how often it has left which is kept, whoever has its name."""
    house.apply(f'{TEAMS}[keys.team-a]\nteam = "ops"\n')
    assert (key(house).team, key(house).left) == ("ops", {})
    house.apply(f'{TEAMS}[keys.team-a]\nteam = "dev"\n')
    assert (key(house).team, key(house).left) == ("dev", {"ops": 1})
    house.apply(TEAMS)
    assert (key(house).team, key(house).left) == (None, {"ops": 1, "dev": 1})
    told = Terms(team="ops")
    house.ledger.change_key(
        "team-a", lambda was: bound(with_terms(living(was, "team-a"), told, now=NOW), Config())
    )
    house.apply(TEAMS)
    assert (key(house).team, key(house).left) == ("ops", {"ops": 1, "dev": 1})
    house.ledger.change_key("team-a", lambda was: revoked(was, "team-a", now=NOW))
    assert key(house).team == "ops"  # where what it has spent counts
    new = Terms(team="dev")
    house.ledger.change_key(
        "team-a", lambda was: bound(made(was, "team-a", "y", terms=new, now=NOW), Config())
    )
    assert (key(house).team, key(house).left) == ("dev", {"ops": 2, "dev": 1})


def test_a_team_with_keys_is_not_taken_away(house: House) -> None:
    """Nothing would limit them any more; once they have left, or are revoked, it may go."""
    house.apply(TEAMS)
    told = Terms(team="ops")
    house.ledger.change_key(
        "team-a", lambda was: bound(with_terms(living(was, "team-a"), told, now=NOW), Config())
    )
    for gone in (LOCAL, f"{LOCAL}[teams.op]\nbudget = {{ usd = 5 }}\n"):
        with pytest.raises(ConfigError) as refused:
            house.apply(gone)
        hint = "there are none." if gone == LOCAL else 'did you mean "op"?'
        assert str(refused.value).endswith(
            f"key 'team-a' is in team 'ops', and there is no [teams.ops]; {hint} Keep it, or first "
            "`airboss keys set team-a --team none`"
        )
    house.apply(f'{TEAMS.replace("teams.ops", "teams.op")}[keys.team-a]\nteam = "dev"\n')
    assert key(house).team == "dev"
    house.ledger.change_key("team-a", lambda was: revoked(was, "team-a", now=NOW))
    house.apply(LOCAL)


def test_a_key_that_comes_into_a_team_while_that_is_taken_away_keeps_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever comes second is refused: here the configuration, and nothing of it is in force."""
    plan = house.apply(TEAMS)
    publish = house.ledger.publish

    def late(*args: Any, **options: Any) -> Any:
        told = Terms(team="ops")
        house.ledger.change_key(
            "team-a", lambda was: bound(with_terms(living(was, "team-a"), told, now=NOW), Config())
        )
        return publish(*args, **options)

    monkeypatch.setattr(house.ledger, "publish", late)
    with pytest.raises(ConfigError, match="is in team 'ops', and there is no"):
        house.apply(LOCAL + HOSTED.format(key='"sk-literal-1234567"'))
    assert list(house.data.secrets_dir.glob("provider-*")) == []
    found = house.ledger.snapshot()
    assert found is not None
    assert (found.plan.number, set(found.plan.teams)) == (plan.number, {"ops", "dev"})


POLICIES = """
[policies.strict]
pii = { action = "block" }
[policies.words.custom.codename]
action = "mask"
words = ["Blue Heron"]
"""


def test_policies_bind_by_key_and_by_team(house: House) -> None:
    """Both at once, one that both name once; what the configuration says of the key goes before what it was
    made for, and is taken back. The plan has what they say, by name."""
    teams = f"{LOCAL}{POLICIES}[teams.ops]\n"
    plan = house.apply(f'{teams}policy = "words"\n[keys.team-a]\nteam = "ops"\npolicy = "strict"\n')
    assert key(house).policies == ("strict", "words")
    assert set(plan.policies) == {"strict", "words"}
    assert dict(plan.policies["strict"].pii)["email"] == "block"
    assert plan.teams == {"ops": Allowance()}  # what all of them have together, and no more
    house.apply(f'{teams}policy = "words"\n[keys.team-a]\nteam = "ops"\npolicy = "words"\n')
    assert key(house).policies == ("words",)
    told = Terms(policy="strict")
    config = parse_config(teams, source="")
    house.ledger.change_key(
        "team-a", lambda was: bound(with_terms(living(was, "team-a"), told, now=NOW), config)
    )
    assert key(house).policies == ("strict",)
    house.apply(f'{teams}[keys.team-a]\npolicy = "words"\n')
    assert key(house).policies == ("words",)
    house.apply(f'{teams}policy = "words"\n')
    assert key(house).policies == ("strict",)
    assert own_policy(key(house), config) == "strict"
    revision = house.ledger.revision()
    house.apply(f'{teams.replace("block", "mask")}policy = "words"\n')
    assert house.ledger.revision() == revision + 1  # what it says is in the plan: no key changes
    snapshot = house.ledger.snapshot()
    assert snapshot is not None
    assert dict(snapshot.plan.policies["strict"].pii)["email"] == "mask"


def test_a_policy_that_a_key_names_is_not_taken_away(house: House) -> None:
    """Its calls would pass unread: be it said of the key in the file, with the line, or when it was made.
    Once the key is revoked it may go."""
    named = f'{LOCAL}{POLICIES}[keys.team-a]\npolicy = "strict"\n'
    house.apply(named)
    line = named[: named.index("policy =")].count("\n") + 1 - POLICIES.count("\n")
    with pytest.raises(ConfigError, match=f':{line}: keys.team-a.policy: there is no policy "strict"; there'):
        house.apply(named.replace(POLICIES, ""))
    house.apply(LOCAL + POLICIES)
    config, told = parse_config(LOCAL + POLICIES, source=""), Terms(policy="strict")
    house.ledger.change_key(
        "team-a",
        lambda was: bound(with_terms(living(was, "team-a"), told, now=NOW), config),
    )
    with pytest.raises(ConfigError) as refused:
        house.apply(f"{LOCAL}{POLICIES}".replace("strict", "stricter"))
    assert str(refused.value).endswith(
        "key 'team-a' is under 'strict', and there is no [policies.strict]; did you mean \"stricter\"? "
        "Keep it, or first `airboss keys set team-a --policy none`"
    )
    assert "strict" in house.ledger.config()  # type: ignore[operator]  # there is one
    house.ledger.change_key("team-a", lambda was: revoked(was, "team-a", now=NOW))
    house.apply(LOCAL)
