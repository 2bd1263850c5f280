"""Locks of sessions: whoever holds one is the only one in a cluster to do something, until its connection ends."""

from app.database.connection import Connection

IS_LOCKED = (
    "SELECT FROM pg_catalog.pg_locks JOIN pg_catalog.pg_database ON pg_database.oid = database"
    " WHERE datname = current_database() AND locktype = 'advisory' AND classid = 0 AND objid = %s AND objsubid = 1"
)


async def has_lock(connection: Connection, lock: int) -> bool:
    row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", [lock])).fetchone()
    return bool(row and row[0])


async def is_locked(connection: Connection, lock: int) -> bool:
    """By any session of this database."""
    return (await connection.execute(IS_LOCKED, [lock])).rowcount > 0
