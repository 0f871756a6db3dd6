"""The ledger's tables. `store/migrations` brings a database to exactly these (a test compares them).

Values that the domain owns are kept whole, as JSON text: a plan is read as it was written, and no column has
to follow a new field. Times are ISO 8601 in UTC, so that SQLite and PostgreSQL keep the same text.
"""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, String, Table, Text

metadata = MetaData()

revision = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # one row, id 1
    Column("value", Integer, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("content", Text, nullable=False),
    Column("first_plan", Integer, nullable=False),
)

plans = Table(
    "plans",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("created_at", String(40), nullable=False),
    Column("content", Text, nullable=False),
    Column("config", Text, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("content", Text, nullable=False),
)

replicas = Table(
    "replicas",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("content", Text, nullable=False),
)
