"""The loop: jobs, deployments and rollouts, audit log, scores, alerts, tuning, bias."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _audit() -> None:
    op.create_table(
        "audit_leaves",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("action", sa.String(100), nullable=False, index=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
    )
    op.create_table(
        "audit_names",
        sa.Column("leaf", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("field", sa.String(20), primary_key=True),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False, index=True),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("signature", sa.String(200), nullable=False),
        sa.Column("peaks", sa.Text, nullable=False),
    )


def _erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("user", sa.Text),
        sa.Column("done_at", sa.String(40)),
        sa.Column("records", sa.Integer, nullable=False),
        sa.Column("scores", sa.Integer, nullable=False),
        sa.Column("items", sa.Integer, nullable=False),
        sa.Column("names", sa.Integer, nullable=False),
    )


def _alarms() -> None:
    op.create_table(
        "alarms",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "alarm_events",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("alarm", sa.String(200), nullable=False, index=True),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "alarm_silences",
        sa.Column("alarm", sa.String(200), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "notifications",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(100), nullable=False, unique=True),
        sa.Column("alarm", sa.String(200), nullable=False, index=True),
        sa.Column("notifier", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("due_at", sa.String(40), nullable=False),
        sa.Column("state", sa.String(20), nullable=False, index=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("ended_at", sa.String(40)),
    )
    op.create_table(
        "cursors",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("value", sa.String(200), nullable=False),
    )


def _responses() -> None:
    op.create_table(
        "responses",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("user", sa.Text, index=True),
        sa.Column("previous", sa.String(64)),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.Column("expires_at", sa.String(40), nullable=False, index=True),
        sa.Column("response", sa.Text, nullable=False),
        sa.Column("messages", sa.Text, nullable=False),
    )


def upgrade() -> None:
    """Make the tables."""
    _responses()
    _alarms()
    _audit()
    _erasures()
    _spends()
    _tuning()
    op.create_table(
        "placements",
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "scalings",
        sa.Column("model", sa.String(200), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "standings",
        sa.Column("deployment", sa.String(200), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("deployment", sa.String(200), nullable=False, index=True),
        sa.Column("started_at", sa.String(40), nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("settled", sa.Boolean, nullable=False),
        sa.Column("exposure", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "rollout_units",
        sa.Column("rollout", sa.String(64), primary_key=True),
        sa.Column("lane", sa.String(200), primary_key=True),
        sa.Column("unit", sa.String(64), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "verdicts",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("rollout", sa.String(64), nullable=False, index=True),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(100), primary_key=True),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False, index=True),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.Column("updated_at", sa.String(40), nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("owner", sa.String(200)),
        sa.Column("claims", sa.Integer, nullable=False),
    )


def _spends() -> None:
    op.create_table(
        "spends",
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("usd", sa.String(40), nullable=False),
    )


def _tuning() -> None:
    op.create_table(
        "tune_calls",
        sa.Column("job", sa.String(100), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("begun", sa.Integer, nullable=False),
    )
    op.create_table(
        "tune_choices",
        sa.Column("job", sa.String(100), primary_key=True),
        sa.Column("at", sa.String(40), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
