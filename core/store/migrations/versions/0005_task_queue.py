"""Training tasks say what kind of failure they had, and when they may be tried again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("training_task", sa.Column("reason", sa.String(length=32), nullable=True))
    op.add_column("training_task", sa.Column("not_before", sa.BigInteger(), nullable=True))
