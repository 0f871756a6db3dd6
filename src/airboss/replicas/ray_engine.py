"""One engine inside a Ray Serve replica: its process, and what passes requests on to it.

This runs on the nodes of a Ray cluster, where Airboss is installed too. Nothing here imports Ray.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from airboss.config import ModelConfig
from airboss.domain.errors import SetupError
from airboss.replicas.health import healthy
from airboss.replicas.llamacpp import LIFELINE_VARIABLE
from airboss.replicas.order import Order

START_S: Final = 600.0
"""So long fetching and loading may take."""
ASK_S: Final = 0.2
TAIL_BYTES: Final = 2000
WEIGHTS: Final = "~/.cache/airboss/weights"
"""Where a node keeps weights; the variable AIRBOSS_WEIGHTS names another folder."""


class RayEngine:
    """A Serve deployment's class. Constructing it starts the engine and waits until that is ready.

    Raises SetupError with the engine's own words if it does not get ready; Serve then tries again.
    """

    def __init__(self, model: str, settings: str) -> None:
        port = _free_port()
        order = Order(
            model=model,
            port=port,
            settings=msgspec.json.decode(settings, type=ModelConfig),
            weights=os.environ.get("AIRBOSS_WEIGHTS", WEIGHTS),
        )
        self._url = f"http://127.0.0.1:{port}"
        read, self._lifeline = os.pipe()
        # Its words go to a file: a pipe that nobody reads would stop it one day.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this object
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-P", "-m", "airboss.compose.engine_process", msgspec.json.encode(order)],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=(read,),
                env={**os.environ, LIFELINE_VARIABLE: str(read)},
            )
        finally:
            os.close(read)
        self._client = httpx2.AsyncClient(
            base_url=self._url, timeout=httpx2.Timeout(None, connect=5.0), trust_env=False
        )

    async def reconfigure(self, _config: Any) -> None:
        """Serve calls this before it sends anything: the one place where a start may await."""
        deadline = asyncio.get_running_loop().time() + START_S
        while not await asyncio.to_thread(healthy, self._url):
            code = self._process.poll()
            if code is not None:
                raise SetupError(f"the engine ended with exit code {code}: {self._last_words()}")
            if asyncio.get_running_loop().time() > deadline:
                raise SetupError(f"the engine was not ready after {START_S:.0f} s; see the node's logs")
            await asyncio.sleep(ASK_S)

    async def __call__(self, request: Request) -> Response:
        """Pass one request on, and its answer back as it comes."""
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        upstream = await self._client.send(
            self._client.build_request(
                request.method,
                path,
                content=await request.body(),
                headers={"content-type": request.headers.get("content-type", "application/json")},
            ),
            stream=True,
        )

        async def body() -> AsyncIterator[bytes]:
            try:
                async for piece in upstream.aiter_raw():
                    yield piece
            finally:
                await upstream.aclose()

        kept = {n: v for n, v in upstream.headers.items() if n in {"content-type", "retry-after"}}
        return StreamingResponse(body(), status_code=upstream.status_code, headers=kept)

    def check_health(self) -> None:
        """Serve asks every few seconds, and starts a replica anew after this has raised a few times."""
        if self._process.poll() is not None:
            raise SetupError(
                f"the engine ended with exit code {self._process.returncode}: {self._last_words()}"
            )

    def __del__(self) -> None:
        """The engine ends with its replica; where that is killed, the pipe tells it."""
        if "_process" in vars(self):
            self._process.terminate()
            os.close(self._lifeline)

    def _last_words(self) -> str:
        size = os.fstat(self._said.fileno()).st_size
        tail = os.pread(self._said.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES)).decode("utf-8", "replace")
        said = [line for line in tail.splitlines() if line.startswith("airboss: ")]
        return said[-1].removeprefix("airboss: ") if said else tail.strip()[-300:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
