"""`ports.Trainer` on this machine: LoRA adapters, by processes of their own at low priority.

Nothing of the extra `finetune` is loaded here, and the processes end when this one does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Final

import msgspec

from airboss.config.extras import install
from airboss.domain.errors import AirbossError
from airboss.evaluations.ports import Report
from airboss.training.order import ADAPTER, Done, Line, Note, Order, Step
from airboss.tuning.child import child, last_words
from airboss.tuning.ports import Loss, Trained, TrainingFailed, TrainOrder

LEARNING_RATE: Final = 5e-4
ALPHA_A_RANK: Final = 2.0
"""What the adapter adds is scaled by it: `alpha` over `rank`, which with 2 learns as fast at any rank."""
ASK_S: Final = 2.0
"""How often `report` is called while the process says nothing."""


def check_extra() -> None:
    """Raises TrainingFailed where the extra is not installed."""
    missing = [name for name in ("jax", "gguf") if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingFailed(
            f"training on this machine needs the extra finetune, of which {', '.join(missing)} is missing:"
            f" {install('finetune')}"
        )


class LocalTrainer:
    """Trains on weights that `weights` finds; it may fetch them first, and block. What comes of it is kept in
    the folder `adapters`, by its sha256."""

    def __init__(self, weights: Callable[[], Path], adapters: Path) -> None:
        self._weights = weights
        self._adapters = adapters.absolute()

    def train(self, order: TrainOrder, report: Report) -> Trained:
        """As `ports.Trainer`."""
        check_extra()
        try:
            weights = self._weights()
        except AirbossError as error:
            raise TrainingFailed(str(error)) from error
        work = order.work.absolute()
        work.mkdir(parents=True, exist_ok=True)
        told = Order(
            weights=str(weights),
            training=str(order.training.absolute()),
            validation=None if order.validation is None else str(order.validation.absolute()),
            work=str(work),
            epochs=order.epochs,
            learning_rate=LEARNING_RATE if order.learning_rate is None else order.learning_rate,
            rank=order.rank,
            alpha=ALPHA_A_RANK * order.rank,
            seed=order.seed,
        )
        course = _Course(report)
        # The lessons are what people said: they go from one process to the other in a file without a name.
        with tempfile.TemporaryFile() as lessons:
            course.take_all(_run("prepare", told, stdin=subprocess.DEVNULL, stdout=lessons))
            lessons.seek(0)
            course.take_all(_run("learn", told, stdin=lessons, stdout=subprocess.PIPE))
        if course.done is None:
            raise TrainingFailed("the training ended and said of no adapter")
        kept = self._kept(work / ADAPTER, course.done.sha256)
        return Trained(
            fields={"adapter": f"file:{kept}", "adapter_sha256": course.done.sha256},
            losses=tuple(course.losses),
            trained_tokens=course.done.tokens,
            cost_usd=Decimal(0),
        )

    def _kept(self, adapter: Path, sha256: str) -> Path:
        self._adapters.mkdir(parents=True, exist_ok=True)
        kept = self._adapters / f"{sha256}.gguf"
        fresh = kept.with_suffix(".new")
        shutil.copyfile(adapter, fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(kept)
        return kept

    def abandon(self, order: TrainOrder) -> None:
        """As `ports.Trainer`: nothing of a training here is outside of its directory."""


class _Course:
    """What was said so far, and the report of it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._at = (0, 0, "reading the examples")
        self.losses: list[Loss] = []
        self.done: Done | None = None

    def take_all(self, lines: Generator[Line | None]) -> None:
        """All that a process says; it ends with this call."""
        with contextlib.closing(lines):
            for line in lines:
                self._take(line)

    def _take(self, line: Line | None) -> None:
        if isinstance(line, Step):
            self.losses.append(Loss(step=line.step, training=line.loss, validation=line.validation))
            self._at = (line.step, line.steps, _said(line))
        elif isinstance(line, Note):
            self._at = (*self._at[:2], line.text)
        elif line is not None:
            self.done = line
        self._report(*self._at)


def _said(line: Step) -> str:
    parts = [f"step {line.step} of {line.steps}"]
    if line.loss is not None:
        parts.append(f"loss {line.loss:.3f}")
    if line.validation is not None:
        parts.append(f"on validation examples {line.validation:.3f}")
    return ", ".join(parts)


def _run(
    part: str, order: Order, *, stdin: IO[bytes] | int, stdout: IO[bytes] | int
) -> Generator[Line | None]:
    """One part of the work in a process, which ends with this iterator, however that ends. What it says where
    `stdout` is a pipe, and None whenever it says nothing for a while. Raises TrainingFailed."""
    with tempfile.TemporaryFile() as errors:
        text = msgspec.json.encode(order).decode()
        with child(
            "airboss.compose.train_process", part, text, stdin=stdin, stdout=stdout, stderr=errors
        ) as process:
            yield from _said_by(process)
        if process.returncode != 0:
            raise TrainingFailed(_why(process.returncode, errors))


def _said_by(process: subprocess.Popen[bytes]) -> Iterator[Line | None]:
    came: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        with contextlib.suppress(ValueError, OSError):  # closed under it
            for line in process.stdout or ():
                came.put(line)
        process.wait()
        came.put(None)

    threading.Thread(target=read, name="training", daemon=True).start()
    while True:
        try:
            line = came.get(timeout=ASK_S)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        yield msgspec.json.decode(line, type=Line)


def _why(code: int, errors: IO[bytes]) -> str:
    own, said = last_words(errors)
    if own is not None:
        return own
    if code == -9:
        return (
            "the training was killed, as happens where memory runs out; free some or take a smaller base"
            " model, then run it again"
        )
    last = said.splitlines()[-1][:300] if said else "it said nothing"
    return f"the training ended with exit code {code}: {last}"
