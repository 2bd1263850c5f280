"""Index modes, whatever is there becoming ENHANCED; and range indexes of strings, which serve prefixes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SCHEMA = "s3_vectors"
COLUMNS = {"vector_buckets": "default_index_mode", "vector_indexes": "index_mode"}
UNIQUE = "range_indexes_vector_index_id_key_key"
WATCHED = "account_id, vector_bucket_name, policy, policy_user_ids, tags, sse_type, kms_key_arn, deletion_time"


def upgrade() -> None:
    """A constant default is no rewrite; it is also what a server of an earlier version inserts."""
    for table, name in COLUMNS.items():
        known = sa.CheckConstraint(f"{name} IN ('CLASSIC', 'ENHANCED')", name=f"{table}_{name}_check")
        op.add_column(table, sa.Column(name, sa.Text, known, nullable=False, server_default="ENHANCED"), schema=SCHEMA)
    watch_buckets(f"{WATCHED}, default_index_mode")
    give_types_to_range_indexes()


def watch_buckets(columns: str) -> None:
    """Every column of an index is watched."""
    op.execute(f"DROP TRIGGER raise_catalog_generation ON {SCHEMA}.vector_buckets")
    op.execute(
        f"CREATE CONSTRAINT TRIGGER raise_catalog_generation AFTER INSERT OR DELETE OR UPDATE OF {columns}"
        f" ON {SCHEMA}.vector_buckets DEFERRABLE INITIALLY DEFERRED"
        f" FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.raise_catalog_generation()"
    )


def give_types_to_range_indexes() -> None:
    known = sa.CheckConstraint("value_type IN ('number', 'string')", name="range_indexes_value_type_check")
    value_type = sa.Column("value_type", sa.Text, known, nullable=False, server_default="number")
    op.add_column("range_indexes", value_type, schema=SCHEMA)
    op.drop_constraint(UNIQUE, "range_indexes", schema=SCHEMA)
    op.create_unique_constraint(UNIQUE, "range_indexes", ["vector_index_id", "key", "value_type"], schema=SCHEMA)


def downgrade() -> None:
    """A builder drops the indexes whose rows go."""
    op.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table whose triggers are still to come cannot be altered
    op.execute("DELETE FROM s3_vectors.range_indexes WHERE value_type = 'string'")
    op.drop_constraint(UNIQUE, "range_indexes", schema=SCHEMA)
    op.drop_column("range_indexes", "value_type", schema=SCHEMA)
    op.create_unique_constraint(UNIQUE, "range_indexes", ["vector_index_id", "key"], schema=SCHEMA)
    watch_buckets(WATCHED)
    for table, name in COLUMNS.items():
        op.drop_column(table, name, schema=SCHEMA)
