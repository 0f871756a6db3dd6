"""Datasets whose items change: an item may end with a version, and be there again in another form."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and let an id be there once for each version that it came with."""
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("dataset_items", sa.Column("until", sa.Integer))
        op.drop_constraint("dataset_items_pkey", "dataset_items")
        op.create_primary_key("dataset_items_pkey", "dataset_items", ["dataset", "id", "since"])
        return
    # SQLite changes no key of a table that is there.
    op.drop_index("dataset_items_user", "dataset_items")
    op.rename_table("dataset_items", "dataset_items_before")
    op.create_table(
        "dataset_items",
        sa.Column("dataset", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("part", sa.String(20), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("user", sa.String(512)),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("since", sa.Integer, primary_key=True, server_default="0"),
        sa.Column("until", sa.Integer),
    )
    names = ("dataset", "id", "part", "subject", "user", "content", "since")
    before, after = (
        sa.table(table, *(sa.column(name) for name in names))
        for table in ("dataset_items_before", "dataset_items")
    )
    op.execute(after.insert().from_select(list(names), sa.select(before)))
    op.drop_table("dataset_items_before")
    op.create_index("dataset_items_user", "dataset_items", ["user"])
