"""What a roll-out's judge reads: scoring time, kind of failure, pinned requests; and how far people were told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("prediction", sa.Column("score_ms", sa.Float(), nullable=True))
    op.add_column("prediction", sa.Column("failure", sa.String(length=12), nullable=True))
    op.add_column("prediction", sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(op.f("ix_prediction_model_epoch_channel_id"), "prediction", ["model", "epoch", "channel_id"])
    op.add_column("shadow_score", sa.Column("failure", sa.String(length=12), nullable=True))
    op.add_column("shadow_score", sa.Column("score_ms", sa.Float(), nullable=True))
    op.add_column("rollout", sa.Column("notified", sa.Integer(), nullable=False, server_default="0"))
