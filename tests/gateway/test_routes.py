"""What is said of a path that is no route, and what the event loop is kept free of."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

from airboss.compose.parts import SystemClock
from airboss.gateway.http1 import Connection
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.routes import Router, RouterSettings, instead_of
from airboss.gateway.worker import Worker
from airboss.telemetry.journal import JournalWriter

EXPOSITION = "airboss.telemetry.exposition"


@pytest.mark.parametrize(
    ("path", "meant", "words"),
    [
        ("/chat/completions", "'/v1/chat/completions'", "ends in /v1"),
        ("/v1/v1/chat/completions", "'/v1/chat/completions'", "ends in /v1"),
        ("/v1/chat/completions/responses", "'/v1/responses'", "nothing behind it"),
        ("/models", "'/v1/models'", "ends in /v1"),
        ("/v1/v1/messages", "'/v1/messages'", "ends before /v1"),
        ("/v1beta/models/gem:streamGenerateContent", "Gemini's own API", "not served"),
        ("/v1/models/gem:generateContent", "Gemini's own API", "not served"),
        ("/v1/assistants", "/v1/chat/completions, /v1/completions", "there are"),
        ("/health", "'/healthz'", "'/readyz'"),
        ("/health/liveliness", "'/healthz'", "'/readyz'"),
        ("/v1/health", "'/healthz'", "'/readyz'"),
        ("/key/info", "'/v1/key'", "has left"),
        ("/v1/model/info", "'/v1/models'", "lists"),
        ("/spend/logs", "`airboss records --by key`", "cost"),
        ("/global/spend/report", "'/api/v1/usage'", "cost"),
        ("/api/public/ingestion", "'/v1/traces'", "OpenTelemetry"),
        ("/api/2.0/mlflow/runs/create", "'/v1/traces'", "OpenTelemetry"),
        ("/", "`airboss status`", "the console"),
        ("/api/v1/records", "`airboss status`", "the console"),
    ],
)
def test_a_wrong_base_url_is_told_as_that(path: str, meant: str, words: str) -> None:
    """It has too little or too much; what is quite another route is told which there are."""
    said = instead_of(path)
    assert meant in said
    assert words in said


def test_routes_that_only_say_no_are_not_offered() -> None:
    """What takes no metrics is not among what there is."""
    assert "/v1/metrics" not in instead_of("/v1/assistants")


class Client:
    """A connection that keeps what it is sent."""

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """Keep it."""
        self.sent = status, headers, body


class Noted:
    """Finds no module, and notes in which thread one was looked for."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None."""
        del path, target
        if name == EXPOSITION:
            self.threads.append(threading.current_thread())
        return None


def test_what_shows_metrics_is_loaded_beside_the_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a good part of a second where there is much to do, of which every call would wait."""
    noted = Noted()
    monkeypatch.delitem(sys.modules, EXPOSITION, raising=False)
    monkeypatch.setattr(sys, "meta_path", [noted, *sys.meta_path])
    journal, client = JournalWriter(tmp_path, "0"), Client()
    asked = HttpRequest("GET", "/metrics", b"/metrics", {}, b"", True, False, time.perf_counter())

    async def scrape() -> None:
        worker = Worker(journal=journal, clock=SystemClock(), name="gateway-0")
        settings = RouterSettings(metrics_dir=tmp_path, metrics_open=True, admin_key="")
        answering = Router(worker, settings)(cast("Connection", client), asked)
        assert answering is not None
        await answering

    asyncio.run(scrape())
    journal.stop()
    assert client.sent[0] == 200
    assert b"airboss_journal_unwritable 0.0" in client.sent[2]
    (thread,) = noted.threads
    assert thread is not threading.main_thread()
