"""The catalog: buckets, indexes and the key of page tokens; index tables are born in CreateIndex."""

import os
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = sa.Text(collation="C")


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS vectors")
    op.create_table(
        "vector_buckets",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("account_id", NAME, nullable=False),
        sa.Column("vector_bucket_name", NAME, nullable=False),
        sa.Column("creation_time", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("deletion_time", sa.DateTime(timezone=True)),
        sa.Column("sse_type", sa.Text, nullable=False),
        sa.Column("kms_key_arn", sa.Text),
        sa.Column("tags", JSONB, nullable=False),
        sa.Column("policy", sa.Text),
        sa.Column("schema_name", sa.Text, comment="schema of the views for people, NULL without"),
        schema="s3_vectors",
    )
    op.create_index(
        "vector_buckets_by_name",
        "vector_buckets",
        ["account_id", "vector_bucket_name"],
        unique=True,
        schema="s3_vectors",
        postgresql_where=sa.text("deletion_time IS NULL"),
    )
    op.create_table(
        "vector_indexes",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="table vectors.index_<id>"),
        sa.Column("vector_bucket_id", sa.BigInteger, sa.ForeignKey("s3_vectors.vector_buckets.id"), nullable=False),
        sa.Column("index_name", NAME, nullable=False),
        sa.Column("creation_time", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("deletion_time", sa.DateTime(timezone=True)),
        sa.Column("dimension", sa.Integer, nullable=False),
        sa.Column("distance_metric", sa.Text, nullable=False),
        sa.Column("non_filterable_metadata_keys", sa.ARRAY(sa.Text), comment="NULL: never configured"),
        sa.Column("sse_type", sa.Text, nullable=False),
        sa.Column("kms_key_arn", sa.Text),
        sa.Column("tags", JSONB, nullable=False),
        schema="s3_vectors",
    )
    op.create_index(
        "vector_indexes_by_name",
        "vector_indexes",
        ["vector_bucket_id", "index_name"],
        unique=True,
        schema="s3_vectors",
        postgresql_where=sa.text("deletion_time IS NULL"),
    )
    page_token_keys = op.create_table(
        "page_token_keys",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        schema="s3_vectors",
    )
    op.bulk_insert(page_token_keys, [{"key": os.urandom(32)}])


def downgrade() -> None:
    """Only an empty catalog goes back: vectors are never dropped by a migration."""
    op.drop_table("page_token_keys", schema="s3_vectors")
    op.drop_table("vector_indexes", schema="s3_vectors")
    op.drop_table("vector_buckets", schema="s3_vectors")
    op.execute("DROP SCHEMA vectors RESTRICT")
