"""Many vectors at once, past the API: COPY into a table of the session, and one INSERT from there.

    CREATE TEMPORARY TABLE loading (LIKE vectors.index_42 INCLUDING STORAGE) ON COMMIT DELETE ROWS;
    COPY loading (key, embedding, metadata, non_filterable_metadata) FROM STDIN (FORMAT BINARY);
    INSERT INTO vectors.index_42 (...) SELECT ... FROM loading ORDER BY key ON CONFLICT (key) DO UPDATE SET ...;

COPY straight into the table of an index would refuse keys that are there, and was no faster: what takes the time are
the indexes of metadata.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from pgvector.psycopg import register_vector_async
from psycopg.types.json import Jsonb

from app.database.catalog import Index
from app.database.connection import Connection
from app.database.ddl import ddl
from app.database.statements import compiled
from app.database.transfers import Transfer, note_progress
from app.database.vector_table import StoredVector, is_sealed, replacing, table_of

_LOCK = 0x5333_5649  # "S3VI"
_COLUMNS = StoredVector.__struct_fields__

# A client that writes the same keys is waited for, however long.
_SESSION = "-c jit=off -c statement_timeout=0 -c lock_timeout=0 -c application_name=pgs3vectors-import"


async def loading_connection(url: str) -> Connection:
    connection = await Connection.connect(url, autocommit=True, options=_SESSION)
    await register_vector_async(connection)
    return connection


async def claim(connection: Connection, index: Index) -> bool:
    """For as long as the connection lives: one load at a time, whose index builders leave alone meanwhile."""
    row = await (await connection.execute("SELECT pg_try_advisory_lock(%s, %s)", _lock_of(index))).fetchone()
    return bool(row and row[0])


async def release(connection: Connection, index: Index) -> None:
    await connection.execute("SELECT pg_advisory_unlock(%s, %s)", _lock_of(index))


def _lock_of(index: Index) -> list[int]:
    return [_LOCK, claimed_as(index.id)]


def claimed_as(index_id: int) -> int:
    return index_id % 2**31


async def claimed(connection: Connection) -> set[int]:
    """The indexes that are being loaded, as `claimed_as` calls them."""
    held = (
        "SELECT objid::bigint FROM pg_catalog.pg_locks JOIN pg_catalog.pg_database ON pg_database.oid = database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND classid = %s AND objsubid = 2"
    )
    return {row[0] for row in await (await connection.execute(held, [_LOCK])).fetchall()}


async def prepare(connection: Connection, index: Index) -> None:
    table = table_of(index)
    like = ddl("CREATE TEMPORARY TABLE loading (LIKE %(fullname)s INCLUDING STORAGE) ON COMMIT DELETE ROWS")
    for statement in (like, ddl("ALTER TABLE pg_temp.loading DROP COLUMN position")):
        await connection.run(compiled(statement.against(table)), prepare=False)


async def load(
    connection: Connection, index: Index, vectors: Sequence[StoredVector], transfer: Transfer, progress: Any
) -> None:
    """All of them and the progress, or nothing; of a key that comes twice the last one stays."""
    latest = {vector.key: vector for vector in vectors}
    async with connection.transaction():
        await _copy(connection, index, list(latest.values()))
        await connection.run(compiled(_insert(index)))
        await note_progress(connection, transfer, progress)


async def _copy(connection: Connection, index: Index, vectors: Sequence[StoredVector]) -> None:
    sealed = is_sealed(table_of(index))
    statement = f"COPY pg_temp.loading ({', '.join(_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
    async with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        copy.set_types(["text", "vector", "jsonb", "bytea" if sealed else "jsonb"])
        for vector in vectors:
            rest: Any = vector.non_filterable_metadata
            await copy.write_row(
                (vector.key, vector.embedding, _json(vector.metadata), rest if sealed else _json(rest))
            )


def _json(text: str) -> Jsonb:
    """It is JSON already."""
    return Jsonb(text, dumps=str)


def _insert(index: Index) -> sa.Insert:
    """In the order of keys, as every write locks them."""
    loading = sa.table("loading", *map(sa.column, _COLUMNS), schema="pg_temp")
    return replacing(table_of(index), sa.select(*loading.c).order_by(loading.c.key))
