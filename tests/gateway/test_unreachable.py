"""A place that lets connections wait: who can be answered elsewhere waits for it once, and briefly."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.plan import DeploymentPlan, Retry
from airboss.providers.pools import CONNECT_TIMEOUT_S
from airboss.testing import FakeProvider
from tests.gateway.test_kept_connections import Closing
from tests.support.gateway import PATIENT, Gateway, deployment
from tests.support.wait import until


@pytest.fixture
def silent() -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A host that takes connections and says nothing in them, of TLS neither; and those it has taken."""
    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as held:
        taken: list[socket.socket] = []

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(held.enter_context(listening.accept()[0]))

        thread = threading.Thread(target=take)
        thread.start()
        yield listening, taken
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def patient(url: str, **changes: Any) -> DeploymentPlan:
    """A deployment that may try three times, with time for all of them."""
    return deployment(url, timeout=PATIENT, retry=Retry(attempts=3), continuation="off", **changes)


def tries(gateway: Gateway, **body: Any) -> tuple[float, list[tuple[str, str | None]]]:
    """How long a call took, in seconds, and by whom it was tried and why that failed."""
    response = gateway.chat(**body)
    assert response.status_code == 200, response.text
    end = gateway.closed(response.headers["x-request-id"])
    tried = [(each["provider"], each["error_type"]) for each in end["attempts"]]
    return response.elapsed.total_seconds(), tried


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_silent_host_is_waited_for_once(
    own_root: Path, provider: FakeProvider, silent: tuple[socket.socket, list[socket.socket]], stream: bool
) -> None:
    """Less long than where nobody else is, and by one call: no later one waits, also when its breaker would
    let one find out, as the worker does that by itself."""
    listening, taken = silent
    backup = deployment(provider.url, provider="backup").target
    plan = patient(f"https://127.0.0.1:{listening.getsockname()[1]}/v1", fallbacks=(backup,))
    with Gateway(own_root, plan) as gateway:
        took_s, tried = tries(gateway, stream=stream)
        assert tried == [("fake", "upstream_error"), ("backup", None)]
        assert took_s < CONNECT_TIMEOUT_S
        while len(taken) < 2:
            assert tries(gateway, stream=stream)[1] == [("backup", None)]
        assert tries(gateway, stream=stream)[1] == [("backup", None)]


def test_another_place_of_the_model_is_asked_soon(
    own_root: Path, provider: FakeProvider, silent: tuple[socket.socket, list[socket.socket]]
) -> None:
    """And alone from then on."""
    listening, _ = silent
    urls = (f"https://127.0.0.1:{listening.getsockname()[1]}/v1", provider.url)
    plan = patient(urls[0], base_urls=urls, key_refs=(None, None), weights=(1000.0, 0.001))
    with Gateway(own_root, plan) as gateway:
        took_s, tried = tries(gateway)
        assert [error for _, error in tried] == ["upstream_error", None]
        assert took_s < CONNECT_TIMEOUT_S
        assert [len(tries(gateway)[1]) for _ in range(20)] == [1] * 20


def test_one_that_takes_connections_again_is_asked_again(own_root: Path, provider: FakeProvider) -> None:
    """The worker finds that out."""
    upstream = Closing()
    backup = deployment(provider.url, provider="backup").target
    with contextlib.ExitStack() as full:
        upstream.listen(0)
        address = ("127.0.0.1", upstream.port)
        waiting = [full.enter_context(socket.socket()) for _ in range(2)]
        for each in waiting:  # no more have room
            each.setblocking(False)
            each.connect_ex(address)
        with Gateway(own_root, patient(upstream.url, fallbacks=(backup,))) as gateway:
            assert tries(gateway)[1] == [("fake", "upstream_error"), ("backup", None)]
            full.close()
            thread = threading.Thread(target=upstream.serve)
            thread.start()
            try:
                until(lambda: tries(gateway)[1] == [("fake", None)], timeout_s=60.0)
            finally:
                upstream.stop()
                thread.join()
