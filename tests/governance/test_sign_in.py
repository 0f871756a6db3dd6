"""Who somebody is, and what they may, by what their provider says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airboss.config import OidcConfig
from airboss.governance.roles import ROLES
from airboss.governance.sign_in import NAME_CHARS_MAX, Refused, person, terms

ANN = {"sub": "u-1", "email": "ann@example.com", "email_verified": True}


def oidc(roles: dict[str, Any], claim: str = "groups") -> OidcConfig:
    """Where people are known."""
    return OidcConfig(issuer="https://login.example.com", client_id="a", roles=roles, claim=claim)


@pytest.mark.parametrize(
    ("claims", "roles", "claim", "role"),
    [
        ({"groups": ["ml"]}, {"ml": "operator"}, "groups", "operator"),
        ({"groups": "ml"}, {"ml": "operator"}, "groups", "operator"),
        ({"groups": ["x", "ml", "ops"]}, {"ops": "admin", "ml": "viewer"}, "groups", "admin"),
        ({"groups": ["ml"]}, {"ml": "viewer", "*": "reader"}, "groups", "reader"),
        ({}, {"*": "viewer"}, "groups", "viewer"),
        ({"realm_access": {"roles": ["ml"]}}, {"ml": "reader"}, "realm_access.roles", "reader"),
        ({"https://x.example/groups": ["ml"]}, {"ml": "reader"}, "https://x.example/groups", "reader"),
        ({}, {"ann@example.com": "admin"}, "email", "admin"),
    ],
)
def test_the_highest_role_that_is_given(
    claims: dict[str, Any], roles: dict[str, Any], claim: str, role: str
) -> None:
    """By the values of the claim, one or many."""
    found = person({**ANN, **claims}, oidc(roles, claim))
    assert (found.name, found.role) == ("ann@example.com", role)


@pytest.mark.parametrize(
    ("claims", "claim"),
    [
        ({}, "groups"),
        ({"groups": []}, "groups"),
        ({"groups": ["ML"]}, "groups"),
        ({"groups": ["ml "]}, "groups"),
        ({"groups": [["ml"]]}, "groups"),
        ({"groups": {"ml": True}}, "groups"),
        ({"groups": None}, "groups"),
        ({"groups": ["*"]}, "groups"),
        ({"groups": [*("x" for _ in range(1_000)), "ml"]}, "groups"),
        ({"groups": {"ml": ["ml"]}}, "groups.x"),
        ({"email": "ml", "email_verified": False}, "email"),
        ({"email": "ml", "email_verified": "true"}, "email"),
    ],
)
def test_who_has_no_role_is_not_let_in(claims: dict[str, Any], claim: str) -> None:
    """Whatever the claim holds that is not just the value."""
    with pytest.raises(Refused, match="ask an administrator"):
        person({**ANN, **claims}, oidc({"ml": "admin"}, claim))


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        (ANN, "ann@example.com"),
        ({**ANN, "email_verified": False}, "ann@example.com (u-1)"),
        ({**ANN, "email": "ann@exam\u200bple.com"}, "ann@example.com (u-1)"),
        ({**ANN, "email": "ann@example.com "}, "ann@example.com (u-1)"),
        ({**ANN, "email_verified": False, "preferred_username": "ann"}, "ann (u-1)"),
        ({"sub": "u-1", "preferred_username": "alice"}, "alice (u-1)"),
        ({"sub": "u-1"}, "somebody (u-1)"),
        ({"sub": "u\x00\n-1\u202e"}, "somebody (u-1)"),
        ({"sub": "u-1", "email": "\ud800ann", "email_verified": True}, "ann (u-1)"),
    ],
)
def test_a_name_is_nobody_elses(claims: dict[str, Any], name: str) -> None:
    """No key's, which has neither `@` nor a blank, and no other person's."""
    assert person(claims, oidc({"*": "viewer"})).name == name


def test_a_name_is_short() -> None:
    """However long what the provider says is."""
    name = person({"sub": "x" * 9_000, "preferred_username": "y" * 9_000}, oidc({"*": "viewer"})).name
    assert len(name) <= 2 * NAME_CHARS_MAX + 3


def test_terms_change_with_what_a_sign_in_rests_on() -> None:
    """Not with what it is called, or where browsers go."""
    base = oidc({"a": "viewer", "b": "admin"})
    assert terms(base) == terms(msgspec.structs.replace(base, roles={"b": "admin", "a": "viewer"}, label="X"))
    for changes in ({"roles": {"a": "admin"}}, {"claim": "x"}, {"client_id": "y"}, {"issuer": "https://z"}):
        assert terms(base) != terms(msgspec.structs.replace(base, **changes))
    assert ROLES[-1] == "admin"
