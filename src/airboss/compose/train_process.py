"""One training as a process of its own: `python -m airboss.compose.train_process prepare|learn JSON`, of a
`training.order.Order`. What the first part says, `Lessons`, the second reads; that says `Line`s."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from airboss.compose.background import give_way
from airboss.domain.errors import SetupError
from airboss.supervisor.lifeline import on_parent_gone
from airboss.training.order import Lessons, Line, Note, Order


def main(part: str, text: str) -> None:
    """Do one part of a training. Exits with 2 and a message if it cannot be done."""
    on_parent_gone(lambda: os._exit(1))
    with suppress(OSError):
        # Where memory runs out, the kernel ends this process and no engine.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    give_way(session=True)
    order = msgspec.json.decode(text, type=Order)
    try:
        if part == "prepare":
            _prepare(order)
        else:
            _learn(order)
    except SetupError as error:
        sys.stderr.write(f"airboss: {error}\n")
        sys.stderr.flush()
        os._exit(error.exit_code)
    # The engine's destructors may wait, and nothing here needs saving.
    os._exit(0)


def _prepare(order: Order) -> None:
    from airboss.training.engine import prepare  # noqa: PLC0415 - the engine, of 100 MB

    files = [Path(each) for each in (order.training, order.validation) if each is not None]
    found = prepare(Path(order.weights), files, max_tokens=order.max_tokens)
    sys.stdout.buffer.write(msgspec.json.encode(found))
    sys.stdout.buffer.flush()


def _learn(order: Order) -> None:
    from airboss.training.learn import train  # noqa: PLC0415 - the extra
    from airboss.training.transformer import read_model  # noqa: PLC0415 - as above

    lessons = msgspec.json.decode(sys.stdin.buffer.read(), type=Lessons)
    say(Note(text="reading the weights"))
    shape, weights = read_model(Path(order.weights))
    train(order, shape, weights, lessons, say)


def say(line: Line) -> None:
    """Write one line, at once."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
