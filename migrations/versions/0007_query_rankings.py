"""What queries of many pages have found."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

revision = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SCHEMA = "s3_vectors"


def upgrade() -> None:
    of_index = sa.ForeignKey(f"{SCHEMA}.vector_indexes.id", ondelete="CASCADE")
    op.create_table(
        "query_rankings",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("vector_index_id", sa.BigInteger, of_index, nullable=False, index=True),
        sa.Column("user_id", sa.Text, nullable=False, comment="of whom it is; what one user keeps is bounded"),
        sa.Column("bytes", sa.BigInteger, nullable=False, comment="of its pages, as JSON"),
        sa.Column("expiry", sa.DateTime(timezone=True), nullable=False, index=True),
        sa.Index("query_rankings_of_user", "user_id", "expiry", "id"),
        schema=SCHEMA,
    )
    of_ranking = sa.ForeignKey(f"{SCHEMA}.query_rankings.id", ondelete="CASCADE")
    op.create_table(
        "query_ranking_pages",
        sa.Column("query_ranking_id", sa.BigInteger, of_ranking, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("ranking", JSON, nullable=False, comment="vector keys in their order, and what was found of each"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("query_ranking_pages", schema=SCHEMA)
    op.drop_table("query_rankings", schema=SCHEMA)
