"""The store process: it owns one record log and answers for it on a unix socket, a thread a connection."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.store.span_rows import TracedLog
from airboss.store.stopping import stop_on_signals
from airboss.store.wire import QUESTION_BYTES_MAX, Answer, ConnectionLost, Question, Refusal, receive, send

CONNECTIONS_MAX: Final = 64
STOP_S: Final = 5.0
TIDY_S: Final = 0.25
"""So long we wait before looking whether there is something to tidy."""
TIDY_S_MAX: Final = 8.0

log = logging.getLogger(__name__)


def serve(
    record_log: TracedLog,
    socket_path: Path,
    *,
    stop: threading.Event | None = None,
    ready: Callable[[], None] | None = None,
) -> None:
    """Answer for `record_log` at `socket_path` until `stop` is set, then close the log.

    Without `stop`, SIGTERM and SIGINT end it; only a main thread can then call this. `ready` is called once
    connections are accepted. The socket is for this user only (mode 0600). Raises SetupError if the path
    cannot be listened on.
    """
    if stop is None:
        stop = stop_on_signals()
    service = _Service(record_log)
    listener = _listen(socket_path)
    acceptor = threading.Thread(target=service.accept, args=(listener,), name="store-accept", daemon=True)
    acceptor.start()
    tidier = threading.Thread(target=tidy, args=(record_log, stop), name="store-tidy", daemon=True)
    tidier.start()
    try:
        if ready is not None:
            ready()
        stop.wait()
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which closing alone does not
        listener.close()
        socket_path.unlink(missing_ok=True)
        acceptor.join(STOP_S)
        tidier.join(STOP_S)
        service.hang_up()
        record_log.close()


def tidy(record_log: TracedLog, stop: threading.Event) -> None:
    """Do what can wait, at most half of the time, so that moves come through, until `stop` is set. It rests
    as long as it worked, not as long as a move kept it waiting: words that fall behind are read again."""
    wait_s = least_s = TIDY_S
    while not stop.wait(wait_s):
        began = time.thread_time()
        try:
            more = record_log.tidy()
        except (StoreUnavailable, OSError, ValueError) as error:
            ours = isinstance(error, ValueError)
            log.warning("the record store could not be tidied (%s); it is tried again", error, exc_info=ours)
            more = False
        least_s = TIDY_S if more else min(2 * least_s, TIDY_S_MAX)  # where nothing comes, ever less often
        wait_s = time.thread_time() - began if more else least_s


class _Service:
    """The open connections and the log they ask."""

    def __init__(self, record_log: TracedLog) -> None:
        self._log = record_log
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}

    def accept(self, listener: socket.socket) -> None:
        """Take connections until the listener is shut down."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._converse, args=(connection,), name="store", daemon=True)
            with self._lock:
                full = len(self._open) >= CONNECTIONS_MAX
                if not full:
                    self._open[connection] = thread
            if full:
                message = f"the record store has {CONNECTIONS_MAX} connections, its most; close some"
                with connection, contextlib.suppress(OSError):
                    send(connection, Refusal(reason="unavailable", message=message))
            else:
                thread.start()

    def hang_up(self) -> None:
        """Let questions in progress be answered for a while, and end every connection."""
        with self._lock:
            still_open = dict(self._open)
        for connection in still_open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # no further question; the answer may still go out
        for thread in still_open.values():
            thread.join(STOP_S / max(1, len(still_open)))

    def _converse(self, connection: socket.socket) -> None:
        """Answer one question after another until the client goes."""
        try:
            with connection:
                understood = True
                while understood:
                    message = receive(connection, bytes_max=QUESTION_BYTES_MAX)
                    reply, understood = self._reply(message)
                    send(connection, reply)
        except (OSError, ConnectionLost) as error:
            log.debug("a client of the store went: %s", error)
        except ValueError as error:
            log.warning("a client of the store was cut off: %s", error)
        finally:
            with self._lock:
                self._open.pop(connection, None)

    def _reply(self, message: bytearray) -> tuple[Answer | Refusal, bool]:
        """The answer, and whether the question was understood at all."""
        try:
            question = _questions.decode(message)
        except (msgspec.DecodeError, RecursionError) as error:
            return Refusal(reason="invalid", message=f"not a question of this store: {error}"), False
        try:
            value = question.ask(self._log)
            return Answer(value=msgspec.Raw(msgspec.msgpack.encode(value))), True
        except (StoreUnavailable, OSError) as error:  # a disk that fails is no defect of ours
            return Refusal(reason="unavailable", message=str(error)), True
        except ValueError as error:
            return Refusal(reason="invalid", message=str(error)), True
        except Exception as error:
            # A defect of ours in one question must not end the process that holds everybody's records.
            log.exception("the store failed to answer %s", type(question).__name__)
            return Refusal(reason="unavailable", message=f"the store failed: {error!r}"), True


_questions: Final[msgspec.msgpack.Decoder[Question]] = msgspec.msgpack.Decoder(Question)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Whoever starts a store holds the data directory's lock, so a socket here is a dead one's.
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(CONNECTIONS_MAX)
    except OSError as error:
        listener.close()
        raise SetupError(f"the record store cannot listen at {path}: {error}") from error
    return listener
