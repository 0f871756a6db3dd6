"""What options of `airboss keys` mean: a limit that is no limit never becomes none."""

from __future__ import annotations

from typing import Any

import pytest

from airboss.cli.key_terms import terms
from airboss.domain.errors import WrongCall

NONE: dict[str, Any] = {
    "deployments": None,
    "limits": {},
    "each_user": {},
    "held": {},
    "budget": None,
    "per": None,
    "team": None,
    "priority": None,
    "policy": None,
    "expires": None,
    "role": None,
    "sources": None,
}


def test_a_limit_of_0_is_sent_on_to_be_refused() -> None:
    """It is not taken for no limit at all."""
    for name in ("requests_per_minute", "tokens_per_minute", "concurrency"):
        assert terms(**NONE | {"limits": {name: "0"}})["limits"] == {name: 0}
    assert terms(**NONE | {"limits": {"concurrency": "none"}})["limits"] is None


def test_a_team_and_a_policy_are_taken_away_by_none() -> None:
    """What is left out stays."""
    assert terms(**NONE | {"policy": "strict"}) == {"policy": "strict"}
    assert terms(**NONE | {"policy": "none", "team": "none"}) == {"policy": None, "team": None}


def test_where_a_key_is_good_from_is_sent_as_it_is_said() -> None:
    """By commas; `none` takes it away, and what is left out is not said."""
    assert terms(**NONE | {"sources": "10.0.0.0/8, ::1"}) == {"sources": ["10.0.0.0/8", "::1"]}
    assert terms(**NONE | {"sources": "none"}) == {"sources": None}
    assert terms(**NONE) == {}


def test_a_key_may_call_all_some_or_none() -> None:
    """None stops it; who wants that says so."""
    for said, sent in (("all", None), ("none", []), ("a, b,", ["a", "b"]), ("none,all", ["none", "all"])):
        assert terms(**NONE | {"deployments": said}) == {"deployments": sent}


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"deployments": " "}, "--deployments is empty"),
        ({"deployments": ","}, "--deployments is empty"),
        ({"budget": "nan"}, "--budget 'nan'"),
        ({"budget": "inf"}, "--budget 'inf'"),
        ({"budget": "5", "per": "year"}, "`day`, `week` or `month`"),
        ({"role": "root"}, "`viewer` or `reader`"),
        ({"limits": {"requests_per_minute": "many"}}, "--requests-per-minute 'many'"),
    ],
)
def test_what_is_no_term_is_refused(said: dict[str, Any], named: str) -> None:
    """With the value seen and what would be right."""
    with pytest.raises(WrongCall, match=named):
        terms(**NONE | said)
