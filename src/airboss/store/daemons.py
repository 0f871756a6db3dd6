"""Threads for what may hang, as a question to a database: it keeps them, and nobody waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, Queue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Daemons(Executor):
    """So many threads at most, begun as they are needed. They end with the process, whatever they are at:
    those of `ThreadPoolExecutor`, and of an event loop, would keep it from ending. With `idle_s` each ends
    before, once it has had nothing to do for so many seconds."""

    def __init__(self, most: int, name: str, *, idle_s: float | None = None) -> None:
        self._idle_s = idle_s
        self._most = most
        self._name = name
        self._begun = 0
        self._lock = threading.Lock()
        # A `SimpleQueue` of which two threads wait may have one of them wait for ever, whatever its timeout.
        self._todo: Queue[tuple[Future[Any], Callable[[], Any]]] = Queue()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As `Executor.submit`."""
        future: Future[T] = Future()
        self._todo.put((future, partial(fn, *args, **kwargs)))
        with self._lock:
            if self._begun < self._most:
                self._begun += 1
                name = f"{self._name}_{self._begun}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            try:
                future, ask = self._todo.get(timeout=self._idle_s)
            except Empty:
                with self._lock:
                    if not self._todo.empty():  # just now; whoever comes next begins a thread
                        continue
                    self._begun -= 1
                    return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                answer = ask()
            except BaseException as error:  # noqa: BLE001 - who asked hears of it
                future.set_exception(error)
            else:
                future.set_result(answer)
            del future, ask
