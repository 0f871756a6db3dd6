"""What a server says that is there and not there yet."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as AllTaken

from airboss.store.ledger_open import cannot
from airboss.store.ledger_trouble import LedgerAway, LedgerTrouble

ENGINE = create_engine("postgresql+psycopg://airboss:first-password@db.example.com/airboss")


@pytest.mark.parametrize(
    ("said", "away"),
    [
        ("FATAL:  the database system is starting up", True),
        ("FATAL:  terminating connection due to administrator command", True),
        ("server closed the connection unexpectedly", True),
        ('FATAL:  password authentication failed for user "airboss"', False),
        ('FATAL:  database "airboss" does not exist', False),
        ("FATAL:  sorry, too many clients already", True),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", True),
        ('FATAL:  too many connections for role "airboss"', False),
    ],
)
def test_a_server_that_comes_or_goes_is_away_and_one_that_refuses_is_not(said: str, away: bool) -> None:
    """Nobody is let in by a plan on disk whom the database refuses."""
    error = cannot(OperationalError("select 1", {}, Exception(f"connection failed: {said}")), ENGINE)
    assert isinstance(error, LedgerAway) is away
    assert "first-password" not in str(error)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("FATAL:  sorry, too many clients already", "raise its max_connections"),
        ('FATAL:  too many connections for role "airboss"', "raise its max_connections"),
        ("cannot execute INSERT in a read-only transaction", "is it a standby"),
        ("could not extend file: No space left on device", "make room on the disk"),
        ("Connection refused", "is the server up"),
    ],
)
def test_what_is_said_comes_with_what_to_do(said: str, advice: str) -> None:
    """Where it is not the server that has to be started."""
    assert advice in str(cannot(OperationalError("select 1", {}, Exception(said)), ENGINE))


def test_one_that_is_silent_on_every_connection_is_away() -> None:
    """It hangs, whatever each of them waits for."""
    assert isinstance(cannot(AllTaken(), ENGINE), LedgerAway)


@pytest.mark.parametrize("engine", [ENGINE, create_engine("sqlite:////nowhere/ledger.db")])
@pytest.mark.parametrize(
    ("kind", "said", "trouble"),
    [
        (OperationalError, "FATAL:  sorry, too many clients already", True),
        (OperationalError, "database or disk is full", True),
        (InternalError, "cannot execute INSERT in a read-only transaction", True),
        (IntegrityError, "duplicate key value violates unique constraint", False),
        (DataError, "integer out of range", False),
    ],
)
def test_what_is_about_what_was_asked_is_no_trouble_of_the_ledgers(
    engine: Engine, kind: type[DBAPIError], said: str, *, trouble: bool
) -> None:
    """Asked again later it would be refused again."""
    assert isinstance(cannot(kind("insert", {}, Exception(said)), engine), LedgerTrouble) is trouble
