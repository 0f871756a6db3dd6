"""The ledger's tables. `store/migrations` brings a database to exactly these (a test compares them).

Values that the domain owns are kept whole, as JSON text: a plan is read as it was written, and no column has
to follow a new field. Times are ISO 8601 in UTC, so that SQLite and PostgreSQL keep the same text.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, MetaData, String, Table, Text

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

# Evaluations, which `store.evals` reads and writes.

datasets = Table(
    "datasets",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("created_at", String(40), nullable=False),
    Column("size", Integer, nullable=False),
    Column("content", Text, nullable=False),
)

dataset_items = Table(
    "dataset_items",
    metadata,
    Column("dataset", String(64), primary_key=True),
    Column("id", String(200), primary_key=True),
    Column("part", String(20), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("user", String(512)),
    Column("content", Text, nullable=False),
    Index("dataset_items_user", "user"),
)

holdout_reads = Table(
    "holdout_reads",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("dataset", String(64), nullable=False, index=True),
    Column("at", String(40), nullable=False),
    Column("who", String(200), nullable=False),
    Column("why", Text, nullable=False),
)

eval_answers = Table(
    "eval_answers",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("subject", String(64), nullable=False, index=True),
    Column("at", String(40), nullable=False),
    Column("content", Text, nullable=False),
)

eval_runs = Table(
    "eval_runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("dataset", String(64), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("state", String(20), nullable=False),
    Column("content", Text, nullable=False),
    Column("report", Text),
)

eval_results = Table(
    "eval_results",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("item", String(200), primary_key=True),
    Column("arm", String(10), primary_key=True),
    Column("repeat", Integer, primary_key=True, autoincrement=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("content", Text, nullable=False),
)
