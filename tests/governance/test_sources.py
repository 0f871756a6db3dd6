"""From where a key is good: what is read, and what is in it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.domain.errors import WrongCall
from airboss.governance.sources import SOURCES_MAX, is_from, networks, read_sources


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (["10.0.0.0/8"], ("10.0.0.0/8",)),
        (["192.0.2.7", "192.0.2.7/32", " 192.0.2.7 "], ("192.0.2.7",)),
        (["2001:DB8::/32", "::1"], ("2001:db8::/32", "::1")),
        (["::ffff:10.0.0.0/104"], ("10.0.0.0/8",)),
        (["0.0.0.0/0", "::/0"], ("0.0.0.0/0", "::/0")),
    ],
)
def test_what_is_kept(said: list[str], kept: tuple[str, ...]) -> None:
    """As one writes it, each once."""
    assert read_sources(said) == kept
    assert read_sources(kept) == kept


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ([], "opens nothing"),
        ([""], "'' is no address and no network"),
        (["example.com"], "'example.com' is no address"),
        (["10.0.0.5/8"], "has bits behind its /8; write 10.0.0.0/8"),
        (["10.0.0.0/33"], "is no address and no network"),
        (["10.0.0"], "is no address and no network"),
        (["010.0.0.1"], "is no address and no network"),
        (["1" * 5000], "is no address and no network"),
        (["fe80::1%eth0/64"], "is no address and no network"),
        (["fe80::1%eth0"], "is no address and no network"),
        ([f"10.0.0.{n}" for n in range(SOURCES_MAX + 1)], "51 networks are given, of at most 50"),
    ],
)
def test_what_is_no_network(said: list[str], cause: str) -> None:
    """Is told, with what would be one."""
    with pytest.raises(WrongCall, match=cause) as error:
        read_sources(said)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("peer", ["", "x", "/run/a.sock", "10.0.0.1:80", "999.1.1.1", "10.0.0.1 "])
def test_what_is_no_address_is_from_nowhere(peer: str) -> None:
    """Though everywhere is good."""
    assert not is_from(peer, networks(["0.0.0.0/0", "::/0"]))


def test_kinds_do_not_mix() -> None:
    """An IPv4 address that a socket of both kinds tells of as IPv6 is one all the same."""
    ours = networks(["10.0.0.0/8", "fe80::/10"])
    assert is_from("10.1.2.3", ours)
    assert is_from("::ffff:10.1.2.3", ours)
    assert is_from("fe80::1%lo", ours)
    assert not is_from("11.1.2.3", ours)
    assert not is_from("::ffff:11.1.2.3", ours)
    assert not is_from("::10.1.2.3", ours)
    assert not is_from("10.1.2.3", networks(["::/0"]))


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_ipv4_as_its_bits_say(address: int, base: int, bits: int) -> None:
    """For every address and network; so is IPv6."""
    mask = (2**32 - 1) ^ (2 ** (32 - bits) - 1)
    sources = read_sources([f"{IPv4Address(base & mask)}/{bits}"])
    assert is_from(str(IPv4Address(address)), networks(sources)) == (address & mask == base & mask)


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1), st.integers(0, 95))
def test_ipv6_as_its_bits_say(address: int, base: int, bits: int) -> None:
    """Where it is no IPv4."""
    mask = (2**128 - 1) ^ (2 ** (128 - bits) - 1)
    if IPv6Address(address).ipv4_mapped is None:
        sources = read_sources([f"{IPv6Address(base & mask)}/{bits}"])
        assert is_from(str(IPv6Address(address)), networks(sources)) == (address & mask == base & mask)
