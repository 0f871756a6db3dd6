"""What a key was made for, and what the configuration says of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from airboss.domain.plan import Budget, EachUser, Limits
from airboss.domain.ports import ApiKey
from airboss.governance.keys import Terms, bound, made
from tests.controller.test_publish import LOCAL, House

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house with a key that was made for `a` alone."""
    built = House(tmp_path)
    built.apply(LOCAL)
    terms = Terms(deployments=("a",), priority="low", limits=Limits(concurrency=3))
    built.ledger.change_key("team-a", lambda _: bound(made(None, "team-a", "x", terms=terms, now=NOW), None))
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
        EachUser(limits=Limits(concurrency=2)),
    )
    house.apply(f'{LOCAL}[keys.team-a]\npriority = "high"\n')
    assert (key(house).limits, key(house).priority) == (Limits(concurrency=3), "high")
    house.apply(LOCAL)
    assert (key(house).limits, key(house).budget, key(house).priority) == (Limits(concurrency=3), None, "low")
    assert key(house).each_user is None
