"""Where notifications may be sent: not to a machine's own metadata, whatever a name says."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

Resolve = Callable[[str], str]
"""The secret behind `env:NAME` or `file:PATH`. Raises SetupError."""

Lookup = Callable[[str, int], "list[str]"]
"""The addresses of a host. Raises OSError."""


def reachable(address: str) -> bool:
    """Whether an address is one to send to: not link-local, unspecified, multicast or reserved."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return not (
        found.is_link_local
        or found.is_unspecified
        or found.is_multicast
        or (found.is_reserved and not found.is_loopback)
        or found == ipaddress.ip_address("fd00:ec2::254")
    )


def addresses(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system gives them. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # two dots side by side, or a part of over 63 characters
        raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))
