"""The starter model on a Ray cluster of two nodes, through the gateway."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

# Before Ray is imported: without it its processes listen on the machine's own address, not on loopback.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray", reason="`make test-ray` has Ray")

from ray.cluster_utils import Cluster  # noqa: E402 - as above

from tests.journeys.configs import STARTER_MODEL  # noqa: E402 - as above
from tests.support.airboss import Airboss, run_airboss  # noqa: E402 - as above
from tests.support.engine import starter_weights  # noqa: E402 - as above
from tests.support.load import Load  # noqa: E402 - as above
from tests.support.ports import unused_port  # noqa: E402 - as above
from tests.support.wait import until  # noqa: E402 - as above

TWO = STARTER_MODEL.replace("threads = 1", "threads = 1\nslots = 2\nreplicas = { min = 2, max = 2 }")
ONE_CPU = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 100 * 2**20}
STREAM = {
    "model": "assistant",
    "stream": True,
    "max_tokens": 24,
    "messages": [{"role": "user", "content": "Tell me a story."}],
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with one logical processor each, so that two engines must be on both."""
    made = Cluster(
        initialize_head=True, connect=False, head_node_args={**ONE_CPU, "include_dashboard": False}
    )
    made.add_node(**ONE_CPU)
    yield made
    made.shutdown()


def replicas(airboss: Airboss) -> list[dict[str, Any]]:
    """`airboss replica list --json`."""
    done = run_airboss("replica", "list", "--json", "--data-dir", str(airboss.data), cwd=airboss.root)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def where(cluster: Any) -> str:
    """The part of the configuration that says where engines run."""
    url = f"http://127.0.0.1:{unused_port()}"
    return f'[replicas]\nhost = "ray"\naddress = "{cluster.address}"\nurl = "{url}"\n'


@pytest.fixture(scope="module")
def airboss(cluster: Any, where: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airboss]:
    """An Airboss with two engines on the cluster."""
    env = {"AIRBOSS_WEIGHTS": str(starter_weights().parent)}
    made = Airboss(tmp_path_factory.mktemp("ray") / "a", TWO + where, weights=starter_weights(), env=env)
    with closing(made.start(timeout_s=180)):
        yield made
        assert made.stop() == 0, made.log[-5000:]


def load(airboss: Airboss, at_once: int) -> Load:
    """Streams, so many at once."""
    return Load(airboss.ready["base_url"], airboss.ready["api_key"], [STREAM], at_once)


def test_two_nodes_serve_streams(airboss: Airboss, cluster: Any) -> None:
    """Both engines are ready, on a node each, and an answer comes piece by piece."""
    assert [each["state"] for each in replicas(airboss)] == ["ready", "ready"]
    ray.init(address=cluster.address, logging_level="ERROR")
    assert ray.available_resources().get("CPU", 0) == 0, "one processor of each node is taken"
    ray.shutdown()
    with airboss.client() as client, client.stream("POST", "/chat/completions", json=STREAM) as stream:
        events = [line for line in stream.iter_lines() if line.startswith("data: {")]
    assert len(events) > 10


def test_one_is_taken_out_under_load(airboss: Airboss, where: str) -> None:
    """No stream is cut, though the process that speaks to Ray is killed in between; both have served."""
    file = airboss.root / "one.toml"
    file.write_text(TWO.replace("min = 2, max = 2", "min = 1, max = 1") + where)
    with load(airboss, 3) as streams:
        until(lambda: streams.good >= 6, timeout_s=60)
        killed = airboss.pid("ray")
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        airboss.verb("apply", str(file))
        until(lambda: [each["state"] for each in replicas(airboss)] == ["ready"], timeout_s=90)
    assert streams.good == len(streams.outcomes), streams.outcomes
    airboss.settled()
    assert len({a["url"] for each in airboss.records() for a in each["attempts"]}) == 2


def test_weights_that_do_not_load_are_said(airboss: Airboss, where: str) -> None:
    """What the engine said on its node is the reason that is shown, and the other goes on."""
    file = airboss.root / "gone.toml"
    gone = '[models.gone]\nprovider = "local"\nmodel = "file:/nowhere.gguf"\n'
    gone += '[deployments.gone]\nmodel = "gone"\n'
    file.write_text(TWO.replace("min = 2, max = 2", "min = 1, max = 1") + gone + where)
    airboss.verb("apply", str(file))

    def failed() -> str:
        return next((each["detail"] for each in replicas(airboss) if each["state"] == "failed"), "")

    assert "there is no file /nowhere.gguf" in until(failed, timeout_s=90, every_s=1)
    assert airboss.chat(max_tokens=4).status_code == 200
    assert until(lambda: airboss.chat(model="gone").status_code) == 503
