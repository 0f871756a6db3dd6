"""A network between Airboss and a database, which a test cuts, silences or slows."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.support import postgres


class Between:
    """Listens on a port of 127.0.0.1 and passes on to an address or a socket's path.

    `cut` refuses and resets all; `silence` has all bytes wait, both ways, and what connects too; `mend` takes
    both back. `delay_s` holds each piece up for so long; `half_close` ends the way back of all that is open.
    """

    def __init__(self, to: tuple[str, int] | str) -> None:
        self._to = to
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._passes = threading.Event()
        self._passes.set()
        self._ended = False
        self.delay_s = 0.0
        self.passed = [0, 0]
        """Bytes that have gone there, and back."""
        self._listener: socket.socket | None = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended = True
        self.cut()
        self._passes.set()

    def cut(self) -> None:
        """As when the server is gone: nobody listens, and what was open is reset."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.reset()

    def reset(self) -> None:
        """Reset what is open; new connections are taken."""
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    each.shutdown(socket.SHUT_RDWR)

    def half_close(self) -> None:
        """Nothing more is sent to Airboss on what is open; what it sends is still taken."""
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_WR)

    def hold(self) -> threading.Event:
        """What is open, and what is sent on it from now on, waits until this is set; what connects passes."""
        held, self._passes = self._passes, threading.Event()
        held.clear()
        self._passes.set()
        return held

    def silence(self) -> None:
        """From now on nothing is passed on, and nothing is refused."""
        self._passes.clear()

    def mend(self) -> None:
        """Pass on again, what waited first."""
        self._passes.set()
        if self._listener is None:
            self._listener = self._listen(self.port)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=256)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(near,), daemon=True).start()

    def _pass(self, near: socket.socket) -> None:
        passes = self._passes
        passes.wait()
        far = socket.socket(socket.AF_UNIX if isinstance(self._to, str) else socket.AF_INET)
        with near, far, selectors.DefaultSelector() as ready:
            with self._lock:
                self._open.add(near)
            try:
                far.connect(self._to)
                ready.register(near, selectors.EVENT_READ, (far, 0))
                ready.register(far, selectors.EVENT_READ, (near, 1))
                while not self._ended and self._step(ready, passes):
                    pass
            except OSError:
                pass
            finally:
                with self._lock:
                    self._open.discard(near)

    def _step(self, ready: selectors.BaseSelector, passes: threading.Event) -> bool:
        for key, _ in ready.select(0.5):
            to, way = key.data
            piece = key.fileobj.recv(65536)  # type: ignore[union-attr]  # sockets alone are registered
            passes.wait()
            if not piece:
                ready.unregister(key.fileobj)
                to.shutdown(socket.SHUT_WR)
                continue
            if self.delay_s:
                threading.Event().wait(self.delay_s)
            self.passed[way] += len(piece)
            to.sendall(piece)
        return bool(ready.get_map())


@contextmanager
def between(folder: Path) -> Iterator[tuple[Between, str]]:
    """A network to a database of the folder's, and its URL."""
    parts = urlsplit(postgres.database(folder))
    at = {name: values[0] for name, values in parse_qs(parts.query).items()}
    with Between(f"{at['host']}/.s.PGSQL.{at['port']}") as network:
        yield network, f"postgresql://{at['user']}@127.0.0.1:{network.port}{parts.path}"
