"""Addresses to listen on: whether they may be, whether they can be, and how they are written."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket

from airboss.domain.errors import SetupError, WrongCall

BACKLOG = 4096
"""Connections that wait while a killed worker is started again; the kernel caps it at `somaxconn`."""


_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than `localhost` counts as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_host(host: str) -> None:
    """Raise WrongCall for what can be no address to listen on, or is a name that nobody knows."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if _NAME.fullmatch(host) is None:
            raise WrongCall(
                f"--host is {host[:80]!r}, and that is no address. Give one of this machine, such as"
                " 127.0.0.1, or 0.0.0.0 for all of them; the port goes into --port."
            ) from None
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            raise WrongCall(f"--host {host} is no address of this machine: {error.strerror}") from error


def check_apart(port: int, console_port: int) -> None:
    """Raise WrongCall where both planes were to listen on one port."""
    if port == console_port != 0:
        raise WrongCall(
            f"--port and --console-port are both {port}, and each needs a port of its own. Leave one out, or"
            " give 0 for any free one."
        )


def check_exposure(host: str, *, tls: bool, insecure: bool) -> None:
    """Raise WrongCall for an address beyond loopback with neither TLS nor an explicit `--insecure`, and as
    `check_host`."""
    check_host(host)
    if is_loopback(host) or tls or insecure:
        return
    raise WrongCall(
        f"--host {host} would let other machines reach Airboss, and keys and prompts would cross the network"
        " in the clear. Add [tls] cert and key to the configuration, or, behind a proxy that does TLS, say"
        " --insecure."
    )


def listen(host: str, port: int, *, flag: str) -> socket.socket:
    """A listening socket on the address; port 0 takes a free one.

    Raises SetupError that names the `flag` to change.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise SetupError(f"--host {host} is no address of this machine: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SetupError(refusal(error, host, port, flag)) from error
    listener.setblocking(False)
    return listener


def check_free(host: str, port: int, *, flag: str) -> int:
    """Raise as `listen` would, and return the port (a free one for 0), which is free again after."""
    with listen(host, port, flag=flag) as listener:
        return port_of(listener)


def port_of(listener: socket.socket) -> int:
    """The port that a socket listens on."""
    return int(listener.getsockname()[1])


def refusal(error: OSError, host: str, port: int, flag: str) -> str:
    """Why an address cannot be had, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use by another program. Choose another with {flag}, or find who"
            f" has it with `ss -ltnp 'sport = :{port}'`."
        )
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges that this user lacks. Choose one above 1023 with {flag}."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine. Choose another with --host."
    return f"cannot listen on {host} port {port}: {error.strerror or error}. Choose another with {flag}."


def elsewhere(host: str) -> str:
    """What other machines call `host`, as far as one can know: for a wildcard address this machine's name."""
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host
    return socket.gethostname() if everywhere else host


def url(host: str, port: int, *, tls: bool) -> str:
    """How this machine reaches what listens there; a wildcard address is reached over loopback."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        shown = host
    else:
        if address.is_unspecified:
            address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
        shown = f"[{address}]" if address.version == 6 else str(address)
    return f"{'https' if tls else 'http'}://{shown}:{port}"
