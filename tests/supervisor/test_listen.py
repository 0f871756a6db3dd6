"""Addresses to listen on."""

from __future__ import annotations

import socket

import pytest

from airboss.domain.errors import SetupError, WrongCall
from airboss.supervisor.listen import (
    check_apart,
    check_exposure,
    check_free,
    check_host,
    elsewhere,
    is_loopback,
    listen,
    port_of,
    url,
)
from tests.support.ports import unused_port


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    """Loopback addresses may be listened on without TLS."""
    assert is_loopback(host)
    check_exposure(host, tls=False, insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
def test_beyond_loopback_wants_tls_or_insecure(host: str) -> None:
    """Beyond loopback it takes TLS or an explicit --insecure; the refusal says both."""
    with pytest.raises(WrongCall, match=r"(?s)\[tls\].*--insecure"):
        check_exposure(host, tls=False, insecure=False)
    check_exposure(host, tls=True, insecure=False)
    check_exposure(host, tls=False, insecure=True)


@pytest.mark.parametrize("tls", [True, False])
def test_a_name_of_nothing_is_no_exposure(tls: bool) -> None:
    """A slip in an address is told as such, not as something that TLS would mend."""
    with pytest.raises(WrongCall, match=r"--host no\.such\.invalid is no address"):
        check_exposure("no.such.invalid", tls=tls, insecure=False)


@pytest.mark.parametrize("host", ["", " ", "no such", "127.0.0.1:80", "http://x", "-x", "[::1]", "a\nb", "é"])
def test_what_is_no_address_is_told(host: str) -> None:
    """An empty host, one with a port or a scheme: the value seen, and what to give, with or without TLS."""
    with pytest.raises(WrongCall, match=r"--host is .*no address.*127\.0\.0\.1"):
        check_exposure(host, tls=True, insecure=True)


@pytest.mark.parametrize("host", ["::1", "fe80::1%eth0", "box", "a.b-c.example.", "my_host"])
def test_addresses_and_names_are_hosts(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either version, zones and names."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])  # any name is known
    check_host(host)


def test_both_planes_want_their_own_port() -> None:
    """The same port for both is told as that; 0 means any, for both."""
    with pytest.raises(WrongCall, match="--port and --console-port are both 8700"):
        check_apart(8700, 8700)
    check_apart(0, 0)
    check_apart(8700, 8701)


def test_a_port_in_use_names_the_flag() -> None:
    """A port that somebody listens on is refused with the port and the flag that changes it."""
    port = unused_port()
    with listen("127.0.0.1", port, flag="--port") as taken:
        assert port_of(taken) == port
        with pytest.raises(SetupError, match=rf"port {port} .*--console-port"):
            check_free("127.0.0.1", port, flag="--console-port")
    assert check_free("127.0.0.1", port, flag="--port") == port


def test_connections_wait_in_the_backlog() -> None:
    """A client connects though nobody accepts yet."""
    with listen("127.0.0.1", 0, flag="--port") as listener:
        socket.create_connection(("127.0.0.1", port_of(listener)), timeout=60).close()


def test_a_host_of_another_machine_is_refused() -> None:
    """An address that is not this machine's is refused, naming --host."""
    with pytest.raises(SetupError, match="--host"):
        listen("192.0.2.1", 0, flag="--port")
    with pytest.raises(SetupError, match="--host"):
        listen("no.such.host.invalid", 0, flag="--port")


@pytest.mark.parametrize(
    ("host", "tls", "expected"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:87"),
        ("0.0.0.0", True, "https://127.0.0.1:87"),
        ("::", False, "http://[::1]:87"),
        ("2001:db8::1", True, "https://[2001:db8::1]:87"),
        ("example.org", True, "https://example.org:87"),
    ],
)
def test_urls(host: str, tls: bool, expected: str) -> None:
    """A URL can be pasted: wildcards become loopback, IPv6 stands in brackets."""
    assert url(host, 87, tls=tls) == expected


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "gateway.example.com"])
def test_what_others_say(host: str) -> None:
    """An address or a name is said as it is; for a wildcard address others can say this machine's name."""
    assert elsewhere(host) == (socket.gethostname() if host in {"0.0.0.0", "::"} else host)
