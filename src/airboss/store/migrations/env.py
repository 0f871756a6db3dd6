"""Where Alembic begins. The caller's connection is already in a transaction, which it commits."""

from __future__ import annotations

from alembic import context

from airboss.store.ledger_tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
