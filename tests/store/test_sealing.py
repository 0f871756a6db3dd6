"""A text sealed and opened again, by whoever has its key."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from airboss.store.sealed_marks import Unopened
from airboss.store.sealing import Key, as_body, in_body, key_of, new_key, seal, unseal


def a_key() -> Key:
    """A new one."""
    key_id, key = new_key()
    return Key(key_id, AESGCM(key))


@given(st.binary(max_size=3000), st.text(max_size=20))
def test_what_is_sealed_opens_again(data: bytes, at: str) -> None:
    """Any data, at any place, with the key whose id it names."""
    key = a_key()
    sealed = seal((key,), data, at)
    assert key_of(sealed) == key.id
    assert unseal(key, sealed, at) == data
    assert in_body(as_body(sealed, data)) == sealed


@given(st.binary(min_size=12, max_size=200))
def test_nothing_of_it_can_be_read(data: bytes) -> None:
    """The same data never looks the same, and is not in what it is sealed to."""
    key = a_key()
    assert data not in seal((key,), data, "p").encode()
    assert seal((key,), data, "p") != seal((key,), data, "p")


def test_another_key_or_place_opens_nothing() -> None:
    """So a body cannot be given to another record, or a response for a request."""
    key, other = a_key(), a_key()
    sealed = seal((key,), b"hello", "id\0request")
    for wrong in ((other, "id\0request"), (key, "id\0response"), (key, "id2\0request")):
        with pytest.raises(Unopened, match="another place"):
            unseal(wrong[0], sealed, wrong[1])
    with pytest.raises(Unopened):
        unseal(key, sealed[:-6] + "AAAAA=", "id\0request")
    with pytest.raises(Unopened):
        key_of("nothing")


def test_two_keys_are_both_needed() -> None:
    """What is of two people opens only with the keys of both."""
    mine, yours = a_key(), a_key()
    sealed = seal((mine, yours), b"hello", "p")
    assert key_of(sealed) == yours.id
    once = unseal(yours, sealed, "p")
    assert isinstance(once, str)
    assert key_of(once) == mine.id
    assert unseal(mine, once, "p") == b"hello"
    with pytest.raises(Unopened):
        unseal(yours, once, "p")
