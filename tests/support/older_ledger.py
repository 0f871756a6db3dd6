"""A ledger in SQLite put back to how an earlier Airboss kept datasets, for what brings it forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NAMES = 'dataset, id, part, subject, "user", content'
COLUMNS = """dataset VARCHAR(64) NOT NULL, id VARCHAR(200) NOT NULL, part VARCHAR(20) NOT NULL,
subject VARCHAR(64) NOT NULL, "user" VARCHAR(512), content TEXT NOT NULL"""


def without_versions(run: Callable[[str], Any]) -> None:
    """As of schema 0007: each dataset has its items for itself. `run` takes a statement."""
    with_since(run)
    run("DROP INDEX ix_datasets_root")
    for table, column in (("datasets", "root"), ("datasets", "grown"), ("dataset_items", "since")):
        run(f"ALTER TABLE {table} DROP COLUMN {column}")


def with_since(run: Callable[[str], Any]) -> None:
    """As of schema 0008: items are added, and never changed."""
    run("DROP INDEX dataset_items_user")
    run("ALTER TABLE dataset_items RENAME TO now")
    since = "since INTEGER DEFAULT '0' NOT NULL"
    run(f"CREATE TABLE dataset_items ({COLUMNS}, {since}, PRIMARY KEY (dataset, id))")
    run(f"INSERT INTO dataset_items ({NAMES}, since) SELECT {NAMES}, since FROM now")
    run("DROP TABLE now")
    run('CREATE INDEX dataset_items_user ON dataset_items ("user")')
