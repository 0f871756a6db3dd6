"""SIGTERM as an event."""

from __future__ import annotations

import subprocess
import sys

import pytest

HELD = """
import os, signal
from airboss.store.stopping import stop_on_signals
stop = stop_on_signals()
with stop._cond:
    os.kill(os.getpid(), signal.{name})
assert stop.wait(30)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_is_heard_that_comes_while_the_event_is_looked_at(name: str) -> None:
    """A handler that set it would wait for ever for the lock that its own thread holds just then."""
    subprocess.run([sys.executable, "-c", HELD.format(name=name)], timeout=60, check=True)
