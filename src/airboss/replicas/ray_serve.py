"""Engines on a Ray cluster: `replicas.placing.ReplicaHost` by Ray Serve. Needs the extra `ray`.

Each placement is a Serve application of its own with one replica, so that how many there are, which of them
gets a call and when one is taken out stay Airboss's to decide, as on one machine. Ray decides on which node
it runs, and starts it anew when a node dies.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from airboss.config.extras import install
from airboss.domain.errors import SetupError
from airboss.domain.ports import Placement, Replica, ReplicaState
from airboss.replicas.ray_engine import RayEngine

log = logging.getLogger(__name__)

PREFIX: Final = "airboss-"
"""Applications whose name begins so are ours; others are left alone."""
CALLS_MAX: Final = 1000
"""Serve must not hold calls back: the gateway sends them where the fewest are."""
TRIES: Final = 3
DETAIL_CHARS_MAX: Final = 400

STATES: Final[dict[str, ReplicaState]] = {
    "NOT_STARTED": "starting",
    "DEPLOYING": "starting",
    "RUNNING": "ready",
    "UNHEALTHY": "backing_off",
    "DEPLOY_FAILED": "failed",
    "DELETING": "stopped",
}
"""Serve's word for an application, in ours."""


class RayHost:
    """One connection to a Ray cluster. Blocks on it; one thread asks, one call at a time.

    `address` is as `ray.init` takes it, `url` where Serve's proxy is or shall be reached. `drain_s` is how
    long Serve lets a replica finish that is deleted. Applications of ours that are there are taken over.
    Raises SetupError without Ray or without a cluster.
    """

    def __init__(self, *, address: str, url: str, drain_s: float) -> None:
        # Ray sends usage statistics home unless told not to, and reads this when it is imported.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            import ray  # noqa: PLC0415  # an extra of 240 MB and more
            from ray import serve  # noqa: PLC0415  # as above
        except ImportError as error:
            raise SetupError(f'host = "ray" needs Ray ({error}): {install("ray")}') from error
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        self._ray: Any = ray
        self._serve: Any = serve
        self._drain_s = drain_s
        self._placements: dict[str, Placement] = {}
        parts = urlsplit(url)
        try:
            ray.init(address=address, namespace="airboss", log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SetupError(
                f"no Ray cluster answers at {address!r}: {error}. Start one with `ray start --head`, or say"
                " where it is with address in [replicas]."
            ) from error
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": parts.hostname or "127.0.0.1", "port": parts.port or 80},
        )

    def want(self, placements: Sequence[Placement]) -> None:
        """These shall run and no others."""
        wanted = {application(each): each for each in placements}
        there = {name for name in self._applications() if name.startswith(PREFIX)}
        new = [each for name, each in wanted.items() if name not in there]
        if new:
            self._serve.run_many(
                [self._target(each) for each in new],
                wait_for_ingress_deployment_creation=False,
                wait_for_applications_running=False,
            )
        for name in there - wanted.keys():
            log.info("deleting the application %s", name)
            self._serve.delete(name, _blocking=False)
        self._placements |= wanted
        for name in self._placements.keys() - wanted.keys() - there:
            del self._placements[name]

    def replicas(self) -> Sequence[Replica]:
        """How each application of ours stands."""
        return [
            replica(self._placements[name], found)
            for name, found in self._applications().items()
            if name in self._placements
        ]

    def close(self) -> None:
        """End our applications, as the engines of one machine end with it, and leave the cluster."""
        for name in self._applications():
            if name.startswith(PREFIX):
                self._serve.delete(name, _blocking=False)
        self._ray.shutdown()

    def _applications(self) -> dict[str, Any]:
        return dict(self._serve.status().applications)

    def _target(self, placement: Placement) -> Any:
        deployment = self._serve.deployment(
            RayEngine,
            name="engine",
            num_replicas=1,
            max_ongoing_requests=CALLS_MAX,
            graceful_shutdown_timeout_s=self._drain_s,
            health_check_period_s=2.0,
            health_check_timeout_s=10.0,
            max_constructor_retry_count=TRIES,
            user_config={"engine": placement.engine},
            ray_actor_options={"num_cpus": 1},
        )
        return self._serve.RunTarget(
            target=deployment.bind(placement.model, placement.settings),
            name=application(placement),
            route_prefix=urlsplit(placement.url).path.removesuffix("/v1"),
        )


def application(placement: Placement) -> str:
    """The name of a placement's application: another engine is another one."""
    return f"{PREFIX}{placement.id.replace(':', '~')}-{placement.engine}"


def replica(placement: Placement, found: Any) -> Replica:
    """How an application stands, by what Serve says of it."""
    state = STATES.get(str(getattr(found.status, "value", found.status)), "starting")
    return Replica(
        id=placement.id,
        model=placement.model,
        url=placement.url,
        state=state,
        restarts=0,
        since=datetime.fromtimestamp(found.last_deployed_time_s, UTC),
        detail=None if state == "ready" else detail(found),
    )


def detail(found: Any) -> str | None:
    """What Serve says of an application that is not ready: our own words in it, if there are."""
    messages = [found.message, *(each.message for each in found.deployments.values())]
    for message in messages:
        for line in (message or "").splitlines():
            if "SetupError: " in line:
                return line.rpartition("SetupError: ")[2][:DETAIL_CHARS_MAX]
    said = next((each for each in messages if each), "")
    return said.strip()[:DETAIL_CHARS_MAX] or None
