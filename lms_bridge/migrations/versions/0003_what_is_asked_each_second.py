"""Indexes for what every process asks each second: is a mirror due, is its time come, is somebody to be signed out?"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_mirrors_due", "mirrors")
    op.drop_index("ix_mirrors_recheck_at", "mirrors")
    _partial("ix_mirrors_due", ["site"], sqlite="due = 1", postgresql="due")
    known = "recheck_at IS NOT NULL"
    _partial("ix_mirrors_recheck_at", ["site", "recheck_at"], sqlite=known, postgresql=known)
    _partial("ix_mirrors_sign_out_pending", ["id"], sqlite="sign_out_pending = 1", postgresql="sign_out_pending")


def _partial(name: str, columns: list[str], *, sqlite: str, postgresql: str) -> None:
    op.create_index(name, "mirrors", columns, sqlite_where=sa.text(sqlite), postgresql_where=sa.text(postgresql))
