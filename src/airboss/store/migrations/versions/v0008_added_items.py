"""Datasets that are added to: versions share the items that they have in common."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; each dataset that is there has its items for itself."""
    op.add_column("datasets", sa.Column("root", sa.String(64), nullable=False, server_default=""))
    op.add_column("datasets", sa.Column("grown", sa.Integer, nullable=False, server_default="0"))
    op.execute("UPDATE datasets SET root = digest")
    op.create_index("ix_datasets_root", "datasets", ["root"])
    op.add_column("dataset_items", sa.Column("since", sa.Integer, nullable=False, server_default="0"))
