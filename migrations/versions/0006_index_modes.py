"""Index modes: of each index, and of each bucket for indexes to come; whatever is there becomes ENHANCED."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SCHEMA = "s3_vectors"
COLUMNS = {"vector_buckets": "default_index_mode", "vector_indexes": "index_mode"}
WATCHED = "account_id, vector_bucket_name, policy, policy_user_ids, tags, sse_type, kms_key_arn, deletion_time"


def upgrade() -> None:
    """A constant default is no rewrite; it is also what a server of an earlier version inserts."""
    for table, name in COLUMNS.items():
        known = sa.CheckConstraint(f"{name} IN ('CLASSIC', 'ENHANCED')", name=f"{table}_{name}_check")
        op.add_column(table, sa.Column(name, sa.Text, known, nullable=False, server_default="ENHANCED"), schema=SCHEMA)
    watch_buckets(f"{WATCHED}, default_index_mode")


def watch_buckets(columns: str) -> None:
    """Every column of an index is watched."""
    op.execute(f"DROP TRIGGER raise_catalog_generation ON {SCHEMA}.vector_buckets")
    op.execute(
        f"CREATE CONSTRAINT TRIGGER raise_catalog_generation AFTER INSERT OR DELETE OR UPDATE OF {columns}"
        f" ON {SCHEMA}.vector_buckets DEFERRABLE INITIALLY DEFERRED"
        f" FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.raise_catalog_generation()"
    )


def downgrade() -> None:
    watch_buckets(WATCHED)
    for table, name in COLUMNS.items():
        op.drop_column(table, name, schema=SCHEMA)
