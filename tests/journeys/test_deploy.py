"""What Kubernetes would run, as deploy/kubernetes says it: arguments, configuration and variables."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx2

from airboss.testing import FakeProvider
from tests.deploy.manifests import BASE, container
from tests.journeys.test_joined import all_moved
from tests.support import postgres
from tests.support.airboss import Airboss
from tests.support.valkey import ValkeyServer, valkey, valkey_process
from tests.support.wait import until

__all__ = ["valkey", "valkey_process"]

CALLERS_KEY = "ab_a-key-that-callers-have-been-given"
SLOW = 'fake:{"words": 30, "tokens_per_s": 10}'


def pod(name: str, folder: Path, provider: FakeProvider, env: dict[str, str], console: str = "") -> Airboss:
    """A container of the StatefulSet, not started, on this machine's loopback and in a folder of its own."""
    args = [
        each.replace("/etc/airboss/", f"{folder}/")
        .replace("http://airboss-console:8701", console)
        .replace("0.0.0.0", "127.0.0.1")
        for each in container(name)["args"][1:]
    ]
    text = (BASE / "airboss.toml").read_text()
    served = text.replace('kind = "openai"\n', f'kind = "openai"\nbase_url = "{provider.url}"\n')
    assert served != text
    # ClickHouse has tests of its own.
    return Airboss(folder, served.replace("records = ", "# records = "), *args, env=env)


def stream(at: Airboss, said: list[str], begun: threading.Event) -> None:
    """One call that takes three seconds."""
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": SLOW}]}
    url, headers = f"{at.ready['base_url']}/chat/completions", {"authorization": f"Bearer {CALLERS_KEY}"}
    with httpx2.stream("POST", url, json=body, headers=headers, timeout=60) as answer:
        for line in answer.iter_lines():
            said.append(line)
            begun.set()


def test_pods_serve_and_end_without_a_call_cut(
    fake_process: FakeProvider, valkey: ValkeyServer, tmp_path: Path
) -> None:
    """The one that leads and a gateway that joins it start without a home, answer, and on SIGTERM finish what
    they have before they end with 0; they write nothing beside their data, and each call has its record."""
    env = {
        "AIRBOSS_ADMIN_KEY": "a-key-that-administrators-have",
        "AIRBOSS_API_KEY": CALLERS_KEY,
        "AIRBOSS_LEDGER": postgres.database(tmp_path),
        "AIRBOSS_COUNTERS": valkey.url,
        "OPENAI_API_KEY": "sk-of-the-provider",
        "HOME": "/nonexistent",
    }
    leads = pod("airboss", tmp_path / "leads", fake_process, env)
    with leads:
        gateway = pod("airboss-gateway", tmp_path / "gateway", fake_process, env, leads.ready["console_url"])
        said: dict[str, list[str]] = {"leads": [], "gateway": []}
        with gateway:
            begun = threading.Event()
            call = threading.Thread(target=stream, args=(gateway, said["gateway"], begun))
            call.start()
            assert begun.wait(60)
            assert gateway.stop() == 0
            call.join()
        until(lambda: leads.api("nodes")["nodes"] == [])
        with gateway:  # the pod is replaced, its volume is not
            all_moved(leads)
        begun = threading.Event()
        call = threading.Thread(target=stream, args=(leads, said["leads"], begun))
        call.start()
        assert begun.wait(60)
        assert leads.stop() == 0
        call.join()
        assert [lines[-2:] for lines in said.values()] == [["data: [DONE]", ""]] * 2
        assert len(leads.records()) == 2
        for at in (leads, gateway):
            assert {each.name for each in at.root.iterdir()} == {
                "airboss.toml", ".airboss", "up.out", "up.err"
            }, "a root that is read only would have refused it"  # fmt: skip
