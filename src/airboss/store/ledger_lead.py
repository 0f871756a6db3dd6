"""Which Airboss leads on a ledger in PostgreSQL: one, for as long as a connection of its own holds a lock.

SQLite's file lies in a data directory, whose lock says it already. In a database that several machines reach,
nothing else keeps two controllers from deciding the same rollout, sending the same alarm, doing the same job.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from airboss.domain.errors import SetupError
from airboss.store.ledger_open import cannot, read_url
from airboss.store.ledger_postgres import connect

LEADER: Final = 0x4169726C  # "Airl"
"""The advisory lock of who leads, held by a connection and not by a transaction."""
LOOK_S: Final = 2.0
WAIT_S: Final = 10.0
"""For so long a new leader waits for the last one's connection to end, as after a kill."""

log = logging.getLogger(__name__)


class _Held(NamedTuple):
    """A connection that holds the lock, and who it is on the server."""

    connection: Connection
    pid: int
    began: str


@contextmanager
def leading(url: str, *, broke: Callable[[], None], wait_s: float = WAIT_S) -> Iterator[None]:
    """Lead on the ledger at `url` until the end of the block. Of one that is no server nothing is asked.

    Where the connection is lost, and with it the lock, it is taken again; `broke` is called if somebody else
    has it by then. Raises SetupError where another Airboss leads.
    """
    parsed = read_url(url)
    if parsed.get_backend_name() != "postgresql":
        yield
        return
    engine = connect(parsed).execution_options(isolation_level="AUTOCOMMIT")
    stop = threading.Event()
    try:
        held = _taken(engine, stop, wait_s)
    except BaseException:
        engine.dispose()
        raise
    keeper = threading.Thread(target=_keep, args=(engine, held, stop, broke), name="lead", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join(WAIT_S)  # it may wait for a server that hangs
        engine.dispose()


def check_leads(url: str, *, wait_s: float = WAIT_S) -> None:
    """Raise SetupError where another Airboss leads on the ledger."""
    with leading(url, broke=lambda: None, wait_s=wait_s):
        pass


def _taken(engine: Engine, stop: threading.Event, wait_s: float) -> _Held:
    """A connection that holds the lock. Raises SetupError."""
    try:
        for _ in range(max(1, int(wait_s / 0.25))):
            if (held := _lock(engine)) is not None:
                return held
            stop.wait(0.25)
    except DBAPIError as error:
        raise cannot(error, engine) from error
    at = engine.url
    raise SetupError(
        f"another Airboss leads on the ledger {at.database} at {at.host}: stop it, or serve calls beside it"
        " with `airboss up --join URL`, where URL is its console's"
    )


def _lock(engine: Engine) -> _Held | None:
    """A connection that holds the lock; None: another one does. Raises DBAPIError."""
    asked = (
        f"SELECT pg_try_advisory_lock({LEADER}), pid, backend_start::text"  # noqa: S608 - fixed
        " FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    )
    connection, held = engine.connect(), False
    try:
        held, pid, began = connection.exec_driver_sql(asked).one()
    finally:
        if not held:
            connection.close()
    return _Held(connection, pid, began) if held else None


def _end_lost(engine: Engine, lost: _Held) -> bool:
    """End the connection that was lost on the server, which has it hold the lock for as long as it does not
    know; whether it was still there. Raises DBAPIError."""
    ended = (
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = {lost.pid}"  # noqa: S608 - its own
        f" AND backend_start::text = '{lost.began}'"
    )
    with engine.connect() as connection:
        return connection.exec_driver_sql(ended).first() is not None


def _keep(engine: Engine, first: _Held, stop: threading.Event, broke: Callable[[], None]) -> None:
    last, held = first, True
    while not stop.wait(LOOK_S):
        if held and _answers(last.connection):
            continue
        held = False
        try:
            again = _lock(engine)
            if again is None and _end_lost(engine, last):
                continue
        except DBAPIError as error:
            log.debug("who leads cannot be asked now: %s", error)
            continue
        if again is None:
            log.error("another Airboss has taken the lead; this one ends")
            broke()
            return
        last, held = again, True
    if held:
        with suppress(DBAPIError):
            last.connection.close()


def _answers(held: Connection) -> bool:
    """Whether the connection is there, and the lock with it; it is closed if not."""
    try:
        held.exec_driver_sql("SELECT 1")
    except DBAPIError:
        with suppress(DBAPIError):
            held.invalidate()
            held.close()
        return False
    return True
