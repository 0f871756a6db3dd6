"""Answers the admin API from the data of a stopped Airboss, with the console's own routes and no server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from airboss.cli.api import fault
from airboss.domain.errors import ApiError, WrongCall
from airboss.store.datadir import private

if TYPE_CHECKING:
    from airboss.console.desk import Desk
    from airboss.console.export import Download


@contextmanager
def opened(data_dir: Path) -> Iterator[Stopped]:
    """Open the data, under its lock. Records still in journals are moved into the store first.

    Raises DataDirLocked if an Airboss is just starting or stopping on it.
    """
    from airboss.compose.stopped import stopped_desk  # noqa: PLC0415 - loads ledger and store

    with stopped_desk(data_dir) as desk:
        yield Stopped(desk)


class Stopped:
    """As `cli.api.Api`."""

    running = False

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """As in `Api`."""
        return self._answer("GET", path, dict(params or {}), b"")

    def get_file(self, path: str, params: Mapping[str, str]) -> bytes:
        """As in `Api`."""
        made = self._made("GET", path, dict(params), b"")
        return made if isinstance(made, bytes) else made.content

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """As in `Api`."""
        return self._answer("POST", path, {}, json.dumps(body).encode())

    def _answer(self, method: str, path: str, params: dict[str, str], body: bytes) -> Any:
        made = self._made(method, path, params, body)
        return json.loads(made if isinstance(made, bytes) else made.content)

    def _made(self, method: str, path: str, params: dict[str, str], body: bytes) -> bytes | Download:
        from airboss.console.api import ROUTES, Call, answer  # noqa: PLC0415 - loads the console
        from airboss.console.callers import ADMIN  # noqa: PLC0415 - as above

        for route in ROUTES:
            parts = match(route.path, path)
            if route.method == method and parts is not None:
                call = Call(
                    params=params, path=parts, body=body, now=datetime.now(UTC), actor="local", caller=ADMIN
                )
                try:
                    with private():
                        return answer(route, self._desk, call)
                except ApiError as error:
                    told = fault(error.http_status, path)(str(error))
                    told.type, told.code, told.param = error.type, error.code, error.param
                    raise told from error
        raise WrongCall(f"{method} {path} is not part of the admin API")


def match(template: str, path: str) -> dict[str, str] | None:
    """The parts that `{name}` stands for, or None if the path is another."""
    names, given = template.split("/"), path.split("/")
    if len(names) != len(given):
        return None
    parts = {}
    for name, value in zip(names, given, strict=True):
        if name.startswith("{"):
            parts[name.strip("{}")] = unquote(value)
        elif name != value:
            return None
    return parts
