"""Who is writing to the table of an index: whoever reads it once they have ended sees all that was begun before."""

from app.database.connection import Connection
from app.database.statements import Statement

# Whoever writes to a table holds this lock from before its snapshot, and before its positions, until its end.  A
# transaction that is prepared for a second phase holds it without a process.
_WRITERS = Statement(
    "SELECT virtualtransaction FROM pg_catalog.pg_locks WHERE mode = 'RowExclusiveLock' AND granted"
    " AND relation = %(table)b::text::regclass AND pid IS DISTINCT FROM pg_backend_pid()"
    " AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())",
    {},
)


async def writers_of(connection: Connection, index_id: int) -> set[str]:
    """Their virtual transactions."""
    rows = await connection.run(_WRITERS, {"table": f"vectors.index_{index_id}"})
    return {row.virtualtransaction for row in rows}
