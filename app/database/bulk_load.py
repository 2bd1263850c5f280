"""Many vectors at once, past the API: by the statement of PutVectors, thousands of rows at a time.

COPY would be no faster, since what takes the time are the indexes of keys and metadata, and knows no ON CONFLICT.
"""

from collections.abc import Sequence
from typing import Any

from pgvector.psycopg import register_vector_async

from app.database.catalog import Index
from app.database.connection import Connection
from app.database.transfers import Transfer, note_progress
from app.database.vector_table import StoredVector, upsert

_LOCK = 0x5333_5649  # "S3VI"

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


async def load(
    connection: Connection, index: Index, vectors: Sequence[StoredVector], transfer: Transfer, progress: Any
) -> None:
    """All of them and the progress, or nothing; of a key that comes twice the last one stays."""
    latest = {vector.key: vector for vector in vectors}
    async with connection.transaction():
        await upsert(connection, index, [latest[key] for key in sorted(latest)])
        await note_progress(connection, transfer, progress)
