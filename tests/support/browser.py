"""A real Chromium, and an application served to it.

A machine without Chromium skips these tests and says so; with CI=true it fails, because there they must run.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from playwright.sync_api import Browser, expect, sync_playwright
from starlette.applications import Starlette

from airboss.console.protocol import BoundedProtocol
from tests.support.wait import until

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first is the same engine without windows, of which each visitor would have one: in half of the time."""
ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000
"""So long what is expected of a page is waited for; Playwright would for five seconds."""


def chromium() -> str:
    """The path of Chromium; skips the test, or fails it in CI, where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        missing = "no Chromium on the PATH: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser of our own."""
    path = chromium()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        try:
            yield browser
        finally:
            browser.close()


class Server(uvicorn.Server):
    """Ends live pages before it waits for connections to end, as the controller does."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As the base class."""
        self.config.app.state.live.close()  # type: ignore[union-attr]
        await super().shutdown(sockets)


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """The application on a free port of 127.0.0.1; gives its address."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_level="warning",
        timeout_graceful_shutdown=1,
        http=BoundedProtocol,
        ws="none",
        server_header=False,
    )
    server = Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
