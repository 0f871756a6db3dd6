"""Keys: made, kept and checked."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.config import Config
from airboss.domain.errors import WrongCall
from airboss.domain.plan import Limits
from airboss.domain.ports import ApiKey
from airboss.governance.keys import Keyring, Terms, bound, hash_key, made, new_key, revoked, same_secret

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def kept(name: str, secret: str, deployments: tuple[str, ...] | None = None) -> ApiKey:
    """A key as the ledger has it."""
    return ApiKey(name=name, sha256=hash_key(secret), created_at=NOW, deployments=deployments)


def test_a_new_key_has_our_shape_and_is_new() -> None:
    """Keys are `ab_` and 43 URL-safe characters, and never the same twice."""
    made = {new_key() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"ab_[A-Za-z0-9_-]{43}", key) for key in made)


def test_a_key_is_kept_as_the_sha256_of_its_bytes() -> None:
    """Anybody can compute what is kept, from the secret alone."""
    assert hash_key("ab_é") == hashlib.sha256("ab_é".encode()).hexdigest()


def test_a_key_is_known_by_its_secret() -> None:
    """The keyring names who presents a secret and what he may use."""
    one, two = new_key(), new_key()
    ring = Keyring([kept("one", one), kept("two", two, ("a", "b"))])
    assert len(ring) == 2
    first, second = ring.principal(one), ring.principal(two)
    assert first is not None
    assert (first.key, first.deployments) == ("one", None)
    assert second is not None
    assert (second.key, second.deployments) == ("two", frozenset({"a", "b"}))


@pytest.mark.parametrize("presented", ["", "ab_", "Bearer x", "é", "\ud800", "\x00", "a" * 100_000])
def test_what_is_not_a_key_is_nobody(presented: str) -> None:
    """Whatever a header holds is answered, with None."""
    assert Keyring([kept("one", new_key())]).principal(presented) is None
    assert Keyring([]).principal(presented) is None


def test_a_kept_hash_is_not_a_secret() -> None:
    """Who reads the ledger cannot call with what he read."""
    secret = new_key()
    ring = Keyring([kept("one", secret)])
    assert ring.principal(hash_key(secret)) is None
    assert ring.principal(secret[:-1]) is None


def test_of_two_keys_with_one_secret_the_first_is_meant() -> None:
    """Which key a call is counted on does not depend on chance."""
    secret = new_key()
    principal = Keyring([kept("a", secret), kept("b", secret)]).principal(secret)
    assert principal is not None
    assert principal.key == "a"


def test_every_check_ends_in_a_constant_time_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known or not, a presented secret is compared by `hmac.compare_digest`, over digests of one length."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    secret = new_key()
    ring = Keyring([kept("one", secret)])
    ring.principal(secret)
    ring.principal("wrong")
    same_secret("a", "b")
    assert len(compared) == 3
    assert {len(each) for pair in compared for each in pair} == {32}


@given(st.text(), st.text())
def test_two_secrets_are_the_same_only_if_they_are_equal(one: str, other: str) -> None:
    """The admin key's check takes any text and agrees with `==`."""
    assert same_secret(one, other) == (one == other)
    assert same_secret(one, one)


def test_an_expired_key_opens_nothing_and_is_known_as_such() -> None:
    """The ring says when it changes; after that the key's own secret, and no other, is told why."""
    secret, end = new_key(), NOW + timedelta(hours=1)
    key = msgspec.structs.replace(kept("brief", secret), expires_at=end)
    ring = Keyring([key], now=NOW)
    assert (ring.principal(secret) is not None, ring.changes_at, ring.expired(secret)) == (True, end, None)
    later = Keyring([key], now=end)
    assert later.principal(secret) is None
    assert later.expired(secret) == key
    assert later.expired(new_key()) is None


def test_a_key_made_again_has_none_of_its_old_terms() -> None:
    """A revoked key's name may be given to a new one; a living one's may not."""
    old = made(None, "a", "x", terms=Terms(limits=Limits(concurrency=1), priority="low"), now=NOW)
    new = made(revoked(old, "a", now=NOW), "a", "y", terms=Terms(), now=NOW)
    assert (bound(new, Config()).limits, bound(new, Config()).priority) == (None, "normal")
    assert old.owner is None
    assert new.owner not in {None, "a"}  # nor what was kept for the old one
    with pytest.raises(WrongCall, match="there is a key 'a' already"):
        made(new, "a", "z", terms=Terms(), now=NOW)
