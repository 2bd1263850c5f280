import pytest
import sqlalchemy as sa
from pgvector import Vector

from app.arns import Account, VectorBucketArn
from app.database import catalog
from app.database.deletion import Deletion
from app.database.engine import Database
from app.database.vector_table import StoredVector, upsert
from tests.database.conftest import BUCKET, Library, Rows


async def test_people_read_an_index_under_its_names(library: Library, database: Database, rows: Rows) -> None:
    index = await library.create_index(2)
    async with database.connection() as connection:
        await upsert(connection, index, [StoredVector("k", Vector([1, 2]), '{"a": 1}', '{"text": "long"}')])
    assert rows('SELECT key, metadata, non_filterable_metadata, embedding::text FROM "media"."movies" LIMIT 5') == [
        ("k", {"a": 1}, {"text": "long"}, "[1,2]")
    ]


async def test_a_taken_schema_name_gets_the_account_behind_it(library: Library) -> None:
    other = VectorBucketArn(Account("111111111111", "us-east-1"), "media")
    assert (await library.create_bucket(other)).schema_name == "media_111111111111"
    public = VectorBucketArn(Account("000000000000", "us-east-1"), "public")
    assert (await library.create_bucket(public)).schema_name == "public_000000000000"


async def test_long_names_are_cut_to_what_postgresql_keeps(library: Library, rows: Rows) -> None:
    name = "n" * 63
    first = await library.create_bucket(VectorBucketArn(Account("000000000000", "us-east-1"), name))
    second = await library.create_bucket(VectorBucketArn(Account("111111111111", "us-east-1"), name))
    assert (first.schema_name, second.schema_name) == (name, None)
    assert rows(f"SELECT 1 FROM pg_namespace WHERE nspname = '{name}'") == [(1,)]


async def test_deleted_tables_views_and_schemas_go(library: Library, database: Database, rows: Rows) -> None:
    index = await library.create_index(2)
    async with database.transaction() as connection:
        bucket = await catalog.find_vector_bucket(connection, BUCKET)
        await catalog.update_index(connection, index.id, deletion_time=sa.func.now())
        await catalog.update_vector_bucket(connection, bucket.id, deletion_time=sa.func.now())
    await Deletion(database).drop_deleted()
    assert rows("SELECT 1 FROM pg_class WHERE relname IN ('movies') OR relnamespace = 'vectors'::regnamespace") == []
    assert rows("SELECT 1 FROM pg_namespace WHERE nspname = 'media'") == []
    assert rows("SELECT (SELECT count(*) FROM s3_vectors.vector_buckets), count(*) FROM s3_vectors.vector_indexes") == [
        (0, 0)
    ]


async def test_a_drop_gives_way_to_readers_and_is_tried_again(library: Library, database: Database, rows: Rows) -> None:
    index = await library.create_index(2)
    exists = f"SELECT to_regclass('vectors.index_{index.id}') IS NOT NULL"
    async with database.transaction() as reader:
        await reader.execute(sa.text('SELECT * FROM "media"."movies"'))
        async with database.transaction() as connection:
            await catalog.update_index(connection, index.id, deletion_time=sa.func.now())
        await Deletion(database).drop_deleted()
        assert rows(exists) == [(True,)]
    await Deletion(database).drop_deleted()
    assert rows(exists) == [(False,)]


@pytest.mark.parametrize("name", ["movies", "a.b", "select"])
async def test_a_view_of_a_deleted_index_gives_its_name_to_the_next(
    library: Library, database: Database, name: str
) -> None:
    for dimension in (2, 3):
        index = await library.create_index(dimension, name=name)
        async with database.transaction() as connection:
            view = sa.Table(name, sa.MetaData(), schema="media")
            kind = sa.func.format_type(sa.column("atttypid"), sa.column("atttypmod"))
            attribute = sa.table("pg_attribute", sa.column("attrelid"), sa.column("attname"))
            of_view = attribute.c.attrelid == sa.func.to_regclass(str(sa.schema.DropView(view)).split()[-1])
            columns = await connection.scalar(
                sa.select(kind).select_from(attribute).where(of_view, attribute.c.attname == "embedding")
            )
            assert columns == f"vector({dimension})"
            await catalog.update_index(connection, index.id, deletion_time=sa.func.now())
