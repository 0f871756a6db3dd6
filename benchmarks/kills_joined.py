"""Whether `kill -9` of any process of three machines, or of a whole machine, loses or doubles a record.

    python -m benchmarks.kills_joined [--rounds 60] [--seed N]

One Airboss leads and two have joined it, with a real PostgreSQL and a real Valkey, all on this machine. Six
callers ask all three, plainly and in streams, while gateways, controllers, the store and whole joined
machines are killed in the order and at the moments of a seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
from benchmarks.stats import machine
from tests.journeys.test_joined import all_moved, config_of, joined
from tests.support.airboss import Airboss
from tests.support.valkey import ValkeyServer
from tests.support.wait import until

from airboss.testing import FakeProvider

CALLERS = 6
STREAM = 'fake:{"words": 20, "tokens_per_s": 200}'
PLAIN = 'fake:{"words": 3}'
WHOLE_MACHINE = 0.15
"""The share of rounds in which a joined machine goes down whole."""


class Calls:
    """Callers of several machines. `answered` are the ids of calls whose answers came to their end."""

    def __init__(self, machines: Sequence[Airboss], key: str) -> None:
        self.answered: list[str] = []
        self._machines = machines
        self._headers = {"authorization": f"Bearer {key}", "connection": "close"}
        self._stop = threading.Event()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """They call until the end of the block."""
        threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _call(self, number: int) -> None:
        dice = random.Random(number)
        while not self._stop.is_set():
            at, stream = dice.choice(self._machines), dice.random() < 0.3
            messages = [{"role": "user", "content": STREAM if stream else PLAIN}]
            body = {
                "model": "support",
                "messages": messages,
                "stream": stream,
                "user": f"u{dice.randrange(50)}",
            }
            url = f"{at.ready['base_url']}/chat/completions"
            try:
                answer = httpx2.post(url, json=body, headers=self._headers, timeout=30.0)
            except httpx2.TransportError:
                self._stop.wait(0.05)
                continue
            if answer.status_code == 200 and (not stream or answer.text.rstrip().endswith("[DONE]")):
                self.answered.append(answer.headers["x-request-id"])


def kill_in_turn(machines: Sequence[Airboss], count: int, seed: int) -> Counter[str]:
    """Kill so many times, of machines of which the first leads; what was killed how often."""
    dice, killed = random.Random(seed), Counter[str]()
    for _ in range(count):
        # A kill comes at a moment of the seed, whatever is going on: there is nothing to wait for.
        time.sleep(dice.uniform(0.3, 2.0))
        at = dice.choice(machines)
        if at is not machines[0] and dice.random() < WHOLE_MACHINE:
            at.close()
            at.start()
            killed["machine"] += 1
            continue
        name = dice.choice(("controller", "gateway-0", "store" if at is machines[0] else "controller"))
        if pid := at.pid(name):
            with suppress(ProcessLookupError):  # it is being started again
                os.kill(pid, signal.SIGKILL)
                killed[name] += 1
    return killed


def rounds(count: int, seed: int) -> dict[str, int]:
    """Kill so many times. Raises AssertionError where a record is lost or double."""
    with tempfile.TemporaryDirectory(prefix="airboss-kills-") as root, FakeProvider() as provider:
        folder = Path(root)
        valkey = ValkeyServer(folder)
        try:
            text = config_of(provider, valkey, folder)
            with (
                Airboss(folder / "leads", text) as leads,
                joined(folder / "two", text, leads, "--workers", "2") as two,
                joined(folder / "three", text, leads) as three,
            ):
                calls = Calls((leads, two, three), leads.ready["api_key"])
                with calls.under_way():
                    killed = kill_in_turn((leads, two, three), count, seed)
                until(lambda: leads.api("status") and leads.api("nodes"), timeout_s=60)
                all_moved(leads)
                found = Counter(each["id"] for each in leads.records("--limit", "100000"))
                said = Counter(each["error_type"] for each in leads.records("--limit", "100000"))
        finally:
            valkey.kill()
    lost = set(calls.answered) - found.keys()
    assert not lost, f"lost: {sorted(lost)[:10]}"
    assert set(found.values()) == {1}, f"double: {[each for each, n in found.items() if n > 1][:10]}"
    return {
        "kills": killed.total(),
        "of whole machines": killed["machine"],
        "answered": len(calls.answered),
        "interrupted": said["interrupted"],
        "lost or double": 0,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill, check and print; ends with an AssertionError where something is lost or double."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**8)
    print(f"{json.dumps(machine())}\nseed {seed}", flush=True)
    began = time.monotonic()
    found = rounds(given.rounds, seed)
    print(", ".join(f"{name} {n}" for name, n in found.items()), f"in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
