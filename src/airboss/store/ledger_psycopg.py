"""A connection to PostgreSQL as the ledger needs it: it gives up on a silent one, and knows a text's NUL."""

from __future__ import annotations

import time
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.types.string import StrDumper

ON_ITS_WAY_S: Final = 5
T = TypeVar("T")


class LedgerConnection(psycopg.Connection[Any]):
    """Raises psycopg.OperationalError, and is closed, once nothing has come for longer than a statement may
    take: whoever stands between, a proxy or a balancer that has lost the server, answers for it else, and is
    waited for without an end."""

    statement_s: float
    """What the server was told that a statement may take."""

    def wait(self, gen: PQGen[T], *args: Any, **named: Any) -> T:
        """As of any connection, which waits in here for whatever it was asked."""
        return super().wait(self._while_heard(gen), *args, **named)

    def _while_heard(self, gen: PQGen[T]) -> PQGen[T]:
        silent_s = self.statement_s + ON_ITS_WAY_S
        until = time.monotonic() + silent_s
        try:
            awaited = next(gen)
            while True:
                ready = yield awaited
                if ready:
                    until = time.monotonic() + silent_s
                elif time.monotonic() > until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the connection is lost: silent for {silent_s:g} s")
                awaited = gen.send(ready)
        except StopIteration as ended:
            given: T = ended.value
            return given


class NoNul(StrDumper):
    """PostgreSQL's texts cannot have the character NUL, which JSON and people's names can."""

    def dump(self, obj: str) -> Any:
        """As of any text, with the symbol for NUL in its place."""
        return super().dump(obj.replace("\x00", "\N{SYMBOL FOR NULL}"))
