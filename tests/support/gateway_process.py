"""One gateway worker as a process, served from a snapshot in a file: `python -m … SNAPSHOT JOURNAL FD`."""

from __future__ import annotations

import asyncio
import importlib
import logging
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, cast

import msgspec
import uvloop

import airboss.cli  # noqa: F401 - as in every process: what is loaded is not looked through for garbage
from airboss.config.prices import shipped
from airboss.domain.plan import Target
from airboss.domain.ports import Clock, Ledger, Snapshot
from airboss.gateway import serve as gateway_serve
from airboss.gateway.cached import AnswerCache
from airboss.gateway.kept import Keeping
from airboss.gateway.serve import GatewaySettings, serve
from airboss.governance.secrets import provider_key
from airboss.providers import o200k
from airboss.store.response_rows import ResponseStore
from airboss.telemetry.journal import JournalWriter

ADMIN_KEY = "ab_" + "a" * 43
SET = "--set="
"""Begins an option `--set=MODULE:NAME=SECONDS`: a time of the gateway's that is another in this worker."""


class Responses:
    """The store of responses, opened when it is first asked: for SQLAlchemy alone a process takes as much
    processor time to start as for all the rest, and few tests keep a response."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @cached_property
    def _store(self) -> ResponseStore:
        from airboss.store.responses import SqlResponseStore  # noqa: PLC0415 - as said

        return SqlResponseStore(self._url)


class FileLedger:
    """The snapshot in the file, whichever it is now."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def snapshot(self) -> Snapshot:
        """The file's snapshot."""
        return msgspec.json.decode(self._path.read_bytes(), type=Snapshot)

    def revision(self) -> int:
        """Its revision."""
        return self.snapshot().revision


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Wall-clock time."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return monotonic()


class SteppedClock:
    """The machine's clocks, each so many seconds ahead as a file says: `WALL MONOTONIC`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _ahead_s(self) -> list[float]:
        return [float(each) for each in self._path.read_text().split()]

    def now(self) -> datetime:
        """Wall-clock time."""
        return datetime.now(UTC) + timedelta(seconds=self._ahead_s()[0])

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return monotonic() + self._ahead_s()[1]


def _provider_key(target: Target) -> str | None:
    return provider_key(target, env={}, read=lambda path: path.read_text().strip())


def heed(options: list[str]) -> None:
    """Be another worker than usual, as they say."""
    for option in options:
        if option.startswith(SET):
            module, name, seconds = option.removeprefix(SET).replace("=", ":").split(":")
            setattr(importlib.import_module(f"airboss.{module}"), name, float(seconds))
    if "--slow-count" in options:

        def load_slowly(load: Callable[[], bool] = o200k.load) -> bool:
            """As on a busy machine."""
            Event().wait(2 * gateway_serve.TOLD_S)
            return load()

        o200k.load = load_slowly


def main() -> None:
    """Serve until told to stop."""
    snapshot, journal, fd, body_bytes_max, *options = sys.argv[1:]
    heed(options)
    logging.basicConfig(level=logging.INFO)
    root = Path(journal)
    stepped = root.parent / "clock"
    clock: Clock = SteppedClock(stepped) if stepped.exists() else SystemClock()
    writer = JournalWriter(root, "gateway-0")
    responses = Responses(f"sqlite:///{root.parent / 'ledger.db'}")
    metrics = root.parent / "metrics"
    metrics.mkdir(exist_ok=True)
    settings = GatewaySettings(
        name="gateway-0",
        body_bytes_max=int(body_bytes_max),
        metrics_dir=metrics,
        metrics_open="--closed-metrics" not in options,
        admin_key=ADMIN_KEY,
        own_secrets=("preset-secret",),
        prices=shipped,
    )
    coroutine = serve(
        ledger=cast("Ledger", FileLedger(Path(snapshot))),  # only what a gateway asks
        journal=writer,
        listen=socket.socket(fileno=int(fd)),
        settings=settings,
        provider_key=_provider_key,
        clock=clock,
        keeping=Keeping(store=cast("ResponseStore", responses), days=30),
        cache=AnswerCache(root.parent / "cache.db", clock=clock),
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(coroutine)
    writer.stop()


if __name__ == "__main__":
    main()
