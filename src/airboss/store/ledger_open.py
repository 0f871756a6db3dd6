"""Opening the ledger's database: how connections behave, and the schema brought up to date."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as AllTaken

from airboss.config.wording import ESCAPES
from airboss.domain.errors import SetupError
from airboss.store.ledger_rows import SCHEMA
from airboss.store.ledger_sqlite import BUSY_TIMEOUT_MS, prepare, refusal
from airboss.store.ledger_tables import metadata, revision, schema_version
from airboss.store.ledger_trouble import LedgerAway, LedgerTrouble
from airboss.store.opened_file import locked_up

MOVED = "moved"
"""In place of the schema's number: all that is here was moved to another database, and goes on there."""

REFUSALS = (DBAPIError, AllTaken)
"""What a database says that cannot be used: its own words, or nothing at all to every connection that a
process may have."""

TROUBLE = (OperationalError, InternalError, InterfaceError, AllTaken)
"""Those of them that are about the database itself, and not about what it was asked."""

OFFERED = "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"

FULL = ("too many clients already", "remaining connection slots")
"""What PostgreSQL says to everybody while all the connections that it may have are taken."""

REMEDIES = {
    ("authentication failed", "no password supplied"): (
        f"see that user and password of the URL are right; {ESCAPES}"
    ),
    (*FULL, "too many connections for"): (
        "end connections there that nobody needs, or raise its max_connections; who has them: "
        "SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2"
    ),
    ("read-only transaction",): (
        "is it a standby, or default_transaction_read_only on there? Let the URL name one that writes"
    ),
    ("No space left on device", "Disk quota exceeded", "File too large"): (
        "make room on the disk of its server"
    ),
    ("sslmode", "certificate"): "see what the URL says after `?`, as libpq takes it",
}
"""What to do, by what is said."""

AWAY = (
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Network is unreachable",
    "No route to host",
    "failed: No such file or directory",
    "could not translate host name",
    "failed to resolve host",
    "connection timeout expired",
    "timeout expired",
    "server closed the connection unexpectedly",
    "the connection is lost",
    "the database system is",  # starting up, shutting down, not yet accepting connections
    "terminating connection",
    "SSL SYSCALL error",
    "could not receive data from server",
    "could not send data to server",
    *FULL,
)
"""What libpq, whose words are English, and PostgreSQL say where no server is there, or none for us just now.
All else is a no."""

_MIGRATIONS = Path(__file__).parent / "migrations"


def open_engine(url: str, *, moved: bool = False) -> Engine:
    """An engine on a ledger with the newest schema. SQLite's file is made where there is none; a database of
    PostgreSQL must exist.

    `url` is `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`. Raises SetupError if it cannot be
    opened, is of a newer Airboss, or, unless it may be `moved`, goes on in another database.
    """
    engine = engine_on(url)
    if engine.dialect.name == "sqlite" and engine.url.database:
        with suppress(OSError):  # which SQLite tells of too
            # It gives the files beside it the same mode, and keys' digests are nobody's business.
            Path(engine.url.database).touch(mode=0o600)
    try:
        bring_up_to_date(engine, moved=moved)
    except DBAPIError as error:
        engine.dispose()
        raise cannot(error, engine) from error
    except BaseException:
        engine.dispose()
        raise
    return engine


def engine_on(url: str) -> Engine:
    """An engine on a database, as it is. Raises SetupError for one that no ledger can be in."""
    parsed = read_url(url)
    if parsed.get_backend_name() == "postgresql":
        from airboss.store.ledger_postgres import connect  # noqa: PLC0415 - an extra

        return connect(parsed)
    if parsed.get_backend_name() != "sqlite":
        raise SetupError(f"a ledger cannot be in {parsed.get_backend_name()}; expected {OFFERED}")
    engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    event.listen(engine, "do_connect", _before_connect)
    return engine


