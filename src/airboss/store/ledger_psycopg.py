"""A connection to PostgreSQL as the ledger needs it: it gives up on a silent one, and knows a text's NUL."""

from __future__ import annotations

import time
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.types.string import StrDumper

from airboss.store.stopping import HURRY_S, ending

ON_ITS_WAY_S: Final = 5
LOST: Final = "the connection is lost"
T = TypeVar("T")


class LedgerConnection(psycopg.Connection[Any]):
    """Raises psycopg.OperationalError, and is closed, once nothing has come for longer than a statement may
    take: whoever stands between, a proxy or a balancer that has lost the server, answers for it else, and is
    waited for without an end."""

    statement_s: float
    """What the server was told that a statement may take."""
    fresh = True
    """Whether nobody has used it yet."""
    _given_up = False
    """Whether one was silent while this process ended: then no server is waited for any more."""

    @classmethod
    def connect(cls, *args: Any, **named: Any) -> Self:
        """As of any connection; raises psycopg.OperationalError at once where the server was silent, and this
        process ends."""
        if ending.is_set():
            if LedgerConnection._given_up:
                raise psycopg.OperationalError(f"{LOST}: it was silent, and this process ends")
            named["connect_timeout"] = int(HURRY_S)
        try:
            return super().connect(*args, **named)
        except psycopg.errors.ConnectionTimeout:
            LedgerConnection._given_up = ending.is_set()
            raise

    def wait(self, gen: PQGen[T], *args: Any, **named: Any) -> T:
        """As of any connection, which waits in here for whatever it was asked."""
        return super().wait(self._while_heard(gen), *args, **named)

    def _while_heard(self, gen: PQGen[T]) -> PQGen[T]:
        heard = time.monotonic()
        try:
            awaited = next(gen)
            while True:
                ready = yield awaited
                now, silent_s = time.monotonic(), self.statement_s + ON_ITS_WAY_S
                if ending.is_set():
                    silent_s = min(silent_s, HURRY_S)
                if ready:
                    heard = now
                elif now > heard + silent_s:
                    self.pgconn.finish()
                    LedgerConnection._given_up = ending.is_set()
                    raise psycopg.OperationalError(f"{LOST}: silent for {silent_s:g} s")
                awaited = gen.send(ready)
        except StopIteration as ended:
            given: T = ended.value
            return given


class NoNul(StrDumper):
    """PostgreSQL's texts cannot have the character NUL, which JSON and people's names can."""

    def dump(self, obj: str) -> Any:
        """As of any text, with the symbol for NUL in its place."""
        return super().dump(obj.replace("\x00", "\N{SYMBOL FOR NULL}"))
