"""Clients that keep calling and remember how each call ended for them."""

from __future__ import annotations

import threading
from typing import Any, Self

import httpx2
import msgspec


class Outcome(msgspec.Struct, frozen=True):
    """How one call ended for its client. `ended`: the response came to its end, good or bad."""

    id: str | None
    status: int | None
    ended: bool
    stream: bool


class Load:
    """So many threads that call in turn, streamed and not, until stopped; each rests `pause_s` between."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        bodies: list[dict[str, Any]],
        threads: int = 4,
        *,
        pause_s: float = 0.0,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._pause_s = pause_s
        self._base_url = base_url
        self._headers = {"authorization": f"Bearer {api_key}"}
        self._bodies = bodies
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def good(self) -> int:
        """Calls that were answered."""
        return sum(1 for o in self.outcomes if o.ended and o.status == 200)

    def _run(self, number: int) -> None:
        with httpx2.Client(base_url=self._base_url, headers=self._headers, timeout=30.0) as client:
            turn = number
            while not self._stopping.is_set():
                self.outcomes.append(self._call(client, self._bodies[turn % len(self._bodies)]))
                turn += 1
                self._stopping.wait(self._pause_s)

    def _call(self, client: httpx2.Client, body: dict[str, Any]) -> Outcome:
        stream = bool(body.get("stream"))
        record_id = None
        status = None
        try:
            with client.stream("POST", "/chat/completions", json=body) as response:
                status = response.status_code
                # Errors before admission have an id too, and no release: they leave no record.
                if "x-airboss-release" in response.headers:
                    record_id = response.headers["x-request-id"]
                last = ""
                for line in response.iter_lines():
                    last = line or last
        except httpx2.TransportError:
            self._stopping.wait(0.02)
            return Outcome(record_id, status, ended=False, stream=stream)
        whole = status != 200 or not stream or last == "data: [DONE]"
        if status != 200:
            self._stopping.wait(0.02)
        return Outcome(record_id, status if whole else None, ended=True, stream=stream)
