"""How far a download is: a bar for a person, a line at each tenth for a log. And how far rows are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger("airboss.up")

OnBytes = Callable[[int, int | None], None]
"""Called with the bytes there are and the bytes there will be (None where nobody knows)."""


@contextmanager
def bar(name: str) -> Iterator[OnBytes]:
    """A bar on stderr, gone when it is done."""
    from rich.console import Console  # noqa: PLC0415 - 40 ms that most starts need not pay
    from rich.progress import (  # noqa: PLC0415 - as above
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def steps(name: str) -> Iterator[OnBytes]:
    """A log line at each tenth; silence where nobody knows how much there will be."""
    told = 0

    def on_bytes(done: int, total: int | None) -> None:
        nonlocal told
        tenth = 10 * done // total if total else 0
        if tenth > told:
            told = tenth
            log.info("%s: %d%% of %.0f MB", name, tenth * 10, (total or 0) / 1e6)

    yield on_bytes


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr, for a person, gone when it is done. It is told how many there are, and how many there
    will be (None where nobody knows)."""
    from rich.console import Console  # noqa: PLC0415 - as in `bar`
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415 - as above

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    err = Console(stderr=True)
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
