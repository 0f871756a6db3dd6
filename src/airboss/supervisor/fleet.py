"""The processes of one Airboss: what each is started with, and when it counts as ready."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from airboss.domain.ports import Placement
from airboss.supervisor.listen import elsewhere, url
from airboss.supervisor.probe import file_probe, http_probe, unix_probe
from airboss.supervisor.process import Command
from airboss.supervisor.supervisor import Spec
from airboss.supervisor.variables import COUNTERS_ENV, ENGINE_ENV, LISTEN_ENV, RECORDS_ENV

DRAIN_S = 30.0
"""A gateway finishes calls in flight for so long and then stops by itself; only well after it is killed."""
AWAITED_S = 0.5
"""Who serves calls, or counts them, is away for so long at most before it is started again: callers wait."""


RAY_HOST = "ray"
"""The process that has engines run on a Ray cluster."""


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything is.

    `listen_fd` is the data plane's listening socket, `lock_fd` holds the data directory's lock, and the
    record store listens at `store_socket`. Where limits are counted in a process of its own, that listens at
    `counters_socket`.
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
    counters_socket: Path | None = None

    @property
    def base_url(self) -> str:
        """What goes into OPENAI_BASE_URL."""
        return url(self.host, self.port, tls=self.tls) + "/v1"

    @property
    def elsewhere(self) -> str:
        """`base_url` as other machines say it."""
        return url(elsewhere(self.host), self.port, tls=self.tls) + "/v1"

    @property
    def console_url(self) -> str:
        """The console, and the admin API under it."""
        return url(self.host, self.console_port, tls=self.tls)


def core(places: Places, *, records: str, ray: bool = False) -> list[Spec]:
    """Everything but the replicas: the store, which keeps `records` where that says, the controller, the
    gateways and, for several, who counts their limits; with `ray` also the process that has replicas run on a
    Ray cluster."""
    store = Spec(
        command=_command("store", ["store"], places, env={RECORDS_ENV: records}, pass_fds=(places.lock_fd,)),
        probe=unix_probe(places.store_socket),
    )
    controller = Spec(
        command=_command(
            "controller",
            ["controller", *_exposed(places), "--console-port", str(places.console_port)],
            places,
            pass_fds=(places.lock_fd,),
        ),
        probe=http_probe(places.console_url + "/healthz"),
        grace_s=15.0,
    )
    counting = []
    if places.counters_socket is not None:
        command = _command("counters", ["counters"], places, pass_fds=(places.lock_fd,))
        probe = unix_probe(places.counters_socket)
        counting.append(Spec(command=command, probe=probe, delay_s_max=AWAITED_S))
    ray_host = Spec(
        command=_command(RAY_HOST, ["ray"], places, pass_fds=(places.lock_fd,)),
        probe=file_probe(ray_ready_path(places.data_dir / "run")),
        grace_s=15.0,
    )
    return [store, controller, *counting, *([ray_host] if ray else []), *_gateways(places)]


def joined(places: Places, *, leader: str) -> list[Spec]:
    """What serves calls on a machine that has joined the Airboss whose console is at `leader`: the gateways,
    and who brings their journals there."""
    bringing = Spec(
        command=_command("controller", ["controller", "--join", leader], places, pass_fds=(places.lock_fd,)),
        probe=file_probe(joined_path(places.data_dir / "run")),
        grace_s=DRAIN_S,
    )
    return [bringing, *_gateways(places)]


def _exposed(places: Places) -> list[str]:
    return ["--host", places.host, *(["--insecure"] if places.insecure else [])]


def _gateways(places: Places) -> list[Spec]:
    shared = {COUNTERS_ENV: "shared"} if places.counters_socket is not None else {}
    return [
        Spec(
            command=_command(
                f"gateway-{number}",
                ["gateway", *_exposed(places), "--port", str(places.port), "--worker", str(number)],
                places,
                env={LISTEN_ENV: str(places.listen_fd), **shared},
                pass_fds=(places.lock_fd, places.listen_fd),
            ),
            probe=http_probe(url(places.host, places.port, tls=places.tls) + "/readyz"),
            grace_s=DRAIN_S + 5.0,
            delay_s_max=AWAITED_S,
        )
        for number in range(places.workers)
    ]


def replica(placement: Placement, places: Places, *, essential: bool) -> Spec:
    """One engine, started with what it was placed with. Without an `essential` one the rest still serves."""
    return Spec(
        command=_command(
            replica_name(placement.id),
            [
                *("replica", "--model", placement.model),
                *("--port", str(urlsplit(placement.url).port or 0), "--placement", placement.id),
            ],
            places,
            env={ENGINE_ENV: placement.settings},
            tells=False,  # its probe is watched: an engine may be deep in C++ for long
        ),
        probe=http_probe(placement.url.removesuffix("/v1") + "/health"),
        watch=True,
        grace_s=5.0,
        may_fail=True,
        essential=essential,
    )


def replica_name(placement_id: str) -> str:
    """The name of the process of a placed engine."""
    return f"replica-{placement_id}"


def ray_ready_path(run_dir: Path) -> Path:
    """The file that is there while the engines on Ray have been started."""
    return run_dir / "ray.json"


def joined_path(run_dir: Path) -> Path:
    """The file that holds the id of the process that brings journals to another machine, while it does."""
    return run_dir / "joined.pid"


def is_gateway(name: str) -> bool:
    """Whether this is one of the gateways, which stop first so that calls in flight can finish."""
    return name.startswith("gateway-")


def is_store(name: str) -> bool:
    """Whether this is the store, which stops last so that the controller can bring it the last records."""
    return name == "store"


def _command(
    name: str,
    role: list[str],
    places: Places,
    *,
    env: dict[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
    tells: bool = True,
) -> Command:
    # Who tells does so itself: all gateways share a socket, and any of them answers the probe.
    # -P: a file of the user's in the working directory must not stand in for a module of the same name.
    argv = (sys.executable, "-P", "-m", "airboss.cli.role", *role, "--data-dir", str(places.data_dir))
    return Command(
        name=name,
        argv=argv,
        env={"AIRBOSS_LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1", **(env or {})},
        pass_fds=pass_fds,
        tells=tells,
    )
