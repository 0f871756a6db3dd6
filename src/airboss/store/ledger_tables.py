"""The ledger's tables. `store/migrations` brings a database to exactly these (a test compares them).

Values that the domain owns are kept whole, as JSON text: a plan is read as it was written, and no column has
to follow a new field. Times are ISO 8601 in UTC, so that SQLite and PostgreSQL keep the same text.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

schema_version = Table(  # Alembic's own, with the newest migration in its one row
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

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

standings = Table(
    "standings",
    metadata,
    Column("deployment", String(200), primary_key=True),
    Column("content", Text, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("deployment", String(200), nullable=False, index=True),
    Column("started_at", String(40), nullable=False),
    Column("live", Boolean, nullable=False),  # not final yet: at most one a deployment
    Column("settled", Boolean, nullable=False),  # its end has come into force
    Column("exposure", Text, nullable=False),
    Column("content", Text, nullable=False),
)

rollout_units = Table(
    "rollout_units",
    metadata,
    Column("rollout", String(64), primary_key=True),
    Column("lane", String(200), primary_key=True),
    Column("unit", String(64), primary_key=True),
    Column("content", Text, nullable=False),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("rollout", String(64), nullable=False, index=True),
    Column("at", String(40), nullable=False),
    Column("content", Text, nullable=False),
)

placements = Table(
    "placements",
    metadata,
    Column("id", String(200), primary_key=True),
    Column("content", Text, nullable=False),
)

scalings = Table(
    "scalings",
    metadata,
    Column("model", String(200), primary_key=True),
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
    Column("root", String(64), nullable=False, server_default="", index=True),
    Column("grown", Integer, nullable=False, server_default="0"),
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
    Column("since", Integer, primary_key=True, server_default="0"),
    Column("until", Integer),
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

# Work that outlives the process that does it, which `store.jobs` reads and writes.

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("spec", Text, nullable=False),
    Column("state", String(20), nullable=False, index=True),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("note", Text, nullable=False),
    Column("result", Text),
    Column("error", Text),
    Column("created_at", String(40), nullable=False),
    Column("updated_at", String(40), nullable=False),
    Column("by", String(200), nullable=False),
    Column("owner", String(200)),
    Column("claims", Integer, nullable=False),
)

# The audit log, which `store.audit` reads and writes. Leaves and head hold no name of anybody; names do, and
# erasing a person deletes theirs.

audit_leaves = Table(
    "audit_leaves",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),  # from 0, without gaps
    Column("at", String(40), nullable=False),
    Column("action", String(100), nullable=False, index=True),
    Column("content", Text, nullable=False),  # what is hashed
    Column("root", String(64), nullable=False),
)

audit_names = Table(
    "audit_names",
    metadata,
    Column("leaf", Integer, primary_key=True, autoincrement=False),
    Column("field", String(20), primary_key=True),
    Column("salt", String(64), nullable=False),
    Column("name", Text, nullable=False, index=True),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # one row, id 1
    Column("size", Integer, nullable=False),
    Column("root", String(64), nullable=False),
    Column("at", String(40), nullable=False),
    Column("signature", String(200), nullable=False),
    Column("peaks", Text, nullable=False),
)

# People to forget, which `store.erasures` reads and writes. `digest` is a keyed hash of the user; `user`
# itself is there only until the erasure is done.

erasures = Table(
    "erasures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("at", String(40), nullable=False),
    Column("by", String(200), nullable=False),
    Column("user", Text),
    Column("done_at", String(40)),
    Column("records", Integer, nullable=False),
    Column("scores", Integer, nullable=False),
    Column("items", Integer, nullable=False),
    Column("names", Integer, nullable=False),
)

# Keys that bodies are sealed with, which `store.body_keys` reads and writes. `holder` is a person's keyed
# hash, as in `erasures`, or a kind and a day.

body_keys = Table(
    "body_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("generation", String(40), nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("master", String(32), nullable=False),
    Column("made_at", String(40), nullable=False),
    UniqueConstraint("holder", "generation"),
)

# Alarms, which `store.alerts` reads and writes, and how far followers of the record log have come.

alarms = Table(
    "alarms",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("content", Text, nullable=False),
)

alarm_events = Table(
    "alarm_events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("alarm", String(200), nullable=False, index=True),
    Column("at", String(40), nullable=False),
    Column("content", Text, nullable=False),
)

alarm_silences = Table(
    "alarm_silences",
    metadata,
    Column("alarm", String(200), primary_key=True),
    Column("content", Text, nullable=False),
)

notifications = Table(
    "notifications",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(100), nullable=False, unique=True),
    Column("alarm", String(200), nullable=False, index=True),
    Column("notifier", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("due_at", String(40), nullable=False),
    Column("state", String(20), nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("ended_at", String(40)),
)

cursors = Table(
    "cursors",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("value", String(200), nullable=False),
)

# Responses that later calls may build on, which `store.responses` reads and writes.

responses = Table(
    "responses",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("key", String(200), nullable=False),
    Column("user", Text, index=True),
    Column("previous", String(64)),
    Column("created_at", String(40), nullable=False),
    Column("expires_at", String(40), nullable=False, index=True),
    Column("response", Text, nullable=False),
    Column("messages", Text, nullable=False),
)

# What each key spent on each day, by the records: `store.spends`.

spends = Table(
    "spends",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("usd", String(40), nullable=False),
)

# Of keys whose users have a budget each: what each spent, by the name that counters know them by.

user_spends = Table(
    "user_spends",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("user", String(32), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("usd", String(40), nullable=False),
)

# Tuning, which `store.tunes` reads and writes.

tune_calls = Table(
    "tune_calls",
    metadata,
    Column("job", String(100), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("begun", Integer, nullable=False),
)

tune_choices = Table(
    "tune_choices",
    metadata,
    Column("job", String(100), primary_key=True),
    Column("at", String(40), nullable=False),
    Column("content", Text, nullable=False),
)

saved_views = Table(
    "saved_views",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("content", Text, nullable=False),
)

# Changes that wait for somebody else's approval, and those decided: `store.proposals`.

proposals = Table(
    "proposals",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", String(20), nullable=False, index=True),
    Column("content", Text, nullable=False),
)

drifts = Table(
    "drifts",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("content", Text, nullable=False),
)
