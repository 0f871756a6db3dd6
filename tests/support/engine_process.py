"""A local engine in a process of its own, as a replica runs it, for tests of what stands before it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from airboss.replicas.health import healthy
from tests.support.engine import starter_weights
from tests.support.ports import unused_port
from tests.support.wait import until

CONTEXT_TOKENS = 4096
SLOTS = 4
SLOT_TOKENS = CONTEXT_TOKENS // SLOTS


class Engine:
    """A running engine. `url` is its root, without `/v1`; asking it does not pass a gateway."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        # It closes a connection within milliseconds of a stream's end: each request has its own.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self.client = httpx2.Client(base_url=url, timeout=120, trust_env=False, limits=limits)

    def ask(self, path: str, body: dict[str, Any]) -> httpx2.Response:
        """What the engine itself answers."""
        return self.client.post(path, json=body)

    def busy(self) -> int:
        """Slots at work."""
        return sum(slot["is_processing"] for slot in self.client.get("/slots").json())

    def said(self) -> int:
        """Tokens of the answers that are under way."""
        slots = [slot for slot in self.client.get("/slots").json() if slot["is_processing"]]
        return sum(slot["next_token"][0]["n_decoded"] for slot in slots)


@contextmanager
def engine(*, chat_template: str | None = None, weights: Path | None = None) -> Iterator[Engine]:
    """An engine with four slots of 1024 tokens and one thread, until the end of the block. `chat_template`
    stands in for the model's own."""
    port = unused_port()
    options = {"weights": str(weights or starter_weights()), "port": port, "alias": "tiny", "threads": 1}
    options |= {"context_tokens": CONTEXT_TOKENS, "slots": SLOTS}
    command = [sys.executable, "-m", "tests.support.engine_process", json.dumps(options), chat_template or ""]
    process = subprocess.Popen(command, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: process.poll() is not None or healthy(url), timeout_s=60)
        assert process.poll() is None
        running = Engine(process, url)
        with running.client:
            yield running
    finally:
        process.kill()
        process.wait(60)


def main() -> None:
    """Serve until killed."""
    import xllamacpp  # type: ignore[import-untyped]  # noqa: PLC0415 - only here

    from airboss.replicas import llamacpp  # noqa: PLC0415 - as above

    options, template = json.loads(sys.argv[1]), sys.argv[2]
    started = xllamacpp.Server

    def start(params: Any) -> Any:
        if template:
            params.chat_template = template
        return started(params)

    xllamacpp.Server = start
    llamacpp.serve(weights=Path(options.pop("weights")), **options)


if __name__ == "__main__":
    main()
