"""Full-text search: what is searchable of each index, and how many documents of which length there are."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SCHEMA = "s3_vectors"
NAME = sa.Text(collation="C")
CONFIGURATIONS = "text_search_configurations"

STATES = "state IN ('building', 'active', 'deleted')"


def upgrade() -> None:
    op.add_column(
        "vector_indexes",
        sa.Column(
            "text_search_revision",
            sa.BigInteger,
            nullable=False,
            server_default="0",
            comment="raised with every change of text_search_configurations: who writes under another begins again",
        ),
        schema=SCHEMA,
    )
    op.create_table(
        CONFIGURATIONS,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="table vectors.text_<id>"),
        sa.Column(
            "vector_index_id",
            sa.BigInteger,
            sa.ForeignKey(f"{SCHEMA}.vector_indexes.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("metadata_key", NAME, nullable=False),
        sa.Column("language", sa.Text, comment="NULL: the standard analyzer"),
        sa.Column("analyzer_version", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, sa.CheckConstraint(STATES), nullable=False),
        sa.Column("built_up_to", NAME, comment="key of the last vector that the backfill has indexed"),
        sa.Column("creation_time", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("completion_time", sa.DateTime(timezone=True)),
        sa.Column("deletion_time", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("retry_time", sa.DateTime(timezone=True)),
        sa.Column("error", sa.Text),
        schema=SCHEMA,
    )
    op.create_index(
        f"{CONFIGURATIONS}_by_key",
        CONFIGURATIONS,
        ["vector_index_id", "metadata_key"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("state <> 'deleted'"),
    )
    of_configuration = sa.ForeignKey(f"{SCHEMA}.{CONFIGURATIONS}.id", ondelete="CASCADE")
    op.create_table(
        "text_statistics",
        sa.Column("text_search_configuration_id", sa.BigInteger, of_configuration, nullable=False),
        sa.Column("documents", sa.BigInteger, nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False, comment="terms of all documents"),
        schema=SCHEMA,
        comment="what each write added or took; their sum is what there is",
    )
    op.create_index(
        "text_statistics_by_configuration", "text_statistics", ["text_search_configuration_id"], schema=SCHEMA
    )
    count_configurations_as_indexes()


def count_configurations_as_indexes() -> None:
    """Servers keep with their index what is searchable of it."""
    watch("'vector_indexes', 'hnsw_graphs', 'range_indexes', 'text_search_configurations'")
    op.execute(
        f"CREATE CONSTRAINT TRIGGER raise_catalog_generation AFTER INSERT OR DELETE OR UPDATE OF state"
        f" ON {SCHEMA}.{CONFIGURATIONS} DEFERRABLE INITIALLY DEFERRED"
        f" FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.raise_catalog_generation()"
    )
    op.execute(
        f"CREATE TRIGGER truncated_raise_catalog_generation AFTER TRUNCATE ON {SCHEMA}.{CONFIGURATIONS}"
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
        """  # noqa: S608 - names of tables, given below
    )


def downgrade() -> None:
    for (configuration_id,) in op.get_bind().execute(sa.text("SELECT id FROM s3_vectors.text_search_configurations")):
        op.execute(f"DROP TABLE IF EXISTS vectors.text_{configuration_id}, vectors.postings_{configuration_id}")
    op.drop_table("text_statistics", schema=SCHEMA)
    op.drop_table(CONFIGURATIONS, schema=SCHEMA)
    watch("'vector_indexes', 'hnsw_graphs', 'range_indexes'")
    op.drop_column("vector_indexes", "text_search_revision", schema=SCHEMA)
