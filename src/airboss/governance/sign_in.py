"""People who sign in with OpenID Connect: who they are, and what they may, by what their provider says.

Nobody has a role that no rule gives: who is in no group that is named is not let in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

import msgspec

from airboss.config.types import OidcConfig, Role
from airboss.governance.roles import ROLES

NAME_CHARS_MAX: Final = 120
VALUES_MAX: Final = 1_000
"""Of a claim; nobody is in so many groups."""

EVERYBODY: Final = "*"

Claims = Mapping[str, Any]
"""What a provider says of somebody: an ID token's members, checked."""


class Refused(Exception):
    """Nobody is signed in, because of the text, which is fit for the person."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who has signed in. `name` is no key's: it has an `@` or a blank in it. It is another's once
    their address is; `id` is always theirs, a hash of who they are to the provider."""

    name: str
    id: str
    role: Role


class IdentityProvider(Protocol):
    """Who knows people."""

    def login_url(self, oidc: OidcConfig, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where a browser is sent. Raises Refused where the provider does not answer."""

    def claims(self, oidc: OidcConfig, *, code: str, redirect_uri: str, nonce: str, verifier: str) -> Claims:
        """What is said of who brings this code. Raises Refused for a code or a token that is not good."""


def person(claims: Claims, oidc: OidcConfig) -> Person:
    """Who this is, with the highest of the roles that they are given. Raises Refused for who has none."""
    name = _name(claims)
    values = frozenset(_values(claims, oidc.claim))
    given = [role for value, role in oidc.roles.items() if value in values or value == EVERYBODY]
    if not given:
        told = f"the claim {oidc.claim!r} of {name} has none of the values that have a role here"
        if oidc.claim == "email" and claims.get("email_verified") is not True:
            told = f"the e-mail address of {name} is not verified there, and roles go by it"
        raise Refused(f"{told}; ask an administrator of Airboss")
    known_as = msgspec.json.encode([oidc.issuer, claims.get("sub")])
    return Person(name=name, id=hashlib.sha256(known_as).hexdigest()[:32], role=max(given, key=ROLES.index))


def terms(oidc: OidcConfig) -> str:
    """What a sign-in rests on; where it changes, who signed in before signs in again."""
    told = msgspec.json.encode([oidc.issuer, oidc.client_id, oidc.claim, sorted(oidc.roles.items())])
    return hashlib.sha256(told).hexdigest()


def _name(claims: Claims) -> str:
    """What the audit log calls them. What people may write themselves, as anything but a verified address, is
    followed by who they are to the provider: else one could go by another's name."""
    subject = _short(claims.get("sub"))
    email = _short(claims.get("email"))
    # One that looks like another's once it is shortened is not theirs.
    if "@" in email and claims.get("email_verified") is True and email == claims.get("email"):
        return email
    shown = _short(claims.get("preferred_username")) or email or "somebody"
    return f"{shown} ({subject})"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(each for each in text[:NAME_CHARS_MAX] if each.isprintable()).strip()


def _values(claims: Claims, claim: str) -> Iterator[str]:
    """The texts of a claim, which may be one or a list; its name may lead into an object, as
    `realm_access.roles` does."""
    if claim == "email" and claims.get("email_verified") is not True:
        return
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for part in claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    for value in found[:VALUES_MAX] if isinstance(found, list) else [found]:
        if isinstance(value, str):
            yield value
