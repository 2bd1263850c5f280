"""Indexes for commands to speak of, made without a server."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager

import numpy as np
import psycopg
from msgspec import Struct
from pgvector import Vector

from app.database.catalog import Index
from app.database.engine import Database
from app.database.vector_table import StoredVector, upsert
from tests.cli.test_iam import Command, ForkedCommand
from tests.conftest import open_directory
from tests.database.conftest import Library

Make = Callable[[Library], Awaitable[None]]


class Indexes(Struct):
    url: str
    command: Command

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def indexes_at(url: str, make: Make) -> Iterator[Indexes]:
    """In bucket media of the home account; no server runs."""
    asyncio.run(made(url, make))
    with open_directory() as directory:
        settings = {"DATABASE_URL": url, "DATA_DIR": str(directory / "data"), "LOG_LEVEL": "error"}
        with closing(ForkedCommand(**settings)) as command:
            yield Indexes(url, command)


async def made(url: str, make: Make) -> None:
    database = Database(url, pool_size=2, statement_timeout_seconds=30)
    await database.open()
    try:
        library = Library(database)
        await library.create_bucket()
        await make(library)
    finally:
        await database.close()


async def store(library: Library, index: Index, number: int, first: int = 0) -> None:
    """Keys k0, k1, ... with their numbers as metadata."""
    vectors = np.random.default_rng(first).normal(size=(number, index.dimension)).astype(np.float32)
    records = [StoredVector(f"k{i}", Vector(v), f'{{"n": {i}}}', '{"text": "t"}') for i, v in enumerate(vectors, first)]
    async with library.database.connection() as connection:
        await upsert(connection, index, records)
