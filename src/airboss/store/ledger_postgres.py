"""The ledger in PostgreSQL: connections that behave as SQLite's do, types that hold what SQLite's hold."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from sqlalchemy import URL, Connection, Dialect, Engine, Integer, String, Table, Text, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.ext.compiler import compiles

from airboss.config.extras import install
from airboss.domain.errors import SetupError

CONNECT_TIMEOUT_S: Final = 5
STATEMENT_S: Final = 30
"""No statement of ours takes longer, so one that does hangs; who waits for a writer waits as long."""
GONE_S: Final = 20
"""So soon each side knows that the other's machine is gone, and the server frees what was locked from there:
who leads, and a writer's lock, which all others wait for. Linux alone waits for 15 minutes to two hours."""
HELD_MS_MAX: Final = 10_000
"""So long a writer may say nothing while it holds the writers' lock: a process that was stopped in the middle
of a transaction, whose machine answers for it, keeps nobody else from writing."""
REWRITE_WAIT_MS: Final = 2_000
REWRITE_S: Final = 3600
SERVER: Final = {
    "statement_timeout": STATEMENT_S * 1000,
    "timezone": "UTC",
    "tcp_keepalives_idle": GONE_S // 2,
    "tcp_keepalives_interval": GONE_S // 8,
    "tcp_keepalives_count": 4,
    "tcp_user_timeout": GONE_S * 1000,
}
"""What the server is told for each connection."""
READ_ONLY: Final = "25006"
"""The SQLSTATE of who may only read there."""
WRITERS: Final = 0x41697262  # "Airb"
"""The advisory lock that every writing transaction takes first, as SQLite takes its file's."""


def connect(url: URL) -> Engine:
    """An engine on an existing database. Raises SetupError where the driver is not installed.

    Readers see one snapshot to the end of their transaction, as on SQLite.
    """
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            isolation_level="REPEATABLE READ",
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "options": " ".join(f"-c {name}={value}" for name, value in SERVER.items()),
                "keepalives_idle": GONE_S // 2,
                "keepalives_interval": GONE_S // 8,
                "keepalives_count": 4,
                "tcp_user_timeout": GONE_S * 1000,
                "application_name": "airboss",
            },
        )
    except ModuleNotFoundError:
        raise SetupError(
            f"a ledger in PostgreSQL needs the extra 'postgres': {install('postgres')}"
        ) from None
    event.listen(engine, "do_connect", _do_connect)
    event.listen(engine, "checkout", partial(_on_checkout, engine.dialect))
    event.listen(engine, "begin", _on_begin)
    event.listen(engine, "handle_error", _on_error)
    return engine


def rewrite(engine: Engine, tables: Iterable[Table]) -> bool:
    """Write tables anew, so that nothing deleted stays in their files; False where others are using them now.

    What the server itself keeps of the past, its write-ahead log, replicas and backups, is its operator's.
    """
    try:
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql(f"SET lock_timeout = {REWRITE_WAIT_MS}")
            take_long(connection, REWRITE_S)
            for table in tables:
                connection.exec_driver_sql(f'VACUUM FULL "{table.name}"')
            connection.invalidate()  # the next to use it has its own settings
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == "55P03":  # lock_not_available
            return False
        raise
    return True


def take_long(connection: Connection, statement_s: float) -> None:
    """From here on a statement on this connection may take so long, until it is invalidated."""
    connection.exec_driver_sql(f"SET statement_timeout = '{statement_s:g}s'")
    driver: Any = connection.connection.driver_connection
    driver.statement_s = statement_s


def _do_connect(_dialect: object, _record: object, args: list[Any], named: dict[str, Any]) -> Any:
    from airboss.store.ledger_psycopg import LedgerConnection, NoNul  # noqa: PLC0415 - an extra

    connection = LedgerConnection.connect(*args, **named)
    connection.statement_s = STATEMENT_S
    connection.adapters.register_dumper(str, NoNul)
    return connection


def _on_checkout(dialect: Dialect, connection: Any, _record: object, _proxy: object) -> None:
    """A server that was restarted has closed what the pool holds, and one that is silent answers nothing on
    it. It is asked first, for which it has less time than for a statement; then all that are held go."""
    if connection.fresh:
        connection.fresh = False
        return
    statement_s, connection.statement_s = connection.statement_s, 0.0
    try:
        dialect.do_ping(connection)
    except Exception as error:
        if isinstance(error, dialect.loaded_dbapi.Error):
            raise InvalidatePoolError(str(error)) from error
        raise
    finally:
        connection.statement_s = statement_s


def _on_error(context: ExceptionContext) -> None:
    """A server that has handed over to another may leave connections open, which only read for ever: who was
    refused there connects anew next time, and so does everybody of this process."""
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


def _on_begin(connection: Connection) -> None:
    if connection.get_execution_options().get("ledger_writes", False):
        held = f"set_config('idle_in_transaction_session_timeout', '{HELD_MS_MAX}', true)"
        connection.exec_driver_sql(f"SELECT {held}, pg_advisory_xact_lock({WRITERS})")


@compiles(String, "postgresql")
@compiles(Text, "postgresql")
def _text(_element: object, _compiler: object, **_: object) -> str:
    # SQLite minds no length and compares bytes.
    return 'TEXT COLLATE "C"'


@compiles(Integer, "postgresql")
def _integer(_element: object, _compiler: object, **_: object) -> str:
    # SQLite's have 64 bits.
    return "BIGINT"
