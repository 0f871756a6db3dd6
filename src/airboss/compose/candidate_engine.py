"""An engine for one judgement: of a local model that no plan has, for as long as it is asked."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

import msgspec

from airboss.compose.parts import pick_port
from airboss.domain.errors import SetupError
from airboss.replicas.health import healthy
from airboss.replicas.order import Order
from airboss.tuning.child import child, last_words

if TYPE_CHECKING:
    from airboss.config import ModelConfig
    from airboss.store.datadir import DataDir

READY_S: Final = 600.0
LOOK_S: Final = 0.2
SAID_CHARS_MAX: Final = 500


@contextmanager
def candidate_engine(
    settings: ModelConfig, data: DataDir, *, alias: str, look: Callable[[], object]
) -> Iterator[int]:
    """The port of an engine on this machine, which ends with the block, or with this process. `look` is
    called while it starts; what it raises ends it. Raises SetupError where it does not get ready."""
    port = pick_port()
    order = Order(model=alias, port=port, settings=settings, weights=str(data.weights_dir))
    text = msgspec.json.encode(order).decode()
    with (
        tempfile.TemporaryFile() as said,
        child(
            "airboss.compose.engine_process", text, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        ) as process,
    ):
        _wait(process, port, said, look)
        yield port


def _wait(process: subprocess.Popen[bytes], port: int, said: IO[bytes], look: Callable[[], object]) -> None:
    until = time.monotonic() + READY_S
    while not healthy(f"http://127.0.0.1:{port}"):
        look()
        if process.poll() is not None:
            raise SetupError(f"the engine of the trained model ended as it began: {_tail(said)}")
        if time.monotonic() > until:
            raise SetupError(f"the engine of the trained model was not ready within {READY_S:.0f} s")
        threading.Event().wait(LOOK_S)


def _tail(said: IO[bytes]) -> str:
    own, text = last_words(said)
    return (own or text)[-SAID_CHARS_MAX:] or "it said nothing"