def read_url(url: str) -> URL:
    """A ledger's URL in its parts. Raises SetupError, without the URL, which may hold a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or "@" in (parsed.host or ""):
        raise SetupError(f"the ledger's URL cannot be read; expected {OFFERED}; {ESCAPES}")
    return parsed.set(drivername="postgresql") if parsed.drivername == "postgres" else parsed


def named(url: URL) -> str:
    """What to call a database where people read it: without a user and a password."""
    if url.get_backend_name() == "sqlite":
        return url.database or str(url)
    return str(URL.create("postgresql", host=url.host, port=url.port, database=url.database))


def server_clock(url: str) -> float:
    """The time, in seconds, of a PostgreSQL that can be a ledger. Raises SetupError of one that cannot."""
    from airboss.store.ledger_postgres import connect  # noqa: PLC0415 - an extra

    engine = connect(read_url(url))
    asked = (
        "SELECT extract(epoch FROM clock_timestamp())::float8, to_regclass('alembic_version') IS NOT NULL"
        " OR has_schema_privilege(current_schema(), 'CREATE'),"
        " current_setting('transaction_read_only') = 'on'"
    )
    try:
        with engine.connect() as connection:
            now, usable, only_read = connection.exec_driver_sql(asked).one()
    except DBAPIError as error:
        raise cannot(error, engine) from error
    finally:
        engine.dispose()
    if not usable or only_read:
        said = "permission denied for schema, in which no table may be made"
        if only_read:
            said = "it may only be read: each is a read-only transaction"
        raise SetupError(
            f"the ledger {engine.url.database} cannot be used: {said}; {remedy(said, engine.url)}"
        )
    return float(now)


def writing(engine: Engine) -> Engine:
    """The same engine, whose transactions take the write lock at once.

    SQLite refuses to turn a read into a write after another process has written, so a transaction that reads
    first and then writes must say from the start that it is going to. On PostgreSQL a lock of our own makes
    writers wait for each other just so; what they read after it is the newest (READ COMMITTED).
    """
    if engine.dialect.name == "postgresql":
        return engine.execution_options(ledger_writes=True, isolation_level="READ COMMITTED")
    return engine.execution_options(ledger_writes=True)


def cannot(error: DBAPIError | AllTaken, engine: Engine) -> SetupError:
    """What to tell when the database refuses; the statement's values, keys among them, are left out."""
    words = str(error.orig) if isinstance(error, DBAPIError) else "it is silent on every connection to it"
    if engine.dialect.name == "postgresql":
        at = engine.url
        # Where TLS may be left out the server was asked twice, and has said the same twice.
        lines = dict.fromkeys(words.removeprefix("connection failed: ").splitlines())
        said = " ".join(" ".join(lines).split())[:400]
        away = isinstance(error, AllTaken) or any(each in said for each in AWAY)
        refused = LedgerTrouble if isinstance(error, TROUBLE) else SetupError
        kind = LedgerAway if away else refused
        return kind(f"the ledger {named(at)} cannot be used: {said}; {remedy(said, at)}")
    where = engine.url.database or engine.url.render_as_string(hide_password=True)
    return refusal(words, where, trouble=isinstance(error, TROUBLE))


def remedy(said: str, at: URL) -> str:
    """What to do about what PostgreSQL or its client said."""
    if "does not exist" in said and at.database and f'database "{at.database}"' in said:
        return "make it, empty, or name another"
    if "permission denied for schema" in said:
        return f'let the user make tables there: make "{at.username}" the owner of the database'
    told = (advice for words, advice in REMEDIES.items() if any(each in said for each in words))
    return next(told, "is the server up and the database there?")


def any_text(engine: Engine) -> None:
    """Read as text also what is none, which SQLite keeps: in the audit log it is for `verify` to find, and
    its list must not break with it."""

    def read_any(connection: object, *_: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")

    event.listen(engine, "checkout", read_any)


def _before_connect(_dialect: object, _record: object, arguments: list[Any], _options: object) -> None:
    file = locked_up(arguments[0])
    if file is not None:
        raise sqlite3.OperationalError(f"{file} is readonly")


def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
    prepare(connection)  # `_on_begin` opens each transaction


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("ledger_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def bring_up_to_date(engine: Engine, *, moved: bool, leads: bool = True) -> None:
    """Bring the schema up to date, which of one that is there only who `leads` does. Raises SetupError where
    it is not for us, and what a database raises."""
    with engine.connect() as connection:
        found = _schema(connection)
    if found == SCHEMA or (found == MOVED and moved):
        return
    if found == MOVED:
        raise SetupError(
            f"the ledger {named(engine.url)} was moved to another database by `airboss ledger move` and goes"
            " on there: name that one in [store] ledger"
        )
    with writing(engine).begin() as connection:
        found = _schema(connection)  # again, now that nobody else can migrate
        if found is None and not inspect(connection).get_table_names():
            _make(connection)
        elif found is not None and found < SCHEMA and not leads:
            raise SetupError(
                f"the ledger {named(engine.url)} is still of an earlier Airboss (schema {found}; this one "
                f"has {SCHEMA}): upgrade the one that leads first, which brings it forward"
            )
        elif found is None or found < SCHEMA:
            _migrate(connection)
        elif found > SCHEMA:
            raise SetupError(
                f"the ledger {engine.url.database} was written by a newer Airboss (schema {found}; "
                f"this one knows {SCHEMA}); use that version again"
            )


def _schema(connection: Connection) -> str | None:
    """The migration that the database is at, or None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: Any = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _make(connection: Connection) -> None:
    """What the migrations make of an empty database (a test compares the two), without Alembic: a quarter of
    a second less of a first start."""
    metadata.create_all(connection, checkfirst=False)
    connection.execute(insert(revision).values(id=1, value=0))
    schema_version.create(connection)
    connection.execute(insert(schema_version).values(version_num=SCHEMA))


def _migrate(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - 0.1 s and 10 MB that only a new schema costs
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
