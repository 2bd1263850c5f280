"""A database of this module's own, with the pool that the server uses."""

from collections.abc import AsyncIterator, Callable

import pytest

from app.arns import Account, IndexArn, VectorBucketArn
from app.database import catalog, views
from app.database.catalog import Index
from app.database.engine import Database
from app.database.graph_building import build, builder_connection
from app.database.graph_catalog import last_positions
from app.database.graph_growth import Build
from app.database.graphs import FINAL_EF_CONSTRUCTION
from app.database.vector_table import create_vector_table
from app.encryption import DEFAULT
from app.shapes import DistanceMetric
from tests.roles import Roles, logged_in

HOME = Account("000000000000", "us-east-1")
BUCKET = VectorBucketArn(HOME, "media")


@pytest.fixture
async def database(own_database_url: str, roles: Roles) -> AsyncIterator[Database]:
    """With the rights of the app role alone, as the server should have them."""
    database = Database(logged_in(own_database_url, roles.app), pool_size=4, statement_timeout_seconds=30)
    await database.open()
    yield database
    await database.close()


class Library:
    """Buckets and indexes without HTTP."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def create_bucket(self, arn: VectorBucketArn = BUCKET) -> catalog.VectorBucket:
        async with self.database.transaction() as connection:
            bucket_id = await catalog.insert_vector_bucket(connection, arn, DEFAULT, {})
            schema_name = await views.create_schema(connection, arn)
            await catalog.update_vector_bucket(connection, bucket_id, schema_name=schema_name)
            return await catalog.find_vector_bucket(connection, arn)

    async def create_index(self, dimension: int, metric: str = "cosine", name: str = "movies") -> Index:
        arn = IndexArn(BUCKET, name)
        async with self.database.transaction() as connection:
            bucket = await catalog.find_vector_bucket(connection, BUCKET)
            await catalog.insert_index(
                connection,
                bucket,
                DEFAULT,
                index_name=name,
                dimension=dimension,
                distance_metric=DistanceMetric(metric),
                tags={},
            )
            index = await catalog.find_index(connection, arn)
            await create_vector_table(connection, index)
            if bucket.schema_name:
                await views.create_view(connection, bucket.schema_name, index)
            return index

    async def build_graph(self, index: Index, first: int = 0, end: int | None = None) -> Index:
        """The index with a graph over its positions, all of them unless some are named."""
        async with await builder_connection(self.database.url) as connection:
            last = (await last_positions(connection)).get(index.id, 0)
            await build(connection, index, Build(first, last + 1 if end is None else end, FINAL_EF_CONSTRUCTION))
        return await self.find_index(index.arn)

    async def find_index(self, arn: IndexArn) -> Index:
        async with self.database.transaction() as connection:
            return await catalog.find_index(connection, arn)


@pytest.fixture
async def library(database: Database) -> Library:
    library = Library(database)
    await library.create_bucket()
    return library


Rows = Callable[[str], list[tuple[object, ...]]]


@pytest.fixture
def rows(own_database_url: str) -> Rows:
    """What a person sees in psql."""
    import psycopg  # noqa: PLC0415 - the second way into the database, beside the server's own

    def run(statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(own_database_url) as connection:
            return connection.execute(statement.encode()).fetchall()

    return run
