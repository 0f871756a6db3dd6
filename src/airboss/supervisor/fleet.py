"""The processes of one Airboss: what each is started with, and when it counts as ready."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from airboss.supervisor.listen import url
from airboss.supervisor.probe import http_probe, unix_probe
from airboss.supervisor.process import Command
from airboss.supervisor.supervisor import Spec

LISTEN_ENV = "AIRBOSS_LISTEN_FD"
DRAIN_S = 30.0
"""A gateway finishes calls in flight for so long and then stops by itself; only well after it is killed."""


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything is.

    `listen_fd` is the data plane's listening socket, `lock_fd` holds the data directory's lock, and the
    record store listens at `store_socket`.
    """

    data_dir: Path
    host: str
    port: int
    console_port: int
    workers: int
    tls: bool
    insecure: bool
    listen_fd: int
    lock_fd: int
    store_socket: Path

    @property
    def base_url(self) -> str:
        """What goes into OPENAI_BASE_URL."""
        return url(self.host, self.port, tls=self.tls) + "/v1"

    @property
    def console_url(self) -> str:
        """The console, and the admin API under it."""
        return url(self.host, self.console_port, tls=self.tls)


def core(places: Places) -> list[Spec]:
    """Everything but the replicas: the store, the controller and the gateways."""
    exposed = ["--host", places.host, *(["--insecure"] if places.insecure else [])]
    gateway_url = url(places.host, places.port, tls=places.tls)
    store = Spec(
        command=_command("store", ["store"], places, pass_fds=(places.lock_fd,)),
        probe=unix_probe(places.store_socket),
    )
    controller = Spec(
        command=_command(
            "controller",
            ["controller", *exposed, "--console-port", str(places.console_port)],
            places,
            pass_fds=(places.lock_fd,),
        ),
        probe=http_probe(places.console_url + "/healthz"),
        grace_s=15.0,
    )
    gateways = [
        Spec(
            command=_command(
                f"gateway-{number}",
                ["gateway", *exposed, "--port", str(places.port), "--worker", str(number)],
                places,
                env={LISTEN_ENV: str(places.listen_fd)},
                pass_fds=(places.lock_fd, places.listen_fd),
            ),
            probe=http_probe(gateway_url + "/readyz"),
            grace_s=DRAIN_S + 5.0,
        )
        for number in range(places.workers)
    ]
    return [store, controller, *gateways]


def replica(model: str, base_url: str, places: Places, *, port: int, version: str) -> Spec:
    """One engine. `version` changes when it must be started anew though its command stays the same."""
    return Spec(
        command=_command(
            replica_name(model),
            ["replica", "serve", "--model", model, "--port", str(port)],
            places,
        ),
        probe=http_probe(base_url.removesuffix("/v1") + "/health"),
        watch=True,
        grace_s=5.0,
        version=version,
    )


def replica_name(model: str) -> str:
    """The name of the process of a model's replica."""
    return f"replica-{model}"


def is_gateway(name: str) -> bool:
    """Whether this is one of the gateways, which stop first so that calls in flight can finish."""
    return name.startswith("gateway-")


def is_store(name: str) -> bool:
    """Whether this is the store, which stops last so that the controller can bring it the last records."""
    return name == "store"


def _command(
    name: str,
    verb: list[str],
    places: Places,
    *,
    env: dict[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
) -> Command:
    # -P: a file of the user's in the working directory must not stand in for a module of the same name.
    argv = (sys.executable, "-P", "-m", "airboss.cli.main", *verb, "--data-dir", str(places.data_dir))
    return Command(
        name=name,
        argv=argv,
        env={"AIRBOSS_LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1", **(env or {})},
        pass_fds=pass_fds,
    )
