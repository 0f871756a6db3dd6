"""Options that verbs share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airboss.domain.errors import WrongCall

DataDirOption = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        help="Where Airboss keeps its data.",
        envvar="AIRBOSS_DATA_DIR",
        # Whoever opens it looks whether it can be read: `records export` has one of its own, beside that of
        # `records`, which may be another user's.
        readable=False,
    ),
]
DEFAULT_DATA_DIR = Path(".airboss")

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", help="Console address of an Airboss elsewhere; its key comes from AIRBOSS_ADMIN_KEY."
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON: one object, or one a line for a list.")]

LimitOption = Annotated[int, typer.Option(min=1, max=1_000, help="At most so many, newest first.")]


def known_format(value: str | None) -> str | None:
    """A format that there is. Raises typer.BadParameter for any other."""
    if value not in (None, "", "json", "text"):
        raise typer.BadParameter(f"{value!r} is no format; it is json or text")
    return value


LogFormatOption = Annotated[
    str | None,
    typer.Option(
        "--log-format",
        help="json or text; by default text on a terminal.",
        envvar="AIRBOSS_LOG_FORMAT",
        callback=known_format,
    ),
]

HostOption = Annotated[str, typer.Option("--host", help="Address to listen on.")]
DEFAULT_HOST = "127.0.0.1"

InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Listen beyond loopback without TLS, behind a proxy that does it.")
]


def check_directory(data_dir: Path) -> None:
    """Raises WrongCall for what is no directory, or is another user's; there may be none yet."""
    if not data_dir.exists():
        return
    from airboss.store.datadir import readable  # noqa: PLC0415 - no verb's help needs it

    if not data_dir.is_dir():
        raise WrongCall(f"--data-dir {data_dir} is no directory; name the one where Airboss keeps its data")
    if not readable(data_dir):
        raise WrongCall(
            f"--data-dir {data_dir} is not readable: run airboss as the user whose it is, or ask the one that"
            " runs by --url."
        )


def has_data(data_dir: Path) -> bool:
    """Whether an Airboss has started on this directory, or is starting: its ledger is there, or it says where
    that is. The file that a start makes first stays empty where it fails before it has a ledger. Raises
    WrongCall for what is no directory."""
    check_directory(data_dir)
    from airboss.store.datadir import DataDir  # noqa: PLC0415 - no verb's help needs it

    if DataDir(data_dir).has_ledger:
        return True
    from airboss.compose.parts import starting  # noqa: PLC0415 - only where there is none

    return starting(data_dir) is not None
