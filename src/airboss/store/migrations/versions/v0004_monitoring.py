"""Monitoring: saved views, drift."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    for name in ("saved_views", "drifts"):
        op.create_table(
            name,
            sa.Column("name", sa.String(200), primary_key=True),
            sa.Column("content", sa.Text, nullable=False),
        )
