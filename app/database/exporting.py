"""All vectors of an index in one snapshot, some rows at a time, in no particular order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from pgvector.psycopg import register_vector_async
from psycopg import IsolationLevel
from psycopg.rows import namedtuple_row

from app.database.catalog import Index
from app.database.connection import Connection
from app.database.statements import Statement, compiled
from app.database.vector_table import data_text, metadata_columns, table_of

ROWS = 2_000
_SESSION = "-c jit=off -c statement_timeout=0 -c application_name=pgs3vectors-export"


class Extent(Struct, frozen=True):
    """How much there is to export, and how long it gets at most."""

    rows: int
    key_characters: int
    metadata_bytes: int


class Snapshot:
    def __init__(self, connection: Connection, index: Index) -> None:
        self._connection = connection
        self._table = table_of(index)

    async def extent(self) -> Extent:
        lengths = [sa.func.octet_length(column.element) for column in metadata_columns(self._table)]
        of_metadata = sum(lengths[1:], start=lengths[0])
        longest = [sa.func.coalesce(sa.func.max(n), 0) for n in (sa.func.length(self._table.c.key), of_metadata)]
        [row] = await self._connection.run(compiled(sa.select(sa.func.count(), *longest).select_from(self._table)))
        return Extent(*row)

    async def rows(self, *, as_text: bool) -> AsyncIterator[list[Any]]:
        """For `output_vector`, with the data as JSON text, or with `embedding` as it is."""
        embedding = data_text(self._table).label("data") if as_text else self._table.c.embedding
        statement = compiled(sa.select(self._table.c.key, embedding, *metadata_columns(self._table)))
        async with self._cursor(statement) as cursor:
            while rows := await cursor.fetchmany(ROWS):
                yield rows

    @asynccontextmanager
    async def _cursor(self, statement: Statement) -> AsyncIterator[Any]:
        """On the server: a result of all rows would be kept in memory here."""
        async with self._connection.cursor("export", binary=True, row_factory=namedtuple_row) as cursor:
            cursor.itersize = ROWS
            await cursor.execute(statement.text.encode(), statement.values)
            yield cursor


async def exporting_connection(url: str) -> Connection:
    connection = await Connection.connect(url, autocommit=True, options=_SESSION)
    await register_vector_async(connection)
    return connection


@asynccontextmanager
async def snapshot(url: str, index: Index) -> AsyncIterator[Snapshot]:
    """As the index was when it was opened, whatever is written meanwhile."""
    async with await exporting_connection(url) as connection:
        await connection.set_autocommit(False)
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        await connection.set_read_only(True)
        yield Snapshot(connection, index)
