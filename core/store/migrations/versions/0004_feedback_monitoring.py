"""Feedback remembers how it was answered, latencies are kept as sketches, and versions in service are counted anew.

What monitoring keeps is made from the prediction log and the outcomes, which stay: its sums are dropped with its
cursors, and the first pass counts every row again, into the finer buckets and segments.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    status = sa.Column("status", sa.String(length=16), nullable=False, server_default="accepted")
    op.add_column("feedback", status)
    op.add_column("feedback", sa.Column("observed_at", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_feedback_tenant_kind_at"), "feedback", ["tenant", "kind", "at"], unique=False)
    op.create_table(
        "feedback_tally",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "status", name=op.f("pk_feedback_tally")),
    )
    op.execute(
        "INSERT INTO feedback_tally (tenant, status, n) "
        "SELECT tenant, 'accepted', count(*) FROM feedback GROUP BY tenant"
    )
    op.create_table(
        "latency_sketch",
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("segment", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", "segment", "at", name=op.f("pk_latency_sketch")),
    )
    op.execute("DELETE FROM metric_point")
    op.execute("DELETE FROM consumer_offset WHERE consumer IN ('monitoring:attempts', 'monitoring:outcomes')")
