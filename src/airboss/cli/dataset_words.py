"""What the verbs about datasets have in common: a file read, a dataset told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from airboss.cli.files import unreadable
from airboss.domain.errors import WrongCall
from airboss.store.wording import many

FILE_BYTES_MAX: Final = 32 * 1024 * 1024
PARTS: Final = ("train", "validation", "holdout")
GROUPS: Final = ("user", "session", "none")
ApprovedOption = Annotated[
    str | None, typer.Option(help="SCORE or SCORE:LEAST: answers with it are what their items expect.")
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A dataset's name, or its digest.")]


def read_file(file: Path) -> str:
    """The text of a JSON Lines file. Raises WrongCall where it cannot be read or is too large."""
    try:
        raw = sys.stdin.buffer.read(FILE_BYTES_MAX + 1) if str(file) == "-" else _bounded(file)
        if len(raw) > FILE_BYTES_MAX:
            raise WrongCall(f"{file} has more than {FILE_BYTES_MAX // 1024**2} MiB; divide it")
        return raw.decode()
    except OSError as error:
        raise unreadable(file, error) from None
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise WrongCall(f"{file}, line {number}: not UTF-8 ({error.reason})") from None


def _bounded(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(FILE_BYTES_MAX + 1)


def summary(found: dict[str, Any]) -> str:
    """A dataset in a sentence."""
    sizes = ", ".join(f"{part} {found['sizes'][part]}" for part in PARTS)
    reads = found["holdout_reads"]
    return (
        f"{found['name']} {found['digest'][:12]}: {sizes}"
        + (f", {found['erased']} erased" if found["erased"] else "")
        + (f"; holdout read {many(reads, 'time')}" if reads else "; holdout never read")
    )


def corrected(done: dict[str, Any]) -> str:
    """A line on how many of the items expect what people wrote in place of the answer, where any do."""
    found = done.get("corrected", 0)
    if not found:
        return ""
    verb = "expects" if found == 1 else "expect"
    return f"{many(found, 'item')} {verb} what people wrote in place of the answer\n"


def read_approved(text: str | None) -> tuple[str | None, float]:
    """The score in `SCORE:LEAST` and how much of it there must be, at least 1 unless told otherwise."""
    if text is None:
        return None, 1.0
    score, _, least = text.partition(":")
    try:
        return score, float(least) if least else 1.0
    except ValueError:
        raise WrongCall(f"--approved {text!r}: SCORE or SCORE:LEAST, as helpfulness:4") from None
