"""Short codes of vectors that no graph holds yet."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import VECTOR
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SCHEMA = "s3_vectors"
TABLE = "vector_codes"
WATCHED = "'vector_indexes', 'hnsw_graphs', 'range_indexes', 'text_search_configurations'"


def upgrade() -> None:
    of_index = sa.ForeignKey(f"{SCHEMA}.vector_indexes.id", ondelete="CASCADE")
    op.create_table(
        TABLE,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("vector_index_id", sa.BigInteger, of_index, nullable=False),
        sa.Column("first_position", sa.BigInteger, nullable=False),
        sa.Column("end_position", sa.BigInteger, nullable=False, comment="one behind the last"),
        sa.Column("codes", sa.BigInteger, nullable=False, comment="of vectors that are there or were"),
        sa.Column("codes_at_first", sa.BigInteger, nullable=False, comment="of the vectors that gave the thresholds"),
        sa.Column("thresholds", ARRAY(VECTOR), nullable=False),
        sa.Column("state", sa.Text, sa.CheckConstraint("state IN ('ready', 'retired')"), nullable=False),
        sa.Column("creation_time", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("retirement_time", sa.DateTime(timezone=True)),
        schema=SCHEMA,
    )
    op.create_index(f"{TABLE}_by_index", TABLE, ["vector_index_id"], schema=SCHEMA)
    one = sa.text("state = 'ready'")
    op.create_index(f"{TABLE}_ready", TABLE, ["vector_index_id"], unique=True, schema=SCHEMA, postgresql_where=one)
    count_codes_as_indexes()


def count_codes_as_indexes() -> None:
    """Servers keep with their index which of its vectors have codes."""
    watch(f"{WATCHED}, '{TABLE}'")
    op.execute(
        f"CREATE CONSTRAINT TRIGGER raise_catalog_generation AFTER INSERT OR DELETE OR UPDATE OF state, end_position"
        f" ON {SCHEMA}.{TABLE} DEFERRABLE INITIALLY DEFERRED"
        f" FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.raise_catalog_generation()"
    )
    op.execute(
        f"CREATE TRIGGER truncated_raise_catalog_generation AFTER TRUNCATE ON {SCHEMA}.{TABLE}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.raise_catalog_generation()"
    )


def watch(tables: str) -> None:
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION s3_vectors.raise_catalog_generation() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            of_indexes CONSTANT int := (TG_TABLE_NAME IN ({tables}))::int;
        BEGIN
            UPDATE s3_vectors.catalog_generation
                SET access = access + 1 - of_indexes, indexes = indexes + of_indexes;
            RETURN NULL;
        END
        $$
        """  # noqa: S608 - names of tables, given above
    )


def downgrade() -> None:
    """Searches measure the vectors themselves again."""
    codes = op.get_bind().execute(sa.text(f"SELECT vector_index_id, id FROM {SCHEMA}.{TABLE}"))  # noqa: S608 - ours
    for index_id, codes_id in codes:
        op.execute(f"DROP TABLE IF EXISTS vectors.codes_{index_id}_{codes_id}")
    op.drop_table(TABLE, schema=SCHEMA)
    watch(WATCHED)
