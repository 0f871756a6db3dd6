"""What a worker keeps of the memory that large bodies took, and how what streams use lies in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airboss.gateway.http1 import Connection as ClientConnection
from airboss.governance.screening_stream import StreamedText
from airboss.providers.assembly import Assembly
from airboss.providers.connection import Connection as UpstreamConnection

SCENE = """
from pathlib import Path
from airboss.gateway.memory import KEPT_BYTES, FreeMemory

def resident():
    return next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines()
                if line.startswith("RssAnon"))

def bodies(many):
    # Something small behind each, so that none of it is at the heap's end.
    return [(b"x" * (1 << 20), bytearray(2000)) for _ in range(many)]

free = FreeMemory()
before = resident()
pins = [pin for _, pin in bodies(4 * KEPT_BYTES >> 20)]
many = resident() - before
free.bound()
after_many = resident() - before
pins += [pin for _, pin in bodies(KEPT_BYTES >> 21)]
few = resident()
free.bound()
print(many, after_many, few - resident())
"""


def test_much_is_given_back_and_little_is_kept() -> None:
    """128 MiB go back to the system; 16 MiB stay for the next bodies."""
    done = subprocess.run(
        [sys.executable, "-c", SCENE], capture_output=True, text=True, check=True, timeout=60
    )
    many, after_many, given_of_few = map(int, done.stdout.split())
    assert many > 100 << 20
    assert after_many < 20 << 20
    assert given_of_few < 1 << 20


@pytest.mark.parametrize("kind", [ClientConnection, UpstreamConnection, Assembly, StreamedText])
def test_what_every_event_asks_has_no_dictionary(kind: type) -> None:
    """Of a thousand streams it would be out of the processor's caches at each event."""
    assert "__dict__" not in dir(kind)
