"""The command `airboss`: one way to run a verb, and one way to fail."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from airboss.cli.ending import leave, told
from airboss.domain.errors import WrongCall


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit: 0 done, 1 the answer is no or it failed, 2 something must be changed first.

    People never see a trace of what we raise on purpose, nor of Ctrl-C or of a pipe that nobody reads any
    more.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["--version"]:  # as of any other command
        given[0] = "version"
    as_json = "--json" in given
    with told(as_json=as_json):
        check(given)
        from airboss.cli.verbs import run  # noqa: PLC0415 - takes longest, and Ctrl-C may come meanwhile

        sys.exit(run(given, as_json=as_json))


def check(given: Sequence[str]) -> None:
    """Raises WrongCall for an argument that no text can hold, and so neither JSON nor an address."""
    for each in given:
        try:
            each.encode()
        except UnicodeEncodeError:
            raise WrongCall(
                f"{each!r} is not UTF-8, or what is not ASCII is no text in this locale: write it in UTF-8,"
                " and set LC_ALL=C.UTF-8"
            ) from None


def process() -> NoReturn:
    """`main` as all that this process does."""
    leave(main)


if __name__ == "__main__":
    process()
