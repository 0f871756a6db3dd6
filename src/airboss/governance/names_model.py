"""The process that finds names: spaCy's named entities, of its small English model, asked over pipes.

It holds one model (140 MB) and nothing of what it is asked: every piece is judged by itself, and forgotten.
It ends with its worker, whose pipe it reads, and writes to no log, as an error might tell a text.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import BinaryIO, Final

from airboss.governance.candidates import Kind
from airboss.governance.names import Spans, tidied
from airboss.governance.names_wire import LENGTH, Broken, Found, Ready, asks, framed
from airboss.governance.policies import INSTALL, MODEL

MEMORY_BYTES_MAX: Final = 2 << 30
"""Of address space. What would be more fails, and the process with it."""
LABELS: Final[Mapping[str, Kind]] = {
    "PERSON": "person",
    "GPE": "location",
    "LOC": "location",
    "FAC": "location",
    "ORG": "organization",
}
"""OntoNotes' labels, as the model gives them: GPE are countries and cities, FAC buildings and roads."""
_UNUSED: Final = ["tagger", "parser", "attribute_ruler", "lemmatizer", "senter"]

Judge = Callable[[str], Spans]


def load() -> Judge:
    """The model. Raises ImportError where it is not installed."""
    model = importlib.import_module(MODEL.replace("-", "_")).load(exclude=_UNUSED)

    def judge(piece: str) -> Spans:
        # Alone and not with others at once, so that what is found never depends on those.
        with model.memory_zone():
            found = [
                (each.start_char, each.end_char, LABELS[each.label_])
                for each in model(piece).ents
                if each.label_ in LABELS
            ]
        return tidied(piece, found)

    return judge


def serve(judge: Judge, heard: BinaryIO, said: BinaryIO) -> None:
    """Answer until there is no more to hear."""
    while len(head := heard.read(LENGTH)) == LENGTH:
        ask = asks.decode(heard.read(int.from_bytes(head, "little")))
        answer: Found | Broken
        try:
            answer = Found(ask.number, tuple(judge(piece) for piece in ask.pieces))
        except Exception as error:  # noqa: BLE001 - of the model's; what it says may be the text
            answer = Broken(ask.number, type(error).__name__)
        said.write(framed(answer))
        said.flush()


def apart() -> tuple[BinaryIO, BinaryIO]:
    """The pipes, with whatever else prints led past them; for a process that ends with its worker only."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    said = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(ValueError, OSError):  # where less is allowed already, or nothing can be limited
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    return sys.stdin.buffer, said


def main() -> None:
    """Load the model, and answer."""
    heard, said = apart()
    try:
        judge = load()
    except Exception as error:  # noqa: BLE001 - of the model's loading, which says it to the worker
        missing = f"it is not installed; {INSTALL}" if isinstance(error, ImportError) else str(error)
        said.write(framed(Ready(f"the model of names cannot be loaded: {missing[:300]}")))
        said.flush()
        return
    said.write(framed(Ready()))
    said.flush()
    serve(judge, heard, said)


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main()
