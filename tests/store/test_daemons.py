"""Threads that a hanging database may keep: they answer as others do, and the process ends without them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

from airboss.store.daemons import Daemons
from tests.support.wait import until

HANGS = """
import asyncio, threading
from airboss.gateway import kept, serve, shelf, spending
from airboss.supervisor import session

def hang():
    asked.release()
    threading.Event().wait()

async def main():
    for each in (kept, serve, shelf, spending, session):
        asyncio.get_running_loop().run_in_executor(each._threads, hang)
        asked.acquire()

asked = threading.Semaphore(0)
asyncio.run(main())
print("ended")
"""


def test_a_process_ends_while_a_database_hangs() -> None:
    """Whichever question to the ledger of a gateway, or of who supervises, it has not answered."""
    done = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("ended\n", 0), done.stderr


def test_they_answer_and_are_no_more_than_they_may_be() -> None:
    """Answers and errors come to who asked, also while all are busy; who has gone is passed over."""
    go_on, at_once, most, lock = threading.Event(), 0, 0, threading.Lock()

    def ask(number: int) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        go_on.wait(10)
        with lock:
            at_once -= 1
        return 10 // number

    async def body() -> None:
        loop, threads = asyncio.get_running_loop(), Daemons(2, "few")
        asked = [loop.run_in_executor(threads, ask, number) for number in (5, 0, 2, 1)]
        gone = threads.submit(ask, 1)
        assert gone.cancel()
        go_on.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert (found[0], found[2:], type(found[1])) == (2, [5, 10], ZeroDivisionError)

    asyncio.run(body())
    assert most == 2


def test_those_with_nothing_to_do_end_and_what_comes_then_is_done() -> None:
    """Also what comes in just the moment in which one ends, and two that wait for the same end both."""
    for _ in range(20):
        threads = Daemons(2, "idle", idle_s=0.0005)
        for number in range(50):
            assert threads.submit(abs, -number).result(60) == number
            threading.Event().wait(0.0005)
        until(lambda: not [each for each in threading.enumerate() if each.name.startswith("idle_")])
    assert threads.submit(abs, -1).result(60) == 1
