from collections.abc import Callable

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app.database import catalog
from app.database.migrations import configuration, migrate


def test_migrating_twice_changes_nothing(own_database_url: str) -> None:
    migrate(own_database_url)
    migrate(own_database_url)


def test_the_catalog_in_code_is_the_catalog_in_the_database(own_database_url: str) -> None:
    """Columns only: what a migration adds in indexes, defaults and comments, the code need not repeat."""
    engine = sa.create_engine(own_database_url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == "s3_vectors",
            },
        )
        drift = [
            change
            for change in compare_metadata(context, catalog.metadata)
            if change[0] in ("add_table", "add_column", "remove_column")
        ]
    assert drift == []


def test_vectors_of_an_earlier_version_get_positions(copied_database: Callable[[], str]) -> None:
    """As 0002 left them: with an HNSW index over the whole table, and without any position."""
    url = copied_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA s3_vectors, vectors CASCADE")
        connection.execute("CREATE SCHEMA s3_vectors")
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=sa.NullPool)
    with engine.begin() as old:
        command.upgrade(configuration(connection=old), "0002")
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO s3_vectors.vector_buckets (account_id, vector_bucket_name, sse_type, tags)"
            " VALUES ('000000000000', 'media', 'AES256', '{}')"
        )
        connection.execute(
            "INSERT INTO s3_vectors.vector_indexes"
            " (vector_bucket_id, index_name, dimension, distance_metric, sse_type, tags)"
            " VALUES (1, 'movies', 2, 'cosine', 'AES256', '{}')"
        )
        connection.execute(
            'CREATE TABLE vectors.index_1 (key text COLLATE "C" PRIMARY KEY, embedding vector(2) NOT NULL,'
            " non_filterable_metadata jsonb)"
        )
        connection.execute("CREATE INDEX hnsw_1 ON vectors.index_1 USING hnsw (embedding vector_cosine_ops)")
        connection.execute("INSERT INTO vectors.index_1 VALUES ('a', '[1,2]'), ('b', '[3,4]')")
    migrate(url)
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT key, embedding::text, position FROM vectors.index_1 ORDER BY key").fetchall()
        names = connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'index_1' ORDER BY 1").fetchall()
    assert rows == [("a", "[1,2]", 1), ("b", "[3,4]", 2)]
    assert names == [("index_1_pkey",), ("position_1",)]


def test_what_is_there_becomes_enhanced_and_its_range_indexes_are_of_numbers(
    copied_database: Callable[[], str],
) -> None:
    """Back to 0005, and forth again with rows of it; indexes of strings do not go back."""
    url = copied_database()
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=sa.NullPool)
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO s3_vectors.vector_buckets (account_id, vector_bucket_name, sse_type, tags, default_index_mode)"
            " VALUES ('000000000000', 'media', 'AES256', '{}', 'CLASSIC')"
        )
        connection.execute(
            "INSERT INTO s3_vectors.vector_indexes"
            " (vector_bucket_id, index_name, dimension, distance_metric, sse_type, tags, index_mode)"
            " SELECT id, 'movies', 2, 'cosine', 'AES256', '{}', 'CLASSIC' FROM s3_vectors.vector_buckets"
        )
        connection.execute(
            "INSERT INTO s3_vectors.range_indexes (vector_index_id, key, value_type, state)"
            " SELECT id, 'year', unnest(ARRAY['number', 'string']), 'ready' FROM s3_vectors.vector_indexes"
        )
    with engine.begin() as old:
        command.downgrade(configuration(connection=old), "0005")
    migrate(url)
    with psycopg.connect(url) as connection:
        modes = connection.execute(
            "SELECT default_index_mode, index_mode FROM s3_vectors.vector_buckets, s3_vectors.vector_indexes"
        ).fetchall()
        types = connection.execute("SELECT key, value_type FROM s3_vectors.range_indexes").fetchall()
    assert modes == [("ENHANCED", "ENHANCED")]
    assert types == [("year", "number")]
