"""What each user of a key spent, where each has a budget."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "user_spends",
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("user", sa.String(32), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("usd", sa.String(40), nullable=False),
    )
