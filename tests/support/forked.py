"""Gateway workers that begin as copies of one process, which has loaded what they need.

To load it takes most of the processor time of a start, and hundreds are started. A copy is a process like any
other: its id, signals, threads and descriptors are its own, and it ends as it would. Only its beginning is
not what a user does; `Gateway` takes the command where that is tried, and at every start after the first.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

NUMBER = struct.Struct("i")
LISTEN = 3
"""The descriptor of a worker's socket."""


class Forked:
    """A worker, as `subprocess.Popen` has one. `told` says its id, and at its end its exit status."""

    def __init__(self, told: socket.socket) -> None:
        self._told = told
        (self.pid,) = NUMBER.unpack(told.recv(NUMBER.size))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"worker {self.pid}", timeout or 0)
            with self._told:
                (self.returncode,) = NUMBER.unpack(self._told.recv(NUMBER.size))
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing happens where it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Original:
    """The process that copies itself. Its copies end with it, and it with this process."""

    def __init__(self) -> None:
        self.inherits = inherited()
        self._asked, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.support.forked", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdout=subprocess.DEVNULL)
        self.pid = self._process.pid
        atexit.register(self._end)

    def start(self, arguments: list[str], listen: int, log: int) -> Forked:
        """A worker with these arguments, whose socket is LISTEN there."""
        told, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._asked, [json.dumps(arguments).encode()], [listen, log, theirs.fileno()])
        return Forked(told)

    def _end(self) -> None:
        self._asked.shutdown(socket.SHUT_RDWR)
        self._process.wait(60)


def inherited() -> object:
    """What a process has of the one that starts it, and a copy of the original."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}, Path.cwd()


@cache
def original() -> Original:
    """The one of this process, started when it is first asked for."""
    return Original()


def originals() -> set[int]:
    """The id of the original, if there is one."""
    return {original().pid} if original.cache_info().currsize else set()


def workers() -> set[int]:
    """Its copies that run."""
    listed = [Path(f"/proc/{pid}/task/{pid}/children").read_text() for pid in originals()]
    return {int(pid) for each in listed for pid in each.split()}


def main() -> None:
    """Copy this process when asked, until nobody is there to ask; `return` in a copy is its end."""
    # What few workers load, and then at once, is here too.
    import airboss.store.responses  # noqa: F401, PLC0415 - not for those who only ask
    from tests.support import gateway_process  # noqa: PLC0415 - as above

    asked = socket.socket(fileno=int(sys.argv[1]))
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        ready, _, _ = select.select([asked.fileno(), *running], [], [])
        for descriptor in running.keys() & set(ready):
            pid, told = running.pop(descriptor)
            os.close(descriptor)
            with told, suppress(OSError):  # nobody wants to know
                told.send(NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
        if asked.fileno() not in ready:
            continue
        said, descriptors, _, _ = socket.recv_fds(asked, 65536, 3)
        if not said:
            break
        pid = os.fork()
        if pid == 0:
            for _, told in running.values():
                told.detach()
            become(json.loads(said), *descriptors[:2])
            asked.detach()
            gateway_process.main()
            return
        for descriptor in descriptors[:2]:
            os.close(descriptor)
        told = socket.socket(fileno=descriptors[2])
        told.send(NUMBER.pack(pid))
        running[os.pidfd_open(pid)] = pid, told
    for pid, _ in running.values():
        os.kill(pid, signal.SIGKILL)


def become(arguments: list[str], listen: int, log: int) -> None:
    """Have the arguments and the descriptors of a worker, and no others."""
    sys.argv[1:] = arguments
    listen = os.dup(listen)  # behind all that may be LISTEN or before it
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(listen, LISTEN)
    os.closerange(LISTEN + 1, os.sysconf("SC_OPEN_MAX"))


if __name__ == "__main__":
    main()
