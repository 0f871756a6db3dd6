"""From where a key is good: addresses and networks. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from airboss.domain.errors import WrongCall

SOURCES_MAX: Final = 50
"""Networks of one key: each is looked at with every call of it."""
MAPPED_BITS: Final = 96
"""Of an IPv6 address that is an IPv4 one, those before it."""

Network = IPv4Network | IPv6Network


def read_sources(texts: Iterable[str]) -> tuple[str, ...]:
    """Networks as they are kept, each once: `10.0.0.0/8`, `192.0.2.7`, `2001:db8::/32`. Raises WrongCall."""
    found: dict[str, None] = {}
    for text in texts:
        network = _read(text.strip())
        alone = network.prefixlen == network.max_prefixlen
        found[str(network.network_address if alone else network)] = None
    if not found:
        raise WrongCall("a key that is good from no address opens nothing; revoke it, or name a network")
    if len(found) > SOURCES_MAX:
        raise WrongCall(f"{len(found)} networks are given, of at most {SOURCES_MAX}; give wider ones")
    return tuple(found)


def _read(text: str) -> Network:
    try:
        wider = None if "%" in text else ip_network(text, strict=False)
    except ValueError:
        wider = None
    if wider is None:
        seen = text[:60]
        raise WrongCall(
            f"{seen!r} is no address and no network; write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"
        )
    if wider.network_address == ip_address(text.partition("/")[0]):
        return _plain(wider)
    raise WrongCall(f"{text!r} has bits behind its /{wider.prefixlen}; write {wider}, or an address alone")


def _plain(network: Network) -> Network:
    """A network of IPv4 addresses written as IPv6, as one of IPv4."""
    if isinstance(network, IPv4Network) or network.prefixlen < MAPPED_BITS:
        return network
    mapped = network.network_address.ipv4_mapped
    return network if mapped is None else IPv4Network((mapped, network.prefixlen - MAPPED_BITS))


def networks(sources: Iterable[str]) -> tuple[Network, ...]:
    """Those that are kept, to be asked."""
    return tuple(map(ip_network, sources))


def is_from(peer: str, allowed: Iterable[Network]) -> bool:
    """Whether an address is in one of these; a socket that sees both kinds tells of IPv4 as IPv6. What is no
    address, as of a socket without any, is in none."""
    try:
        address: IPv4Address | IPv6Address = ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in each for each in allowed)
