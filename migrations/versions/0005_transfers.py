"""How far imports and exports have come."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SCHEMA = "s3_vectors"


def upgrade() -> None:
    of_index = sa.ForeignKey(f"{SCHEMA}.vector_indexes.id", ondelete="CASCADE")
    op.create_table(
        "transfers",
        sa.Column("vector_index_id", sa.BigInteger, of_index, primary_key=True),
        sa.Column("peer", sa.Text, primary_key=True, comment="a file in one state of it, or an index elsewhere"),
        sa.Column("progress", JSONB, nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("transfers", schema=SCHEMA)
